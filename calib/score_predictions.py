"""Scores of a table of predictions against human shares, beside the yardsticks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from calib import scores
from calib.errors import DataError, Fault
from calib.evaluate import option_columns
from calib.opinions import Index, Opinions, close
from calib.paired import pair
from calib.predictions import BOUNDS, PREDICTION_KEY, SHARES
from calib.rules import CELL_KEY
from calib.summary import plain
from calib.survey import QuestionKey

POINT_SCORES: Final = ("w1", "kl_1e3", "tv")


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
