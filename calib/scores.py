"""Scores of predicted answer distributions against human ones, one value per row.

Lower is better in every score here but ``opinion_alignment``, ``log_predictive_density``,
``coverage`` (best at its level) and ``closable_gap``. Rows that are unknown (NaN) on either
side are NaN. Shares are zero off the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gammaln, logsumexp, rel_entr, xlogy

from calib.opinions import Index
from calib.rowblocks import along_scale, by_block, difference

KL_FLOOR: Final = 1e-3
"""Least predicted share under ``kl_1e3``; the floor is part of the score's name."""
TIE_TOLERANCE: Final = 1e-9
"""Shares closer than this are equal: dividing by a sum moves the last bits."""

Part = Any
"""A block of one of a score's arrays, [option, row]."""


def w1(
    p_human: Float[np.ndarray, "row option"],
    p_predicted: Float[np.ndarray, "row option"],
    places: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    r"""Wasserstein-1 distance on the scale, from 0 (best) to 1.

    With options sorted by place :math:`z_1 \le \dots \le z_K` in [0, 1] and cumulative
    functions :math:`F, G`: :math:`\sum_k |F_k - G_k|\,(z_{k+1} - z_k)`. Options may stand in
    any order, have gaps and share places. Rows without places (nominal scales) get the
    ground cost 0/1, under which the distance is total variation. Source: Villani, Topics in
    Optimal Transportation (2003), 2.18.

    >>> places, mask = np.array([[0.0, 0.25, 1.0]]), np.ones((1, 3), dtype=bool)
    >>> w1(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]]), places, mask)
    array([0.625])
    """

    def score(human: Part, predicted: Part, places: Part, mask: Part) -> Float[np.ndarray, " part"]:
        differ = difference(human, predicted)
        along = along_scale(differ, places, mask)
        moved = np.abs(along.difference)
        moved *= along.gap
        np.abs(differ, out=differ)
        return np.where(along.placed, moved.sum(axis=0), 0.5 * differ.sum(axis=0))

    return by_block(score, p_human, p_predicted, places, mask)


def opinion_alignment(distance: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Opinion alignment, 100 · (1 - W1), from 0 to 100 (best).

    Source: Santurkar et al., Whose Opinions Do Language Models Reflect? (ICML 2023).

    >>> opinion_alignment(np.array([0.0, 0.25]))
    array([100.,  75.])
    """
    alignment: np.ndarray = 100.0 * (1.0 - distance)
    return alignment


def kl_1e3(
    p_human: Float[np.ndarray, "row option"],
    p_predicted: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    r"""Kullback-Leibler divergence of prediction from human, in nats, from 0 (best).

    :math:`\sum_k p_k \log(p_k / q_k)` with the predicted :math:`q` raised to at least 1e-3 on
    the mask and divided by its sum; options that no human chose contribute 0. A perfect
    prediction scores exactly 0 only where none of its shares is below the floor.

    >>> mask = np.ones((1, 2), dtype=bool)
    >>> kl_1e3(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), mask).round(6)
    array([0.693147])
    """

    def score(human: Part, predicted: Part, mask: Part) -> Float[np.ndarray, " part"]:
        floored = np.maximum(predicted, KL_FLOOR, out=np.empty(human.shape))
        total = (floored * mask).sum(axis=0)
        ratio = np.multiply(human, total, out=np.empty(human.shape))
        ratio /= floored
        # 0 log 0 is 0; the least positive number stands for the 0 in the logarithm.
        np.maximum(ratio, np.finfo(float).tiny, out=ratio)
        np.log(ratio, out=ratio)
        ratio *= human
        return ratio.sum(axis=0)

    return by_block(score, p_human, p_predicted, mask)


def tv(
    p_human: Float[np.ndarray, "row option"], p_predicted: Float[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    r"""Total variation distance :math:`\frac12 \sum_k |p_k - q_k|`, from 0 (best) to 1.

    >>> tv(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]]))
    array([0.25])
    """

    def score(human: Part, predicted: Part) -> Float[np.ndarray, " part"]:
        differ = difference(human, predicted)
        np.abs(differ, out=differ)
        return 0.5 * differ.sum(axis=0)

    return by_block(score, p_human, p_predicted)


def jsd(
    p_human: Float[np.ndarray, "row option"], p_predicted: Float[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    r"""Jensen-Shannon distance, from 0 (best) to :math:`\sqrt{\log 2}`.

    :math:`\sqrt{\frac12 KL(p \| m) + \frac12 KL(q \| m)}` with :math:`m = (p + q)/2`, in nats.
    Source: Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003), 1858-1860.

    >>> jsd(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) ** 2 / np.log(2)
    array([1.])
    """
    middle = 0.5 * (p_human + p_predicted)
    divergence = 0.5 * (rel_entr(p_human, middle) + rel_entr(p_predicted, middle)).sum(axis=1)
    # Of two equal rows the sum may come out as -1e-17, which has no root.
    distance: np.ndarray = np.sqrt(np.maximum(divergence, 0.0))
    return distance


def rps(
    p_human: Float[np.ndarray, "row option"],
    p_predicted: Float[np.ndarray, "row option"],
    places: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    r"""Ranked probability score, from 0 (best) to 1; NaN on nominal scales.

    :math:`\frac{1}{K-1} \sum_{k<K} (F_k - G_k)^2` over the cumulative functions along the
    scale; the sizes of the gaps do not count. Options that share a place are one category;
    with a single category the score is undefined, hence NaN. Source: Epstein, J. Appl.
    Meteorol. 8 (1969), 985-987, with the human distribution in the place of one outcome.

    >>> places, mask = np.array([[0.0, 0.5, 1.0]]), np.ones((1, 3), dtype=bool)
    >>> rps(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]]), places, mask)
    array([0.5])
    """

    def score(human: Part, predicted: Part, places: Part, mask: Part) -> Float[np.ndarray, " part"]:
        differ = difference(human, predicted)
        along = along_scale(differ, places, mask)
        step = along.gap > 0
        total = (step * along.difference**2).sum(axis=0)
        n_steps = step.sum(axis=0)
        total[np.isnan(differ).any(axis=0)] = np.nan
        return np.divide(total, n_steps, out=np.full_like(total, np.nan), where=n_steps > 0)

    return by_block(score, p_human, p_predicted, places, mask)


def mse(
    p_human: Float[np.ndarray, "row option"],
    p_predicted: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    r"""Mean squared error of a row's shares, from 0 (best): :math:`\frac1K \sum_k (p_k - q_k)^2`.

    Source: Kambhatla et al., arXiv 2507.00439.

    >>> mse(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), np.ones((1, 2), dtype=bool))
    array([0.25])
    """
    return _mean_of_options((p_human - p_predicted) ** 2, mask)


PointScore = Callable[
    [Float[np.ndarray, "row option"], Float[np.ndarray, "row option"], Index],
    Float[np.ndarray, " row"],
]
"""(p_human, p_predicted, index) to one value per row; lower is better."""

SCORES: Final[Mapping[str, PointScore]] = {
    "w1": lambda human, predicted, index: w1(human, predicted, index.places, index.mask),
    "kl_1e3": lambda human, predicted, index: kl_1e3(human, predicted, index.mask),
    "tv": lambda human, predicted, _: tv(human, predicted),
    "jsd": lambda human, predicted, _: jsd(human, predicted),
    "rps": lambda human, predicted, index: rps(human, predicted, index.places, index.mask),
}
"""The point scores by name."""


def log_ways(counts: Float[np.ndarray, "row option"]) -> Float[np.ndarray, " row"]:
    """Log n! − Σ_c log k_c!: in how many orders such counts can come; they may be fractions."""
    ways: np.ndarray = gammaln(counts.sum(axis=1) + 1.0) - gammaln(counts + 1.0).sum(axis=1)
    return ways


def log_predictive_density(
    p_human: Float[np.ndarray, "row option"],
    n: Float[np.ndarray, " row"],
    draws: Float[np.ndarray, "draw row option"],
) -> Float[np.ndarray, " row"]:
    r"""Log predictive density of the human counts, in nats; higher is better.

    :math:`\log \frac1S \sum_s \mathrm{Multinomial}(n p \mid n, \theta_s)` over draws
    :math:`\theta_s` of the shares, with effective counts :math:`n p` that need not be whole
    (factorials through the gamma function). ``-inf`` where no draw gives mass to an answer
    that was given; NaN where n is unknown. Source: Gelman, Hwang and Vehtari, Stat. Comput.
    24 (2014), 997-1016.

    >>> draws = np.array([[[0.5, 0.5]]])
    >>> np.exp(log_predictive_density(np.array([[0.5, 0.5]]), np.array([2.0]), draws))
    array([0.5])
    """
    counts = n[:, None] * p_human
    # n times 0 log 0 is 0: padding and options without answers drop out.
    log_mass = xlogy(counts, draws).sum(axis=2)
    density: np.ndarray = log_ways(counts) + logsumexp(log_mass, axis=0) - np.log(len(draws))
    return density


def energy_score(
    p_human: Float[np.ndarray, "row option"], draws: Float[np.ndarray, "draw row option"]
) -> Float[np.ndarray, " row"]:
    r"""Energy score of the draws as a forecast of the human shares, from 0 (best).

    :math:`\frac1S \sum_s \|\theta_s - p\| - \frac{1}{2S^2} \sum_{s,t} \|\theta_s - \theta_t\|`,
    Euclidean norms over the options; of one draw it is the distance to it. Source: Gneiting
    and Raftery, JASA 102 (2007), 359-378, section 4.3.

    >>> energy_score(np.array([[0.5, 0.5]]), np.array([[[1.0, 0.0]], [[0.0, 1.0]]])).round(6)
    array([0.353553])
    """
    from scipy.spatial.distance import pdist

    n_draws = len(draws)
    error = np.linalg.norm(draws - p_human, axis=2).mean(axis=0)
    # Row by row: all pairs of draws of all rows at once would not fit in memory.
    pairs = [pdist(draws[:, row]).sum() for row in range(draws.shape[1])]
    score: np.ndarray = error - np.array(pairs) / n_draws**2
    return score


class Interval(NamedTuple):
    """Ends of a two-sided interval of each option's share."""

    low: Float[np.ndarray, "row option"]
    high: Float[np.ndarray, "row option"]


