"""Calibrators side by side on questions that they did not see: k folds by question."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Int

from calib.base import REGISTRY, Calibrator
from calib.disclosure import benchmark_status
from calib.errors import DataError, Fault
from calib.files import atomic_folder
from calib.heldout import HeldOut, held_out
from calib.modelfile import library_versions, save_model, table_hash
from calib.opinions import Index
from calib.paired import Paired, pair
from calib.rules import QUESTION_KEY
from calib.scores import noise_floor
from calib.sources import sources_label
from calib.summary import differences, plain, summarise
from calib.survey import QuestionKey, Setting

MARKER: Final = "results.json"
NO_LLM: Final = ("uniform", "train-mean")
"""Yardsticks that ask no LLM."""
ALWAYS: Final = ("identity", *NO_LLM)
"""Yardsticks that stand beside every result."""
DEFAULT_CALIBRATORS: Final = (
    *ALWAYS, "ridge", "lasso", "forest", "ridge-structured", "dirichlet",
)  # fmt: skip

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""


@dataclass(frozen=True, eq=False)
class KeptModel:
    """The model of one fold, to be looked at: traces, effects, group coefficients."""

    place: str
    """Its folder within that of the evaluation."""
    calibrator: Calibrator
    training: Paired


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Held-out results of one table."""

    table: str
    seed: int
    folds: int
    data_hash: str
    rows: list[dict[str, Any]]
    """One per selection of sources and calibrator."""
    differences: list[dict[str, Any]]
    """a - b with a bootstrap interval clustered by question; negative: a is better."""
    counts: dict[str, dict[str, int]]
    """What pairing dropped, repaired or missed, by selection."""
    cells: pd.DataFrame
    """One row per selection, calibrator and cell: its scores."""
    predictions: pd.DataFrame
    """One row per selection, calibrator, cell and option: its shares."""
    models: list[KeptModel]

    def as_dict(self) -> dict[str, Any]:
        """The contract of ``evaluate --json``: plain values, null where undefined."""
        document: dict[str, Any] = plain(
            {
                "table": self.table,
                "seed": self.seed,
                "folds": self.folds,
                "data_hash": self.data_hash,
                "versions": library_versions(),
                "benchmark_status": benchmark_status(self.rows),
                "rows": self.rows,
                "differences": self.differences,
                "counts": self.counts,
            }
        )
        return document


def evaluate(
    frame: pd.DataFrame,
    *,
    selections: Sequence[Sequence[Setting]],
    calibrators: Iterable[str],
    folds: int = 5,
    seed: int = 0,
    table_name: str,
    progress: Progress | None = None,
) -> Evaluation:
    """Fit on some questions and score on the others, for each selection and calibrator.

    A question's fold is decided once for the table, hence the same for every selection and
    calibrator. All calibrators are scored on the same cells: those that people and at least
    one source answered; the others are counted. Same seed, same results, apart from
    ``fit_seconds``.

    Parameters
    ----------
    frame
        From ``calib.table.read_table``.
    selections
        Each the sources of one fit (``calib.sources.parse_sources``).
    calibrators
        Names of the registry; identity, uniform and train-mean are added.

    Raises
    ------
    DataError
        Where there are too few questions for the folds.
    """
    names = [name for name in REGISTRY if name in {*ALWAYS, *calibrators}]
    fold_of = folds_of_questions(questions_of(frame), folds, seed)
    steps = _Steps(progress, len(selections) * len(names) * folds)
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    counts: dict[str, dict[str, int]] = {}
    cells: list[pd.DataFrame] = []
    predictions: list[pd.DataFrame] = []
    models: list[KeptModel] = []
    for selection in selections:
        label = sources_label(selection)
        paired = pair(frame, selection)
        fold_of_row = folds_of_rows(paired, fold_of, folds, label)
        scored = paired.take(paired.complete)
        human, scored_folds = scored.human, fold_of_row[paired.complete]
        counts[label] = dict(paired.counts)
        n_unanswered = int((paired.human.known & ~paired.complete).sum())
        results = [
            held_out(name, paired, fold_of_row, seed, steps.next(f"{label} · {name}"))
            for name in names
        ]
        size = np.full(len(human), np.nan) if human.n is None else human.n
        floor = noise_floor(human.probs, size, human.index.places, human.index.mask, seed)
        by_name = {result.name: result for result in results}
        for result in results:
            summary = summarise(result, human, floor, by_name["identity"], by_name["train-mean"])
            place = None
            if result.first_fold is not None:
                place = f"models/{len(models) + 1}"
                models.append(KeptModel(place, *result.first_fold))
            extra = {"n_cells_unanswered": n_unanswered, "model": place}
            rows.append({"sources": label, **summary, **extra})
            cells.append(_cells(label, result, scored, scored_folds))
            predictions.append(_predictions(label, result, scored, scored_folds))
        compared += [
            {"sources": label, **difference}
            for difference in differences(results, human.index.question_of_row, seed)
        ]
    return Evaluation(
        table=table_name,
        seed=seed,
        folds=folds,
        data_hash=table_hash(frame),
        rows=rows,
        differences=compared,
        counts=counts,
        cells=pd.concat(cells, ignore_index=True),
        predictions=pd.concat(predictions, ignore_index=True),
        models=models,
    )


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write ``results.json``, ``cells.parquet``, ``predictions.parquet`` and ``models/``.

    The folder appears whole or not at all; an earlier evaluation is replaced.
    """
    with atomic_folder(folder, marker=MARKER) as draft:
        text = json.dumps(evaluation.as_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        (draft / MARKER).write_text(text + "\n", encoding="utf-8")
        evaluation.cells.to_parquet(draft / "cells.parquet", index=False)
        evaluation.predictions.to_parquet(draft / "predictions.parquet", index=False)
        for model in evaluation.models:
            save_model(
                model.calibrator,
                draft / model.place,
                paired=model.training,
                seed=evaluation.seed,
                table_name=evaluation.table,
                data_hash=evaluation.data_hash,
            )


def folds_of_questions(
    questions: Iterable[QuestionKey], folds: int, seed: int
) -> dict[QuestionKey, int]:
    """A fold from 0 for each question, sizes as even as can be, whatever the order given."""
    keys = sorted(set(questions))
    if not 2 <= folds <= len(keys):
        raise _too_few(folds, f"{folds} folds for {len(keys)} questions")
    shuffled = np.random.default_rng(seed).permutation(len(keys))
    return {keys[number]: place % folds for place, number in enumerate(shuffled.tolist())}


def questions_of(frame: pd.DataFrame) -> list[QuestionKey]:
    """Distinct questions of a table, in its order."""
    distinct = frame[QUESTION_KEY].drop_duplicates()
    return [QuestionKey(*key) for key in distinct.itertuples(index=False)]


def folds_of_rows(
    paired: Paired, fold_of: Mapping[QuestionKey, int], folds: int, label: str
) -> Int[np.ndarray, " row"]:
    """Each row's fold; ``DataError`` where too few questions of the pairs can be scored."""
    of_question = np.array([fold_of[key] for key in paired.index.question_keys])
    fold_of_row: Int[np.ndarray, " row"] = of_question[paired.index.question_of_row]
    scored = np.unique(paired.index.question_of_row[paired.complete])
    if len(scored) < folds or len(np.unique(of_question[scored])) < 2:
        raise _too_few(
            folds, f"{len(scored)} questions that people and {label} answered, for {folds} folds"
        )
    return fold_of_row


