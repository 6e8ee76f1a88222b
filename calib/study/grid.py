"""The cells of a study: one fit each, named by what decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from calib.errors import DataError, Fault
from calib.evaluate import folds_of_questions, questions_of
from calib.modelfile import table_hash
from calib.paired import Paired, settings_of
from calib.sources import sources_label
from calib.study.common import common_cells
from calib.study.plan import StudyPlan, TablePlan, Variant
from calib.study.sides import Sides, dates_of, pairs_of, placed, selections_of, sides_of
from calib.study.splits import Part, Questions, first_questions, parts_of, training_order
from calib.survey import QuestionKey, Setting
from calib.table import read_table


@dataclass(frozen=True)
class Cell:
    """One fit and its scores, by everything that decides them."""

    table: str
    table_hash: str
    sources: tuple[Setting, ...]
    target: tuple[Setting, ...]
    """Whose answers are predicted from: the sources, but for splits between settings."""
    variant: Variant
    split: str
    part: str
    number: int
    """Of the part in its split, from 0."""
    folds: int
    size: int | None
    """Training questions; None: all there are."""
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "table": self.table,
            "table_hash": self.table_hash,
            "sources": [list(setting) for setting in self.sources],
            "target": [list(setting) for setting in self.target],
            "variant": asdict(self.variant),
            "split": self.split,
            "part": self.part,
            "number": self.number,
            "folds": self.folds,
            "size": "all" if self.size is None else self.size,
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
        return digest(self.as_dict())[:16]


@dataclass(frozen=True, eq=False)
class Job:
    """A cell with the rows that it needs."""

    cell: Cell
    part: Part


@dataclass(frozen=True, eq=False)
class Batch:
    """Parts of one split by one calibrator: fits that can share a compiled program."""

    training: Paired
    test: Paired
    """As ``training``, but for splits between settings."""
    jobs: tuple[Job, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """A study whose tables were read and whose every cell is possible."""

    plan: StudyPlan
    tables: Mapping[str, str]
    """Content hash by name."""
    batches: tuple[Batch, ...]
    left_out: Mapping[str, Mapping[str, int]]
    """Of tables with ``cells = "common"``: counts of ``calib.study.common``."""

    @property
    def cells(self) -> list[Cell]:
        """All cells, in the order of the plan."""
        return [job.cell for batch in self.batches for job in batch.jobs]


def digest(value: object) -> str:
    """SHA-256 of a value's canonical JSON: keys sorted, no spaces, UTF-8."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def expand(plan: StudyPlan, folder: Path) -> Grid:
    """Read the study's tables in ``folder`` and check every cell, running none.

    Raises
    ------
    DataError
        With the faults of all tables, selections, splits and sizes at once.
    """
    faults: list[Fault] = []
    batches: list[Batch] = []
    hashes: dict[str, str] = {}
    left_out: dict[str, dict[str, int]] = {}
    for table in plan.tables:
        path = folder / table.path
        try:
            frame = read_table(path)
            dates = dates_of(path) if "date" in plan.splits else {}
        except DataError as error:
            faults += [placed(f"table {table.path}", fault) for fault in error.faults]
            continue
        selections = selections_of(table, settings_of(frame), faults)
        if table.cells == "common" and selections:
            try:
                frame, left_out[table.path] = common_cells(
                    frame, list(dict.fromkeys(chain.from_iterable(selections)))
                )
            except DataError as error:
                faults += [placed(f"table {table.path}", fault) for fault in error.faults]
                continue
        hashes[table.path] = table_hash(frame) if not dates else digest(
            [table_hash(frame), sorted([*key, date] for key, date in dates.items())]
        )  # fmt: skip
        batches += _of_table(plan, table, frame, selections, hashes[table.path], dates, faults)
    if faults:
        raise DataError(list(dict.fromkeys(faults)))
    return Grid(plan, hashes, tuple(batches), left_out)


def _of_table(
    plan: StudyPlan,
    table: TablePlan,
    frame: pd.DataFrame,
    selections: Sequence[tuple[Setting, ...]],
    content: str,
    dates: Mapping[QuestionKey, str],
    faults: list[Fault],
) -> Iterator[Batch]:
    questions = questions_of(frame)
    pairs: dict[Sides, tuple[Paired, Paired]] = {}
    for seed in plan.seeds:
        try:
            known = Questions(
                folds_of_questions(questions, plan.folds, seed),
                training_order(questions, seed),
                dates,
            )
        except DataError as error:
            faults += [placed(f"table {table.path}", fault) for fault in error.faults]
            return
        for split in plan.splits:
            for sources, target in sides_of(split, selections, table, faults):
                if (sources, target) not in pairs:
                    pairs[sources, target] = pairs_of(frame, sources, target)
                training, test = pairs[sources, target]
                for size in plan.training_sizes:
                    where = f"table {table.path}, {sources_label(sources)}, split {split}"
                    try:
                        parts = _sized(split, training, test, known, plan.folds, size)
                    except DataError as error:
                        faults += [placed(where, fault) for fault in error.faults]
                        continue
                    for variant in plan.variants:
                        cell = Cell(
                            table.path, content, sources, target, variant, split,
                            "", 0, plan.folds, size, seed,
                        )  # fmt: skip
                        jobs = tuple(
                            Job(replace(cell, part=part.name, number=number), part)
                            for number, part in enumerate(parts)
                        )
                        yield Batch(training, test, jobs)


def _sized(
    split: str,
    training: Paired,
    test: Paired,
    known: Questions,
    folds: int,
    size: int | None,
) -> list[Part]:
    label = sources_label(training.elicited.settings)
    parts = [
        replace(part, training=first_questions(training, part.training, known.order, size))
        for part in parts_of(split, test, known, folds, label)
    ]
    for part in parts:
        if not (part.training & training.complete).any():
            raise DataError(
                Fault(
                    rule="every part has cells to learn from, that people and the LLM answered",
                    value=f"none in {part.name}",
                    remedy="leave the selection out, or use fewer folds",
                )
            )
    return parts
