"""One way of asking against another: the same model, calibrator, questions and cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import pandas as pd

from calib.study.aggregate import INTERVAL_SCORES, SEED, Interval, sums_by_question
from calib.summary import resampled_interval
from calib.survey import Setting

FIELDS: Final = ("elicitation", "prompt")
"""Of the setting: which may differ between the two sides."""
ORDER: Final = ("sequence", "logprob", "paraphrase", "self_random", "verbalized", "fewshot", "sd")
"""The side that stands first where two of these are compared; others come last."""
Rows = Sequence[Mapping[str, Any]]


def contrasts(frame: pd.DataFrame, rows: Rows) -> list[dict[str, Any]]:
    """For each table, split, size and calibrator: all pairs of elicitations and of prompts.

    ``a`` is compared with ``b`` over ``pairs`` settings that differ in this alone. ``minus``
    is the mean of a − b over their cells, negative where a is better, and ``ratio`` that of a
    over that of b, less 1; with 95 % intervals, whole questions resampled. The ``ratio`` of
    ``tv`` of sequence to verbalized is the knowledge-to-simulation gap of Meister et al.
    (arXiv 2411.05403, equation 2). ``better`` and ``worse`` count the pairs of which a is
    clearly so on W1. ``over`` is ``all``, or a part of the setting that the pairs share.

    Parameters
    ----------
    frame
        Results by question, from ``calib.study.tables.results_frame``.
    rows
        Of the summary; all settings of one table have the same cells.
    """
    by_question = sums_by_question(frame)
    single = [
        row
        for row in rows
        if len(row["settings"]) == 1 and row["sources"] == row["target"] and not row["parts_failed"]
    ]
    return [
        {**dict(zip(_PLACE, place, strict=True)), "field": field, "a": a, "b": b, "over": over}
        | _compared(here, by_question)
        for place in dict.fromkeys(map(_place, single))
        for field, a, b, pairs in _pairs([row for row in single if _place(row) == place])
        for over, here in _parts(field, pairs)
    ]


_PLACE: Final = ("table", "split", "size", "calibrator")
Pair = tuple[Mapping[str, Any], Mapping[str, Any]]


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _PLACE)


def _pairs(rows: Rows) -> Iterator[tuple[str, str, str, list[Pair]]]:
    """Field, its two values, and the rows that differ in it alone."""
    for field in FIELDS:
        values = sorted({getattr(_setting(row), field) for row in rows}, key=_rank)
        for a, b in combinations(values, 2):
            pairs = [
                (one, other)
                for one in rows
                for other in rows
                if getattr(_setting(one), field) == a
                and _setting(one)._replace(**{field: b}) == _setting(other)
            ]
            if pairs:
                yield field, a, b, pairs


def _rank(value: str) -> tuple[int, str]:
    return (ORDER.index(value) if value in ORDER else len(ORDER), value)


def _setting(row: Mapping[str, Any]) -> Setting:
    return Setting(*row["settings"][0])


def _parts(field: str, pairs: list[Pair]) -> Iterator[tuple[str, list[Pair]]]:
    yield "all", pairs
    for other in Setting._fields:
        values = sorted({getattr(_setting(one), other) for one, _ in pairs})
        for value in values if other != field and len(values) > 1 else ():
            yield (
                f"{other}={value}",
                [pair for pair in pairs if getattr(_setting(pair[0]), other) == value],
            )


def _compared(
    pairs: Sequence[Pair], by_question: Mapping[tuple[str, ...], pd.DataFrame]
) -> dict[str, Any]:
    sides = [
        tuple(by_question[_key(row)].set_index(["survey", "question_id"]) for row in pair)
        for pair in pairs
    ]
    for one, other in sides:
        assert one.index.equals(other.index)
        assert one["n_cells"].equals(other["n_cells"])
    # Every pair has the same questions, so their sums lie beside each other.
    a, b = (pd.concat([pair[side] for pair in sides]).groupby(level=[0, 1]).sum()
            for side in (0, 1))  # fmt: skip
    cells = a["n_cells"].to_numpy(float)
    w1 = [_minus(one, other, "w1") for one, other in sides]
    return {
        "pairs": len(pairs),
        "n_questions": len(a),
        "n_cells": int(cells.sum()),
        "better": sum(one["hi"] < 0 for one in w1),
        "worse": sum(one["lo"] > 0 for one in w1),
        "minus": {score: _minus(a, b, score) for score in INTERVAL_SCORES},
        "ratio": {score: _ratio(a, b, score) for score in INTERVAL_SCORES},
    }


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        row[name] for name in ("table", "sources", "target", "split", "size", "calibrator")
    )


def _minus(a: pd.DataFrame, b: pd.DataFrame, score: str) -> Interval:
    return _interval(a[f"sum_{score}"] - b[f"sum_{score}"], a["n_cells"], 0.0)


def _ratio(a: pd.DataFrame, b: pd.DataFrame, score: str) -> Interval:
    return _interval(a[f"sum_{score}"], b[f"sum_{score}"], 1.0)


def _interval(above: pd.Series, below: pd.Series, less: float) -> Interval:
    """Σ above / Σ below − less; NaN where a resample may have nothing below."""
    sums, sizes = above.to_numpy(float), below.to_numpy(float)
    if not sizes.sum() > 0:
        return dict.fromkeys(("mean", "lo", "hi"), float("nan"))
    mean = float(sums.sum() / sizes.sum()) - less
    if len(sums) < 2 or not (sizes > 0).all():
        return {"mean": mean, "lo": float("nan"), "hi": float("nan")}
    low, high = resampled_interval(sums, sizes, seed=SEED)
    return {"mean": mean, "lo": low - less, "hi": high - less}