def _too_few(folds: int, value: str) -> DataError:
    return DataError(
        Fault(
            rule="evaluation needs at least two folds and a question for each, "
            "for a question is never split",
            value=value,
            remedy=f"use fewer --folds than {folds}, or a table with more answered questions"
            if folds > 2
            else "use 2 or more --folds and a table with more answered questions",
        )
    )


@dataclass
class _Steps:
    """Counts finished folds for a progress bar."""

    progress: Progress | None
    total: int
    done: int = 0

    def next(self, what: str) -> Callable[[], None]:
        """Tells what comes next; call the result after each fold."""

        def step() -> None:
            self.done += 1
            self._tell(what)

        self._tell(what)
        return step

    def _tell(self, what: str) -> None:
        if self.progress is not None:
            self.progress(what, self.done, self.total)


def _cells(
    label: str, result: HeldOut, scored: Paired, folds: Int[np.ndarray, " row"]
) -> pd.DataFrame:
    keys = _cell_columns(scored.index)
    return pd.DataFrame(
        {
            "sources": label,
            "calibrator": result.name,
            "fold": folds + 1,
            **keys,
            "n_human": scored.human.n,
            **result.own_act,
        }
    )


def _predictions(
    label: str, result: HeldOut, scored: Paired, folds: Int[np.ndarray, " row"]
) -> pd.DataFrame:
    index = scored.index
    row, place = np.nonzero(index.mask)
    keys = {name: values[row] for name, values in _cell_columns(index).items()}
    n = np.full(len(index), np.nan) if scored.human.n is None else scored.human.n
    raw = scored.elicited.pooled()
    return pd.DataFrame(
        {
            "sources": label,
            "calibrator": result.name,
            "fold": folds[row] + 1,
            **keys,
            **option_columns(index),
            "n_human": n[row],
            "p_human": scored.human.probs[row, place],
            "p_raw": raw[row, place],
            "p_cal": result.probs[row, place],
            "p_cal_lo": result.low[row, place],
            "p_cal_hi": result.high[row, place],
        }
    )


def _cell_columns(index: Index) -> dict[str, np.ndarray]:
    """Key columns of a table with one row per cell."""
    questions = [index.questions[number] for number in index.question_of_row]
    groups = [index.groups[number] for number in index.group_of_row]
    columns = {
        "survey": [question.survey for question in questions],
        "question_id": [question.id for question in questions],
        "attribute": [group.attribute for group in groups],
        "group": [group.name for group in groups],
    }
    return {name: np.array(values, dtype=object) for name, values in columns.items()}


def option_columns(index: Index) -> dict[str, list[Any]]:
    """Columns on question and option, one row per cell and option offered, in cell order."""
    row, place = np.nonzero(index.mask)
    asked = [index.questions[number] for number in index.question_of_row[row]]
    options = [question.options[at] for question, at in zip(asked, place.tolist(), strict=True)]
    return {
        "question": [question.text for question in asked],
        "scale": [question.scale for question in asked],
        "option_index": [option.index for option in options],
        "option": [option.label for option in options],
        "option_value": [np.nan if option.value is None else option.value for option in options],
    }
