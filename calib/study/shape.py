"""What scores do not tell: flattened peaks, errors of neighbours, gaps between groups."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from calib.opinions import Opinions

SHAPES: Final = (
    "peak", "peak_human", "entropy", "entropy_human", "error_square", "error_neighbours",
    "gap", "gap_human",
)  # fmt: skip
"""Sums of which ``ratios`` are made."""


def shape_sums(
    human: Opinions, probs: Float[np.ndarray, "row option"]
) -> dict[str, Float[np.ndarray, " question"]]:
    """Sums over the rows of each question of ``human``, by the names in ``SHAPES``.

    ``peak`` is the largest share of a row; ``entropy`` −Σ p log p in nats; ``error_square``
    the mean of e² over a row's options and ``error_neighbours`` that of e·e' over options next
    to each other, e = predicted − human (0 of nominal questions, which have no neighbours, in
    both). ``gap`` is Σ (p − p')² over options of two groups of one attribute, over all such
    pairs with known n above 1; ``gap_human`` has the sampling variance
    (1 − Σ p²)/(n − 1) of both taken out, so that its expectation is that of the true shares.
    """
    index = human.index
    number, count = index.question_of_row, len(index.questions)
    error = np.where(index.mask, probs - human.probs, 0.0)
    ordered = np.array([one.ordered for one in index.questions])[number]
    neighbours = error[:, 1:] * error[:, :-1]
    both = index.mask[:, 1:] & index.mask[:, :-1]
    per_row = {
        "peak": _peak(probs, index.mask),
        "peak_human": _peak(human.probs, index.mask),
        "entropy": _entropy(probs, index.mask),
        "entropy_human": _entropy(human.probs, index.mask),
        "error_square": np.where(ordered, (error**2).sum(1) / index.mask.sum(1), 0.0),
        "error_neighbours": np.where(
            ordered, (neighbours * both).sum(1) / np.maximum(both.sum(1), 1), 0.0
        ),
    }
    sums = {name: np.bincount(number, values, count) for name, values in per_row.items()}
    return sums | _gaps(human, probs)


def ratios(sums: dict[str, float]) -> dict[str, float]:
    """What the sums of any rows say together; NaN where the denominator is not above 0.

    ``peak_ratio``, predicted over human largest shares: below 1 is flattened.
    ``entropy_ratio``: above 1 is flattened. ``neighbour_correlation`` of errors of
    neighbouring options: −1/(options − 1) where errors have no order, above it where whole
    ends of a scale are wrong together. ``group_gap_ratio``, root of predicted over human gaps:
    above 1 exaggerates the differences between groups. Answers that an LLM was asked to sample
    have its own sampling variance in it.
    """

    def over(one: str, other: str) -> float:
        below = sums[other]
        return sums[one] / below if below > 0 else float("nan")

    return {
        "peak_ratio": over("peak", "peak_human"),
        "entropy_ratio": over("entropy", "entropy_human"),
        "neighbour_correlation": over("error_neighbours", "error_square"),
        "group_gap_ratio": float(np.sqrt(over("gap", "gap_human"))),
    }


def _peak(
    probs: Float[np.ndarray, "row option"], mask: Bool[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    peak: np.ndarray = np.where(mask, probs, 0.0).max(axis=1)
    return peak


def _entropy(
    probs: Float[np.ndarray, "row option"], mask: Bool[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    inside = np.where(mask & (probs > 0), probs, 1.0)
    entropy: np.ndarray = -(inside * np.log(inside)).sum(axis=1)
    return entropy


def _gaps(
    human: Opinions, probs: Float[np.ndarray, "row option"]
) -> dict[str, Float[np.ndarray, " question"]]:
    index = human.index
    n = np.full(len(human), np.nan) if human.n is None else human.n
    noise = np.full(len(human), np.nan)
    known = n > 1
    shares = np.where(index.mask, human.probs, 0.0)
    noise[known] = (1 - (shares[known] ** 2).sum(1)) / (n[known] - 1)
    sums = {name: np.zeros(len(index.questions)) for name in ("gap", "gap_human")}
    by_attribute: dict[tuple[int, str], list[int]] = {}
    for row in np.flatnonzero(known).tolist():
        of = (int(index.question_of_row[row]), index.groups[index.group_of_row[row]].attribute)
        by_attribute.setdefault(of, []).append(row)
    for (question, _), rows in by_attribute.items():
        for a, b in combinations(rows, 2):
            offered = index.mask[a] & index.mask[b]
            sums["gap"][question] += ((probs[a] - probs[b])[offered] ** 2).sum()
            sums["gap_human"][question] += (
                ((human.probs[a] - human.probs[b])[offered] ** 2).sum() - noise[a] - noise[b]
            )
    return sums
