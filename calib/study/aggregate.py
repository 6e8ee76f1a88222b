"""Means over questions with their intervals, and differences from the yardsticks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from calib.acts import ACT_OF_SCORE
from calib.rules import QUESTION_KEY
from calib.scores import opinion_alignment
from calib.study.cells import SCORES, SPREADS
from calib.study.shape import SHAPES, ratios
from calib.summary import resampled_interval

REFERENCES: Final = ("identity", "train-mean")
"""What every calibrator is compared with: the raw LLM, and people without an LLM."""
INTERVAL_SCORES: Final = ("w1", "kl_1e3", "tv", "mse")
"""Scores with intervals and differences; all are better when lower."""
SEED: Final = 0
"""Of the resampled questions, the same in all rows."""

Interval = dict[str, float]
"""``mean``, ``lo`` and ``hi``: a mean over cells and its 95 % interval."""
Row = tuple[str, ...]
"""Table, sources, target, split, size and calibrator."""


def summary_rows(
    frame: pd.DataFrame, notes: Mapping[Row, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row for each key of ``notes``, in their order.

    Each answered cell has one vote. Intervals resample whole questions: a question that
    stands in several parts or seeds brings all of them. Where a part failed the rest is
    another set of questions, so the scores are NaN and ``parts_failed`` says why.

    Parameters
    ----------
    frame
        From ``calib.study.tables.results_frame``.
    notes
        From ``calib.study.tables.notes_of``.
    """
    by_question = sums_by_question(frame)
    return [_row(key, note, by_question, notes) for key, note in notes.items()]


def sums_by_question(frame: pd.DataFrame) -> dict[Row, pd.DataFrame]:
    """Sums by question, over parts and seeds, of each row of the summary."""
    keys = ["table", "sources", "target", "split", "size", "calibrator"]
    sums = [name for name in frame if name.startswith(("sum_", "n_"))]
    columns = [*keys, *QUESTION_KEY, "ordered"]
    # min_count keeps what is undefined in every part (intervals without draws) undefined.
    added = frame.groupby(columns, sort=True)[sums].sum(min_count=1).reset_index()
    return {key: rows.reset_index(drop=True) for key, rows in added.groupby(keys, sort=False)}


def _row(
    key: Row,
    note: Mapping[str, Any],
    by_question: Mapping[Row, pd.DataFrame],
    notes: Mapping[Row, Mapping[str, Any]],
) -> dict[str, Any]:
    table, sources, target, split, size, calibrator = key
    row: dict[str, Any] = {
        "table": table, "sources": sources, "target": target, "split": split, "size": size,
        "calibrator": calibrator, **note,
    }  # fmt: skip
    if note["parts_failed"]:
        return row | dict.fromkeys(("n_questions", "n_cells", "oa", *SCORES), None)
    own = by_question[key]
    cells = own["n_cells"].to_numpy(float)
    row |= {
        "n_questions": len(own),
        "n_cells": int(cells.sum()),
        "w1_is_tv_cells": int(cells[~own["ordered"].to_numpy(bool)].sum()),
    }
    for score in INTERVAL_SCORES:
        row[score] = _interval(own[f"sum_{score}"].to_numpy(float), cells)
    row["oa"] = _alignment(row["w1"])
    row["jsd"] = float(own["sum_jsd"].sum() / cells.sum())
    n_rps = own["n_rps_cells"].sum()
    row["rps"] = float(own["sum_rps"].sum() / n_rps) if n_rps else float("nan")
    row["acts"] = {
        score: (ACT_OF_SCORE.get(score, "mean") if note["has_draws"] else "point")
        for score in SCORES
    }
    row["mean_act"] = {
        score: float(own[f"sum_mean_act_{score}"].sum() / cells.sum()) for score in INTERVAL_SCORES
    }
    for name in SPREADS:
        total = own[f"sum_{name}"].sum(min_count=1)
        row[name] = float(total / cells.sum())
    row["shape"] = ratios(
        {name: float(own[f"sum_shape_{name}"].sum(min_count=1)) for name in SHAPES}
    )
    row["minus"] = {}
    for reference in REFERENCES:
        other = (table, sources, target, split, size, reference)
        if reference == calibrator or other not in notes or notes[other]["parts_failed"]:
            continue
        row["minus"][reference] = _differences(own, by_question[other])
    return row


def _differences(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, Interval]:
    """Own minus other; negative: own is better. Both have the same cells of each question."""
    cells = own["n_cells"].to_numpy(float)
    assert cells.tolist() == other["n_cells"].tolist()
    return {
        score: _interval(
            own[f"sum_{score}"].to_numpy(float) - other[f"sum_{score}"].to_numpy(float), cells
        )
        for score in INTERVAL_SCORES
    }


def _interval(
    sums: Float[np.ndarray, " question"], cells: Float[np.ndarray, " question"]
) -> Interval:
    mean = float(sums.sum() / cells.sum())
    if len(sums) < 2:
        return {"mean": mean, "lo": float("nan"), "hi": float("nan")}
    low, high = resampled_interval(sums, cells, seed=SEED)
    return {"mean": mean, "lo": low, "hi": high}


def _alignment(distance: Interval) -> Interval:
    mean, high, low = opinion_alignment(
        np.array([distance["mean"], distance["lo"], distance["hi"]])
    ).tolist()
    return {"mean": mean, "lo": low, "hi": high}
