"""One calibrator on held-out questions: fit on the other folds, predict, score each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from calib import scores
from calib.acts import ACT_OF_SCORE, act
from calib.base import Calibrator, Prediction, make_calibrator
from calib.paired import Paired

LEVELS: Final = (0.5, 0.8, 0.9)
"""Levels of the intervals whose coverage is reported."""
LEVEL_SHOWN: Final = 0.9
"""Level of the intervals that are written beside the predictions."""

PerRow = dict[str, Float[np.ndarray, " row"]]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions and scores of cells whose questions the fit did not see.

    Rows are the complete rows of the pairs, in their order.
    """

    name: str
    own_act: PerRow
    """Each point score under the act that is best for it."""
    mean_act: PerRow
    """Each point score under the mean."""
    spread: PerRow
    """Coverage, width, log score and energy score; NaN without draws."""
    probs: Float[np.ndarray, "row option"]
    """The mean act."""
    low: Float[np.ndarray, "row option"]
    high: Float[np.ndarray, "row option"]
    """90 % interval of the groups' true shares, without sampling noise; NaN without draws."""
    has_draws: bool
    fit_seconds: float
    counts: dict[str, int]
    """Repairs of all folds, by name."""
    trusted: bool | None
    """Whether the diagnostics of all folds are clean; None where there are none to ask."""
    problems: tuple[str, ...]
    first_fold: tuple[Calibrator, Paired] | None
    """Model and training pairs of the first fold that has cells, of calibrators with draws."""


@dataclass(frozen=True, eq=False)
class Part:
    """One fit and its scores on rows whose questions it did not see."""

    calibrator: Calibrator
    prediction: Prediction
    """Of all rows that were given to predict."""
    own_act: PerRow
    mean_act: PerRow
    spread: PerRow | None
    """None without draws, as are the ends of the intervals."""
    probs: Float[np.ndarray, "row option"]
    interval: scores.Interval | None
    fit_seconds: float
    trusted: bool | None
    problems: tuple[str, ...]


def held_out_part(
    calibrator: Calibrator,
    training: Paired,
    test: Paired,
    *,
    scored: Bool[np.ndarray, " row"] | None = None,
    seed: int,
    number: int,
) -> Part:
    """Fit on ``training``, predict ``test``, score its complete rows or the ``scored`` of them.

    ``number`` is the part's own, from 0: with the seed it decides the sampling noise of the
    intervals.
    """
    started = perf_counter()
    calibrator.fit(training, seed=seed)
    seconds = perf_counter() - started
    prediction = calibrator.predict(test.elicited)
    rows = test.complete if scored is None else test.complete & scored
    kept = _taken(prediction, rows)
    human = test.take(rows).human
    own, mean = {}, {}
    for score, function in scores.SCORES.items():
        best = act(kept, ACT_OF_SCORE[score])
        own[score] = function(human.probs, best, human.index)
        mean[score] = function(human.probs, kept.opinions.probs, human.index)
    spread: PerRow | None = None
    interval: scores.Interval | None = None
    if kept.draws is not None:
        rng = np.random.default_rng([seed, number])
        spread = spread_of(human.probs, human.n, kept, rng)
        interval = scores.interval(kept.draws, LEVEL_SHOWN)
    trusted: bool | None = None
    problems: tuple[str, ...] = ()
    if hasattr(calibrator, "posterior_"):
        from calib.diagnostics import diagnose

        diagnosis = diagnose(calibrator.posterior_, with_loo=False)
        trusted, problems = diagnosis.trusted, diagnosis.problems
    return Part(
        calibrator=calibrator,
        prediction=prediction,
        own_act=own,
        mean_act=mean,
        spread=spread,
        probs=kept.opinions.probs,
        interval=interval,
        fit_seconds=seconds,
        trusted=trusted,
        problems=problems,
    )