def interval(draws: Float[np.ndarray, "draw row option"], level: float) -> Interval:
    """Equal-tailed interval per option: the quantiles (1 ∓ level)/2 of the draws.

    >>> interval(np.linspace(0, 1, 101)[:, None, None], 0.9)
    Interval(low=array([[0.05]]), high=array([[0.95]]))
    """
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return Interval(low, high)


def coverage(
    p_human: Float[np.ndarray, "row option"],
    low: Float[np.ndarray, "row option"],
    high: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    """Share of a row's options that lie within their interval, ends included.

    Best at the interval's level, neither above nor below. Human shares were observed with
    n respondents: take intervals of ``sampled_shares`` where draws are of true shares.

    >>> shares, mask = np.array([[0.2, 0.8]]), np.ones((1, 2), dtype=bool)
    >>> coverage(shares, np.array([[0.1, 0.1]]), np.array([[0.3, 0.3]]), mask)
    array([0.5])
    """
    inside = (p_human >= low - TIE_TOLERANCE) & (p_human <= high + TIE_TOLERANCE)
    unknown = np.isnan(p_human + low + high)
    return _mean_of_options(np.where(unknown, np.nan, inside), mask)


def width(
    low: Float[np.ndarray, "row option"],
    high: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, " row"]:
    """Mean width of the intervals of a row's options; lower is better at equal coverage.

    >>> width(np.array([[0.1, 0.1]]), np.array([[0.3, 0.5]]), np.ones((1, 2), dtype=bool))
    array([0.3])
    """
    return _mean_of_options(high - low, mask)


def _mean_of_options(
    values: Float[np.ndarray, "row option"], mask: Bool[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    mean: np.ndarray = np.where(mask, values, 0.0).sum(axis=1) / mask.sum(axis=1)
    return mean


def pit(
    p_human: Float[np.ndarray, "row option"],
    draws: Float[np.ndarray, "draw row option"],
    mask: Bool[np.ndarray, "row option"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "row option"]:
    r"""Probability integral transform of each human share; uniform where draws are right.

    :math:`(\#\{\theta_s < p\} + U\,(\#\{\theta_s = p\} + 1)) / (S + 1)` with U uniform: exactly
    uniform if the human share is exchangeable with the S draws, ties or none. NaN off the
    mask. Source: Czado, Gneiting and Held, Biometrics 65 (2009), 1254-1261.
    """
    below = (draws < p_human - TIE_TOLERANCE).sum(axis=0)
    equal = (np.abs(draws - p_human) <= TIE_TOLERANCE).sum(axis=0)
    transformed = (below + rng.random(p_human.shape) * (equal + 1)) / (len(draws) + 1)
    known = mask & ~np.isnan(p_human) & ~np.isnan(draws).any(axis=0)
    return np.where(known, transformed, np.nan)


def sampled_shares(
    draws: Float[np.ndarray, "draw row option"],
    n: Float[np.ndarray, " row"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw row option"]:
    """Shares among n answers, one multinomial sample for each draw of true shares.

    What a survey of n respondents would have shown, hence what observed shares are to be
    compared with. n is rounded to a whole number, at least 1. Rows of unknown n, and
    rows that are themselves unknown, come back as they are.
    """
    known = ~np.isnan(n) & ~np.isnan(draws).any(axis=(0, 2))
    sampled = draws.copy()
    sampled[:, known] = _resample(draws[:, known], n[known], rng)
    return sampled


def _resample(
    shares: Float[np.ndarray, "*batch row option"],
    n: Float[np.ndarray, " row"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "*batch row option"]:
    whole = np.maximum(np.rint(n), 1).astype(np.int64)
    # The generator refuses sums a little above one, so rounding errors are divided out.
    exact = shares / shares.sum(axis=-1, keepdims=True)
    resampled: np.ndarray = rng.multinomial(whole, exact) / whole[:, None]
    return resampled


class NoiseFloor(NamedTuple):
    """What a perfect forecast scores in expectation, because n answers are a sample."""

    w1: Float[np.ndarray, " row"]
    tv: Float[np.ndarray, " row"]
    kl_1e3: Float[np.ndarray, " row"]


def noise_floor(
    p_human: Float[np.ndarray, "row option"],
    n: Float[np.ndarray, " row"],
    places: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
    seed: int,
    n_draws: int = 256,
) -> NoiseFloor:
    """Expected score of the human shares against a resample of n answers from them.

    The mean of ``score(resample, p_human)`` over ``n_draws`` multinomial samples; n is
    rounded to a whole number, at least 1. NaN where n or the human shares are unknown.
    """
    rng = np.random.default_rng(seed)
    known = ~np.isnan(n) & ~np.isnan(p_human).any(axis=1)
    truth, place, offered, size = p_human[known], places[known], mask[known], n[known]
    total = np.zeros((3, len(truth)))
    for _ in range(n_draws):
        observed = _resample(truth, size, rng)
        total[0] += w1(observed, truth, place, offered)
        total[1] += tv(observed, truth)
        total[2] += kl_1e3(observed, truth, offered)
    floors = np.full((3, len(n)), np.nan)
    floors[:, known] = total / n_draws
    return NoiseFloor(*floors)


def closable_gap(
    raw: Float[np.ndarray, "*batch"] | float,
    calibrated: Float[np.ndarray, "*batch"] | float,
    floor: Float[np.ndarray, "*batch"] | float,
) -> Float[np.ndarray, "*batch"]:
    """Share of the gap between raw score and noise floor that calibration closes.

    (raw - calibrated) / (raw - floor): 1 is perfect, 0 is no gain, negative is harm; NaN
    where the raw score is at its floor or below, so that there is no gap to close.

    >>> closable_gap(np.array([0.5, 0.1]), np.array([0.2, 0.1]), np.array([0.1, 0.2]))
    array([0.75,  nan])
    """
    gain, gap = np.subtract(raw, calibrated), np.subtract(raw, floor)
    gain, gap = np.broadcast_arrays(np.asarray(gain, dtype=float), np.asarray(gap, dtype=float))
    closed: np.ndarray = np.divide(gain, gap, out=np.full(gap.shape, np.nan), where=gap > 0)
    return closed
