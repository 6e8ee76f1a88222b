"""The sampler of ``calib fit``: NumPyro as shipped."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from benchmarks.samplers.child import Drawn, Lengths
from benchmarks.samplers.problem import PARTS, SCALE_TERMS, SLOPES, TOP_LEVEL, Point, Problem
from calib.blocks import Block, recurrent_labels
from calib.dirichlet import ASSUMED_N
from calib.fitting import regression_data
from calib.formulas import FLOOR
from calib.paired import Paired
from calib.prior import SHAPE_SPREAD, general_prior
from calib.starting import question_told, stretch

if TYPE_CHECKING:
    from calib.models import RegressionData

PACKAGES = ("numpyro", "jax", "jaxlib")


def respondents_of(training: Paired) -> Float[np.ndarray, " row"]:
    """Effective human answers of each cell, as ``calib.dirichlet`` takes them."""
    n = training.human.n
    unknown = np.ones(len(training), bool) if n is None else np.isnan(n)
    return np.where(unknown, ASSUMED_N, 0.0 if n is None else n)


def problem_of(training: Paired) -> Problem:
    """The arrays of a fit of one source for those who do not have ``calib``."""
    labels = recurrent_labels(training.index.questions)
    block = Block(training.index, labels)
    covariates = block.covariates(training.elicited.filled)
    if len(covariates.probs) != 1:
        raise ValueError(
            f"the comparison is of fits of one source; got {len(covariates.probs)}; select one"
        )
    n_groups, n_options = len(training.index.groups), training.index.mask.shape[1]
    prior = general_prior(1, n_groups, block.n_shapes, n_options)
    problem = Problem(
        probs=covariates.probs[0],
        counts=block.of_rows(training.human.probs * respondents_of(training)[:, None]),
        mask=covariates.mask,
        group=covariates.group,
        peers=np.swapaxes(covariates.peers, -1, -2) @ covariates.peers,
        place=covariates.place,
        curve=covariates.curve,
        shape=covariates.shape,
        label=covariates.label,
        n_groups=np.array(n_groups),
        n_shapes=np.array(block.n_shapes),
        n_labels=np.array(len(labels) - 1),
        slopes=np.array([np.concatenate(getattr(prior, name)) for name in SLOPES]),
        scale_terms=np.array([getattr(prior, name) for name in SCALE_TERMS]),
        shape_spread=np.array(SHAPE_SPREAD),
        log_kappa=np.array(prior.log_kappa),
        log_phi=np.array(prior.log_phi),
        group_spread=np.array(prior.group_spread),
        label_spread=np.array(prior.label_spread),
        floor=np.array(FLOOR),
    )
    problem.check()
    return problem


def densities(training: Paired, points: list[Point]) -> list[float]:
    """Log posterior density at the points, up to one constant.

    The model samples effects of groups and labels in units between their own and those of
    their spread s, and questions by stretched logits: u = s^known · unit for each effect, and
    with L the logits θ = softmax(L), so that log p(unit) = log p(u) + known log s for each
    degree of freedom (G − 1 of G groups) and log p(θ) = log p(L) − Σ log θ.
    """
    import jax
    from numpyro.infer.util import log_density

    from calib.models import dirichlet_regression

    with jax.enable_x64(True):
        data, start = regression_data(training, respondents_of(training))
        known = dict(zip(PARTS, map(float, data.known[: len(PARTS)]), strict=True))
        of_labels = np.asarray(data.known.label)
        jitted = jax.jit(lambda values: log_density(dirichlet_regression, (data,), {}, values)[0])
        found = []
        for point in points:
            values = {name: np.zeros(np.shape(at)) for name, at in start.values.items()}
            for name in TOP_LEVEL:
                put(values[name], point[name])
            put(values["label_unit"][1:], point["label_unit"])
            values["label_unit"] *= point["sd_label"] ** of_labels
            outside = of_labels.sum() * np.log(point["sd_label"])
            for part, share in known.items():
                spread = float(point[f"sd_{part}"])
                values[f"off_{part}"] = spread**share * point[f"unit_{part}"]
                outside += share * (len(point[f"unit_{part}"]) - 1) * np.log(spread)
            values["question_unit"], log_stretch = _question_unit(data, values, point["shares"])
            shares = point["shares"]
            outside -= log_stretch + np.log(shares[shares > 0]).sum()
            found.append(float(jitted(values)) + outside)
    return found


def put(padded: np.ndarray, value: np.ndarray) -> None:
    """The value into the first places of an array, of one source or padded."""
    if value.ndim == 0:
        padded[...] = value
    else:
        padded[tuple(map(slice, value.shape))] = value


def _question_unit(
    data: RegressionData,
    values: dict[str, np.ndarray],
    shares: Float[np.ndarray, "question option"],
) -> tuple[Float[np.ndarray, "question option"], float]:
    """Where these shares lie in the model's own coordinates, and the log of its stretch.

    ``values`` are the other sites and, for the questions' units, zeros: the model's logits are
    then the centres about which the units lie.
    """
    import jax
    from numpyro.handlers import substitute, trace

    from calib.models import dirichlet_regression

    sites = trace(substitute(dirichlet_regression, values)).get_trace(data)
    centre = np.asarray(sites["question_logit"]["value"])
    about = jax.tree.map(np.asarray, data.about)
    _, width = question_told(np, about, values["kappa"], about.shares)
    logits = np.zeros(centre.shape)
    logits[: len(shares), : shares.shape[1]] = np.log(np.where(shares > 0, shares, 1.0))
    # The mean that no answer tells of is put at zero.
    mean = (about.shares * logits).sum(axis=1, keepdims=True)
    logits -= np.where(about.shares > 0, mean, 0.0)
    stretched = np.linalg.solve(about.unit, ((logits - centre) / width[:, None])[..., None])[..., 0]
    unit = _unstretched(stretched, about.tail)
    log_stretch = stretch(np, unit, about.tail)[1].sum() + logits.shape[1] * np.log(width).sum()
    return unit, float(log_stretch)


def _unstretched(stretched: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """The inverse of ``calib.starting.stretch``, by Newton's method.

    What it inverts grows ever slower, so that from below each step stops short of the root.
    """
    unit = np.minimum(stretched, 0.0)
    for _ in range(100):
        value, log_slope = stretch(np, unit, tail)
        step = (stretched - value) / np.exp(log_slope)
        unit = unit + step
        if np.abs(step).max() < 1e-12 * (1.0 + np.abs(unit).max()):
            return unit
    raise ArithmeticError("the stretch of logits was not inverted in 100 steps")


def draw(training: Paired, lengths: Lengths, seed: int) -> Drawn:
    """Sample twice with the same seed: what the first took longer is compilation."""
    import jax

    from calib.models import dirichlet_regression
    from calib.sampling import Plan, sample

    plan = Plan(n_chains=lengths.n_chains, n_draws=lengths.n_draws)
    if lengths.n_warmup is not None:
        plan = plan._replace(n_warmup=lengths.n_warmup)
    seconds = []
    with jax.enable_x64(True):
        for _ in range(2):
            begin = perf_counter()
            data, start = regression_data(training, respondents_of(training))
            samples = sample(dirichlet_regression, data, start, plan=plan, key=jax.random.key(seed))
            seconds.append(perf_counter() - begin)
    sites = {name: samples.sites[name] for name in TOP_LEVEL}
    return Drawn(
        draws={name: at[..., 0] if name in SLOPES else at for name, at in sites.items()},
        compile_seconds=seconds[0] - seconds[1],
        sample_seconds=seconds[1],
        n_warmup=plan.n_warmup,
        diverging=int(samples.stats["diverging"].sum()),
        n_steps=float(samples.stats["n_steps"].mean()),
    )