def held_out(
    name: str,
    paired: Paired,
    fold_of_row: Int[np.ndarray, " row"],
    seed: int,
    progress: Callable[[], None] | None = None,
    *,
    make: Callable[[], Calibrator] | None = None,
    look: Callable[[Calibrator, Paired, Prediction], None] | None = None,
) -> HeldOut:
    """Every complete row predicted by a fit on the rows of the other folds.

    ``fold_of_row`` must be constant within each question. Groups of a test question that
    people did not answer are seen by ``predict`` (their elicited side) but not scored.

    ``make`` gives the calibrator of a fold where it is not the registry's of that name;
    ``look`` is shown each fold's fitted calibrator, its test pairs and the prediction.
    """
    n_scored, width = int(paired.complete.sum()), paired.index.mask.shape[1]
    place = np.cumsum(paired.complete) - 1
    own, mean = ({score: np.full(n_scored, np.nan) for score in scores.SCORES} for _ in range(2))
    spread = {column: np.full(n_scored, np.nan) for column in _spread_columns()}
    probs, low, high = (np.full((n_scored, width), np.nan) for _ in range(3))
    counts: Counter[str] = Counter()
    seconds, with_draws, problems = 0.0, False, []
    verdicts: list[bool] = []
    first: tuple[Calibrator, Paired] | None = None
    for fold in np.unique(fold_of_row[paired.complete]).tolist():
        training, test = paired.take(fold_of_row != fold), paired.take(fold_of_row == fold)
        calibrator = make_calibrator(name) if make is None else make()
        part = held_out_part(calibrator, training, test, seed=seed, number=fold)
        if look is not None:
            look(calibrator, test, part.prediction)
        seconds += part.fit_seconds
        counts.update(part.prediction.counts)
        rows = place[paired.complete & (fold_of_row == fold)]
        for score in scores.SCORES:
            own[score][rows], mean[score][rows] = part.own_act[score], part.mean_act[score]
        probs[rows] = part.probs
        if part.spread is not None and part.interval is not None:
            with_draws = True
            for column, values in part.spread.items():
                spread[column][rows] = values
            low[rows], high[rows] = part.interval
            first = first or (calibrator, training)
        if part.trusted is not None:
            verdicts.append(part.trusted)
        problems += [f"fold {fold + 1}: {problem}" for problem in part.problems]
        if progress is not None:
            progress()
    return HeldOut(
        name=name,
        own_act=own,
        mean_act=mean,
        spread=spread,
        probs=probs,
        low=low,
        high=high,
        has_draws=with_draws,
        fit_seconds=seconds,
        counts={key: int(count) for key, count in counts.items()},
        trusted=all(verdicts) if verdicts else None,
        problems=tuple(problems),
        first_fold=first,
    )


def spread_of(
    human: Float[np.ndarray, "row option"],
    n: Float[np.ndarray, " row"] | None,
    prediction: Prediction,
    rng: np.random.Generator,
) -> PerRow:
    """Scores of a predictive distribution, one value a row.

    Coverage and width are of intervals for what n respondents would have answered (of the
    true shares where n is unknown): that is what the human shares are.
    """
    draws = prediction.draws
    assert draws is not None
    mask = prediction.opinions.index.mask
    size = np.full(len(human), np.nan) if n is None else n
    observed = scores.sampled_shares(draws, size, rng)
    result: PerRow = {}
    for level in LEVELS:
        low, high = scores.interval(observed, level)
        result[f"coverage_{level:.0%}"[:-1]] = scores.coverage(human, low, high, mask)
        if level == LEVEL_SHOWN:
            result["width_90"] = scores.width(low, high, mask)
    result["log_score"] = scores.log_predictive_density(human, size, draws)
    result["energy"] = scores.energy_score(human, observed)
    return result


def _spread_columns() -> list[str]:
    return [*(f"coverage_{level:.0%}"[:-1] for level in LEVELS), "width_90", "log_score", "energy"]


def _taken(prediction: Prediction, rows: Bool[np.ndarray, " row"]) -> Prediction:
    draws = None if prediction.draws is None else prediction.draws[:, rows]
    return Prediction(prediction.opinions.take(rows), prediction.counts, draws)
