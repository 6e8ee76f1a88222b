"""Held-out scores as the rows of a table, and differences between calibrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from calib import scores
from calib.acts import ACT_OF_SCORE
from calib.heldout import HeldOut
from calib.opinions import Opinions

DIFFERENCE_SCORES: Final = ("w1", "kl_1e3", "tv")
N_RESAMPLES: Final = 2000
LEVEL: Final = 0.95


class Difference(NamedTuple):
    """A mean difference with its bootstrap interval."""

    mean: float
    low: float
    high: float


def summarise(
    result: HeldOut,
    human: Opinions,
    floor: scores.NoiseFloor,
    raw: HeldOut,
    train_mean: HeldOut,
) -> dict[str, Any]:
    """Means over cells, each cell one vote, with what they stand beside.

    ``gap_closed_*`` is the share of the gap between raw LLM and noise floor that is closed,
    ``llm_share_*`` that of the gap between train mean and floor; both from means over the
    cells whose n is known, NaN where there are none.
    """
    own = {score: _mean(values) for score, values in result.own_act.items()}
    mean = {score: _mean(values) for score, values in result.mean_act.items()}
    row: dict[str, Any] = {
        "calibrator": result.name,
        "n_questions": len(human.index.questions),
        "n_cells": len(human),
        "oa": _alignment(own["w1"]),
        **own,
        # A score that some rows do not have (RPS of one category) is a mean over those that do.
        **{column: _mean(values) for column, values in result.spread.items()},
    }
    known = ~np.isnan(floor.w1)
    for score in ("w1", "tv", "kl_1e3"):
        row[f"floor_{score}"] = _mean(getattr(floor, score))
    for score in ("w1", "kl_1e3", "tv"):
        at_floor = _mean(getattr(floor, score)[known])
        reached = _mean(result.own_act[score][known])
        for column, start in (("gap_closed", raw), ("llm_share", train_mean)):
            before = _mean(start.own_act[score][known])
            row[f"{column}_{score}"] = float(scores.closable_gap(before, reached, at_floor))
    row["acts"] = {score: ACT_OF_SCORE[score] if result.has_draws else "point" for score in own}
    row["mean_act"] = {
        "oa": _alignment(mean["w1"]),
        **{score: mean[score] for score in ("w1", "kl_1e3", "tv")},
    }
    row["w1_is_tv_cells"] = int((~human.index.ordered).sum())
    row["fit_seconds"] = result.fit_seconds
    row["counts"] = result.counts
    row["trusted"] = result.trusted
    row["problems"] = list(result.problems)
    return row


def differences(
    results: Sequence[HeldOut], question_of_row: Int[np.ndarray, " row"], seed: int
) -> list[dict[str, Any]]:
    """Every pair of calibrators as a - b, a the later one; negative means that a is better.

    All pairs share their resamples of questions.
    """
    rows = []
    for b, a in combinations(results, 2):
        for score in DIFFERENCE_SCORES:
            found = clustered_difference(
                a.own_act[score] - b.own_act[score], question_of_row, seed=seed
            )
            rows.append(
                {
                    "a": a.name,
                    "b": b.name,
                    "score": score,
                    "mean": found.mean,
                    "lo": found.low,
                    "hi": found.high,
                }
            )
    return rows


def clustered_difference(
    values: Float[np.ndarray, " row"],
    question_of_row: Int[np.ndarray, " row"],
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
) -> Difference:
    """Mean over rows with a percentile interval from resampled questions.

    Questions are drawn with replacement and bring all their rows, for rows of one question
    are not independent; the mean is over the rows drawn. Source: Cameron, Gelbach and
    Miller, Rev. Econ. Stat. 90 (2008), 414-427, pairs cluster bootstrap.
    """
    _, question = np.unique(question_of_row, return_inverse=True)
    sums = np.bincount(question, weights=values)
    sizes = np.bincount(question).astype(float)
    low, high = resampled_interval(sums, sizes, seed=seed, n_resamples=n_resamples, level=level)
    return Difference(float(values.mean()), low, high)


def resampled_interval(
    sums: Float[np.ndarray, " question"],
    sizes: Float[np.ndarray, " question"],
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile interval of Σ sums / Σ sizes over questions drawn with replacement."""
    drawn = _drawn(len(sums), seed, n_resamples)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _drawn(n_questions: int, seed: int, n_resamples: int) -> Int[np.ndarray, "resample question"]:
    """How often each resample draws each question; many differences share them."""
    chance = np.full(n_questions, 1 / n_questions)
    drawn: np.ndarray = np.random.default_rng(seed).multinomial(
        n_questions, chance, size=n_resamples
    )
    return drawn


def plain(value: Any) -> Any:
    """Values for JSON: undefined numbers become null, numpy's become Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _alignment(distance: float) -> float:
    return float(scores.opinion_alignment(np.array([distance]))[0])


def _mean(values: Float[np.ndarray, " row"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
