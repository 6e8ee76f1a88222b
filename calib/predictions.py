"""Predictions as a table: made with a saved model, written and read back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from calib import acts, scores
from calib.acts import ACTS, Act
from calib.anchor import by_question
from calib.errors import DataError, Fault, FitError
from calib.evaluate import option_columns
from calib.modelfile import SavedModel
from calib.opinions import SUM_TOLERANCE, Elicited, close
from calib.paired import pair
from calib.rules import CELL_KEY, SETTING_KEY
from calib.sources import joined_parts
from calib.table import read_frame
from calib.toplines import Toplines

PREDICTION_KEY: Final = [*CELL_KEY, "option_index"]
SHARES: Final = {
    "calibrated": "p_cal", "raw": "p_raw", "train-mean": "p_train_mean", "topline": "p_topline",
}  # fmt: skip
"""Predictors and the columns that hold their shares."""
BOUNDS: Final = ("p_cal_lo", "p_cal_hi")


class Predicted(NamedTuple):
    """A table of predictions and what happened on the way."""

    table: pd.DataFrame
    counts: dict[str, int]
    draws: Float[np.ndarray, "draw table_row"] | None = None
    """Joint draws of the shares in the table's rows; None of calibrators without, and where
    they were not to be kept."""


def predict_table(
    model: SavedModel,
    frame: pd.DataFrame,
    *,
    level: float = 0.9,
    act: Act = "mean",
    toplines: Toplines | None = None,
    keep_draws: bool = True,
) -> Predicted:
    """Calibrated shares for every cell of a table, human answers there or not.

    Parameters
    ----------
    frame
        From ``calib.table.read_table``; must hold every source of the model.
    level
        Probability of the interval from ``p_cal_lo`` to ``p_cal_hi`` of the group's true
        share; the bounds are NaN for calibrators without draws.
    act
        Which point prediction ``p_cal`` is; see ``calib.acts``. Calibrators without draws
        have one only, called the mean.
    toplines
        From ``calib.toplines.read_toplines``, to anchor questions on.
    keep_draws
        Whether the joint draws come back too. Without, a large table is predicted some
        questions at a time, in the memory of these.

    Returns
    -------
    One row per cell and option: the keys, ``p_raw`` (mean of the sources), ``p_train_mean``
    (no LLM), ``p_topline`` (with toplines: of all respondents, over the options that the
    group was offered, NaN where not known), ``p_cal`` (the act), its bounds, ``act``,
    ``anchored`` and ``in_training``. Cells that no source answered are kept, with NaN.

    Raises
    ------
    DataError
        Where a source of the model is not in the table.
    FitError
        Where the calibrator has no such act or cannot be anchored, or a question's groups
        cannot add up to its topline.
    """
    paired = pair(frame, model.settings)
    # A prediction sees the LLM's side only.
    elicited = paired.elicited
    known = None if toplines is None else toplines.opinions
    parts = (
        ((np.arange(len(elicited)), model.calibrator.predict(elicited, known)),)
        if keep_draws
        else model.calibrator.predict_portions(elicited, known)
    )
    index = elicited.index
    point, low, high = (np.full(index.mask.shape, np.nan) for _ in range(3))
    done: Counter[str] = Counter()
    draws = None
    for rows, prediction in parts:
        if prediction.draws is None and act != "mean":
            raise FitError(
                "only calibrators with draws have other acts than the mean; got "
                f"{act} of {model.calibrator.name}; predict with --act mean or fit with "
                "--calibrator dirichlet"
            )
        point[rows] = acts.act(prediction, act)
        if prediction.draws is not None:
            low[rows], high[rows] = scores.interval(prediction.draws, level)
        # Nought is a count too: it says that there was nothing to repair.
        done.update(dict(prediction.counts))
        if keep_draws and prediction.draws is not None:
            # Row by row of the mask, as the table's rows are.
            draws = prediction.draws[:, index.mask]
    predicted = ~np.isnan(point).any(axis=1)
    base = model.train_mean.predict(elicited).opinions.probs
    shares = {"p_raw": elicited.pooled(), "p_train_mean": base}
    anchored = np.zeros(len(base), dtype=bool)
    if known is not None:
        given = by_question(known, index)[0][index.question_of_row]
        shares["p_topline"] = close(given, index.mask)
        anchored = predicted & ~np.isnan(given).any(axis=1)
    shares |= {"p_cal": point, "p_cal_lo": low, "p_cal_hi": high}
    table = _long(elicited, shares, model, act, anchored)
    counts = {
        **paired.counts,
        **({} if toplines is None else toplines.counts),
        **done,
        "cells_without_prediction": int((~predicted).sum()),
        "questions_in_training": len(model.trained_on & set(index.question_keys)),
    }
    return Predicted(table, counts, draws)


def _long(
    elicited: Elicited,
    shares: dict[str, Float[np.ndarray, "row option"]],
    model: SavedModel,
    act: Act,
    anchored: Bool[np.ndarray, " row"],
) -> pd.DataFrame:
    index = elicited.index
    row, place = np.nonzero(index.mask)
    asked = [index.questions[number] for number in index.question_of_row[row]]
    groups = [index.groups[number] for number in index.group_of_row[row]]
    columns: dict[str, Any] = {
        "survey": [question.survey for question in asked],
        "question_id": [question.id for question in asked],
        **option_columns(index),
        "attribute": [group.attribute for group in groups],
        "group": [group.name for group in groups],
        **dict(zip(SETTING_KEY, joined_parts(model.settings), strict=True)),
        **{name: values[row, place] for name, values in shares.items()},
        "act": act,
        "anchored": anchored[row],
        "in_training": [question.key in model.trained_on for question in asked],
    }
    return pd.DataFrame(columns)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """A table of predictions, checked.

    Raises
    ------
    DataError
        Where columns are missing, values are no numbers, keys recur, or the predicted
        shares of a cell are negative or do not sum to one.
    """
    frame = read_frame(path)
    try:
        return _checked(frame)
    except DataError as error:
        raise error.in_file(path) from None


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    needed = [*PREDICTION_KEY, "p_cal"]
    missing = [name for name in needed if name not in frame]
    if missing or frame.empty:
        raise _wrong(
            "predictions have the columns " + ", ".join(needed) + " and at least one row",
            f"no column {', '.join(missing)}" if missing else "no row",
            "name a file that calib predict wrote",
        )
    columns: dict[str, Any] = {name: frame[name].astype(str) for name in CELL_KEY}
    for name in ("option_index", *SHARES.values(), *BOUNDS):
        if name in frame:
            columns[name] = _numbers(frame[name])
    for name in ("in_training", "anchored"):
        if name in frame:
            columns[name] = _truths(frame[name])
    if "act" in frame:
        columns["act"] = frame["act"].astype(str)
    typed = pd.DataFrame(columns)
    faults = []
    if "act" in typed:
        other = ((typed["act"] != typed["act"].iloc[0]) | ~typed["act"].isin(ACTS)).to_numpy()
        if other.any():
            faults.append(
                Fault(
                    "predictions are of one act, of " + ", ".join(ACTS),
                    ", ".join(map(repr, typed["act"].unique())),
                    "predict all questions with the same --act, or score acts apart",
                    "act",
                    tuple(np.flatnonzero(other).tolist()),
                )
            )
    repeated = typed.duplicated(PREDICTION_KEY, keep=False).to_numpy()
    if repeated.any():
        faults.append(
            Fault(
                "one prediction per group, question and option",
                "/".join(map(str, typed.loc[repeated, PREDICTION_KEY].iloc[0])) + " repeated",
                "score the predictions of one model at a time",
                "option_index",
                tuple(np.flatnonzero(repeated).tolist()),
            )
        )
    for name in set(SHARES.values()) & set(typed):
        faults += _share_faults(typed, name)
    if faults:
        raise DataError(faults)
    return typed


def _share_faults(typed: pd.DataFrame, name: str) -> list[Fault]:
    share = typed[name]
    bad = ((share < 0) | np.isinf(share)).to_numpy()
    rule, value = "a predicted share is a number from 0 up", share[bad]
    if not bad.any():
        cells = typed.groupby(CELL_KEY, sort=False)[name]
        # A cell without any share is one that no source answered; it is counted, not scored.
        total = cells.transform("sum", min_count=1)
        partly = share.isna() & total.notna()
        bad = (((total - 1).abs() > SUM_TOLERANCE) | partly).to_numpy()
        rule, value = "the predicted shares of a cell sum to one, none missing", total[bad]
    if not bad.any():
        return []
    return [
        Fault(
            rule,
            f"{value.iloc[0]:.6g}",
            "write the predictions again; do not leave options out",
            name,
            tuple(np.flatnonzero(bad).tolist()),
        )
    ]


def _numbers(column: pd.Series) -> pd.Series:
    empty = column.isna() | (column.astype(str).str.strip() == "")
    number = pd.to_numeric(column.mask(empty), errors="coerce").astype(float)
    bad = (number.isna() & ~empty & (column.astype(str).str.lower() != "nan")).to_numpy()
    if bad.any():
        raise DataError(
            Fault(
                "values must be numbers or empty",
                repr(column[bad].iloc[0]),
                "write numbers with a decimal point",
                str(column.name),
                tuple(np.flatnonzero(bad).tolist()),
            )
        )
    return number


def _truths(column: pd.Series) -> pd.Series:
    words = column.astype(str).str.lower()
    bad = (~words.isin(["true", "false"])).to_numpy()
    if bad.any():
        raise DataError(
            Fault(
                f"{column.name} is true or false",
                repr(column[bad].iloc[0]),
                "write the predictions again with calib predict",
                str(column.name),
                tuple(np.flatnonzero(bad).tolist()),
            )
        )
    return words == "true"


def _wrong(rule: str, value: str, remedy: str, column: str | None = None) -> DataError:
    return DataError(Fault(rule, value, remedy, column))
