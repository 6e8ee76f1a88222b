"""Predictions as a table: made with a saved model, read back, scored against human shares."""

from __future__ import annotations

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
from calib.opinions import SUM_TOLERANCE, Elicited, Index, Opinions, close
from calib.paired import pair
from calib.rules import CELL_KEY, SETTING_KEY
from calib.sources import joined_parts
from calib.summary import plain
from calib.survey import QuestionKey
from calib.table import read_frame
from calib.toplines import Toplines

PREDICTION_KEY: Final = [*CELL_KEY, "option_index"]
SHARES: Final = {
    "calibrated": "p_cal", "raw": "p_raw", "train-mean": "p_train_mean", "topline": "p_topline",
}  # fmt: skip
"""Predictors and the columns that hold their shares."""
BOUNDS: Final = ("p_cal_lo", "p_cal_hi")
POINT_SCORES: Final = ("w1", "kl_1e3", "tv")


class Predicted(NamedTuple):
    """A table of predictions and what happened on the way."""

    table: pd.DataFrame
    counts: dict[str, int]


def predict_table(
    model: SavedModel,
    frame: pd.DataFrame,
    *,
    level: float = 0.9,
    act: Act = "mean",
    toplines: Toplines | None = None,
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
    prediction = model.calibrator.predict(elicited, known)
    if prediction.draws is None and act != "mean":
        raise FitError(
            "only calibrators with draws have other acts than the mean; got "
            f"{act} of {model.calibrator.name}; predict with --act mean or fit with "
            "--calibrator dirichlet"
        )
    base = model.train_mean.predict(elicited).opinions.probs
    low = high = np.full_like(prediction.opinions.probs, np.nan)
    if prediction.draws is not None:
        low, high = scores.interval(prediction.draws, level)
    shares = {"p_raw": elicited.pooled(), "p_train_mean": base}
    anchored = np.zeros(len(base), dtype=bool)
    if known is not None:
        given = by_question(known, elicited.index)[0][elicited.index.question_of_row]
        shares["p_topline"] = close(given, elicited.index.mask)
        anchored = prediction.opinions.known & ~np.isnan(given).any(axis=1)
    shares |= {"p_cal": acts.act(prediction, act), "p_cal_lo": low, "p_cal_hi": high}
    table = _long(elicited, shares, model, act, anchored)
    counts = {
        **paired.counts,
        **({} if toplines is None else toplines.counts),
        **prediction.counts,
        "cells_without_prediction": int((~prediction.opinions.known).sum()),
        "questions_in_training": len(model.trained_on & set(elicited.index.question_keys)),
    }
    return Predicted(table, counts)


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


def score_predictions(predictions: pd.DataFrame, frame: pd.DataFrame) -> dict[str, Any]:
    """Scores of predictions on the cells that people answered, beside the yardsticks.

    All scores are means over cells under the predictions as they stand; ``act`` says which
    point prediction that is, None where the file does not. Where the toplines of all cells
    are known, they stand beside as a yardstick. ``coverage_interval`` is of the file's
    intervals, at the level they were written for; they are of true shares, human shares have
    sampling noise on top.

    Parameters
    ----------
    predictions
        From ``read_predictions``.
    frame
        From ``calib.table.read_table``; only its human side is used.

    Raises
    ------
    DataError
        Where they have no cell in common, a cell's options differ, or a scored question
        was in training.
    """
    human = pair(frame).human
    human = human.take(human.known)
    blocks, there = _placed(predictions, human.index)
    training = {QuestionKey(*key) for key in _training(predictions)}
    scored = there & ~np.isnan(blocks["p_cal"]).any(axis=1)
    known = human.take(scored)
    leaked = sorted(training & set(known.index.question_keys))
    if leaked:
        raise _wrong(
            "a question in train and test has no held-out score",
            f"{len(leaked)} questions that the model was trained on, "
            + ", ".join("/".join(key) for key in leaked[:5]),
            "score questions that were not in the model's training, or use calib evaluate",
            column="in_training",
        )
    if not scored.any():
        raise _wrong(
            "predictions and table have cells in common that people and the LLM answered",
            "none",
            "check survey, question_id, attribute and group on both sides",
        )
    kept = {name: block[scored] for name, block in blocks.items()}
    document: dict[str, Any] = plain(_document(known, kept))
    document["act"] = str(predictions["act"].iloc[0]) if "act" in predictions else None
    if "anchored" in kept:
        document["counts"]["cells_anchored"] = int((kept["anchored"] == 1).any(axis=1).sum())
    document["counts"] |= {
        "cells_predicted_without_answer": int((there & ~scored).sum()),
        "human_cells_without_prediction": int((~there).sum()),
    }
    return document


def _document(
    human: Opinions, blocks: dict[str, Float[np.ndarray, "row option"]]
) -> dict[str, Any]:
    index = human.index
    size = np.full(len(human), np.nan) if human.n is None else human.n
    floor = scores.noise_floor(human.probs, size, index.places, index.mask, seed=0)
    shares = {name: blocks[column] for name, column in SHARES.items() if column in blocks}
    if "topline" in shares and np.isnan(shares["topline"]).any():
        # A yardstick of some cells does not compare with scores of all.
        del shares["topline"]
    shares["uniform"] = index.uniform()
    # Rounded shares, within the tolerance of the check, are brought to a sum of one.
    per_cell = {
        name: {
            score: scores.SCORES[score](human.probs, close(block, index.mask), index)
            for score in POINT_SCORES
        }
        for name, block in shares.items()
    }
    known = ~np.isnan(floor.w1)
    rows = []
    for name, values in per_cell.items():
        row: dict[str, Any] = {
            "calibrator": name,
            "n_questions": len(index.questions),
            "n_cells": len(index),
            "oa": float(scores.opinion_alignment(values["w1"]).mean()),
            **{score: float(values[score].mean()) for score in POINT_SCORES},
        }
        for score in POINT_SCORES:
            at_floor = getattr(floor, score)[known]
            row[f"floor_{score}"] = float(at_floor.mean()) if known.any() else np.nan
            row[f"gap_closed_{score}"] = (
                float(
                    scores.closable_gap(
                        per_cell["raw"][score][known].mean(),
                        values[score][known].mean(),
                        at_floor.mean(),
                    )
                )
                if known.any() and "raw" in per_cell
                else np.nan
            )
        covered = np.nan
        if name == "calibrated" and all(bound in blocks for bound in BOUNDS):
            low, high = (blocks[bound] for bound in BOUNDS)
            inside = scores.coverage(human.probs, low, high, index.mask)
            covered = float(inside.mean())
        row["coverage_interval"] = covered
        rows.append(row)
    total = blocks["p_cal"].sum(axis=1)
    return {
        "rows": rows,
        "counts": {
            "cells_scored": len(index),
            "predicted_cells_renormalised": int((np.abs(total - 1) > 1e-9).sum()),
            "w1_is_tv_cells": int((~index.ordered).sum()),
        },
    }


def _placed(
    predictions: pd.DataFrame, index: Index
) -> tuple[dict[str, Float[np.ndarray, "row option"]], Bool[np.ndarray, " row"]]:
    """Predicted columns as blocks over an index, and the rows that were predicted."""
    row, place = np.nonzero(index.mask)
    asked = [index.questions[number] for number in index.question_of_row[row]]
    groups = [index.groups[number] for number in index.group_of_row[row]]
    keys = pd.DataFrame(
        {
            "survey": [question.survey for question in asked],
            "question_id": [question.id for question in asked],
            "attribute": [group.attribute for group in groups],
            "group": [group.name for group in groups],
            "option_index": np.array(option_columns(index)["option_index"], dtype=float),
        }
    )
    at = pd.MultiIndex.from_frame(predictions[PREDICTION_KEY]).get_indexer(
        pd.MultiIndex.from_frame(keys[PREDICTION_KEY])
    )
    found = np.zeros(index.mask.shape, dtype=bool)
    found[row, place] = at >= 0
    there: Bool[np.ndarray, " row"] = np.asarray(found.any(axis=1))
    offered = np.zeros(len(predictions), dtype=bool)
    offered[at[at >= 0]] = True
    cell = predictions.groupby(CELL_KEY, sort=False).ngroup().to_numpy()
    extra = np.isin(cell, cell[offered]) & ~offered
    if (there & (found != index.mask).any(axis=1)).any() or extra.any():
        raise _wrong(
            "predictions and table offer a cell the same options",
            f"other option_index values in {int(extra.sum())} rows of the predictions"
            if extra.any()
            else "options of the table without a prediction",
            "predict from the table whose human shares are scored",
            column="option_index",
        )
    blocks = {}
    for name in (*SHARES.values(), *BOUNDS, "anchored"):
        if name in predictions:
            block = np.where(index.mask, np.nan, 0.0)
            block[row, place] = np.where(
                at >= 0, predictions[name].to_numpy(dtype=float)[at], np.nan
            )
            blocks[name] = block
    return blocks, there


def _training(predictions: pd.DataFrame) -> list[tuple[str, str]]:
    if "in_training" not in predictions:
        return []
    trained = predictions.loc[predictions["in_training"], ["survey", "question_id"]]
    return list(trained.drop_duplicates().itertuples(index=False, name=None))


def _wrong(rule: str, value: str, remedy: str, column: str | None = None) -> DataError:
    return DataError(Fault(rule, value, remedy, column))
