"""One cell of a study: a fit and its scores, summed by question, or the error that ended it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from calib import heldout, scores
from calib.errors import CalibError
from calib.opinions import Opinions
from calib.study.grid import Batch, Job
from calib.study.shape import shape_sums

SCORES: Final = (*scores.SCORES, "mse")
"""Point scores of a cell; ``mse`` is that of the mean act."""
SPREADS: Final = ("coverage_50", "coverage_80", "coverage_90", "width_90")
"""Of calibrators with draws."""


class Done(NamedTuple):
    """What a cell left."""

    key: str
    result: dict[str, Any]
    """The same whatever ran when and where."""
    times: dict[str, float]
    """Seconds: ``seconds`` in all, ``fit_seconds`` of the fit; no part of the result."""


def run_batch(batch: Batch) -> list[Done]:
    """Compute the cells of a batch in a worker."""
    # For good: a worker with several threads would lift the limit of one for another.
    threadpool_limits(limits=1)
    return list(run_cells(batch))


def run_cells(batch: Batch) -> Iterator[Done]:
    """Compute the cells of a batch, one after another; a cell that fails is told as such."""
    # One thread of linear algebra: with others the last bits would hang on the machine's load.
    with threadpool_limits(limits=1):
        for job in batch.jobs:
            started = perf_counter()
            fit_seconds = float("nan")
            try:
                found, fit_seconds = _scored(job, batch)
            except Exception as error:
                # Whatever ends one calibrator on one part is a result, not the study's end.
                message = " ".join(str(error).split())[:500]
                found = {"error": {"type": type(error).__name__, "message": message}}
            times = {"seconds": perf_counter() - started}
            if fit_seconds == fit_seconds:
                times["fit_seconds"] = fit_seconds
            key = job.cell.key
            yield Done(key, {"key": key, "cell": job.cell.as_dict(), **found}, times)


def _scored(job: Job, batch: Batch) -> tuple[dict[str, Any], float]:
    cell, rows = job.cell, job.part
    training, test = batch.training.take(rows.training), batch.test.take(rows.test)
    scored = rows.scored[rows.test]
    part = heldout.held_out_part(
        cell.variant.make(), training, test, scored=scored, seed=cell.seed, number=cell.number
    )
    human = test.take(test.complete & scored).human
    squared = {"mse": scores.mse(human.probs, part.probs, human.index.mask)}
    learnt = training.take(training.complete).index
    counts = {name: int(count) for name, count in part.prediction.counts.items()}
    if cell.target != cell.sources:
        counts["sources_relabelled"] = len(cell.target)
    found = {
        "training_questions": len(learnt.questions),
        "training_cells": len(learnt),
        "has_draws": part.spread is not None,
        "counts": counts,
        "trusted": part.trusted,
        "problems": list(part.problems),
        "questions": _by_question(
            human,
            part.own_act | squared,
            part.mean_act | squared,
            part.spread,
            shape_sums(human, part.probs),
        ),
    }
    return found, part.fit_seconds


def _by_question(
    human: Opinions,
    own: heldout.PerRow,
    mean: heldout.PerRow,
    spread: heldout.PerRow | None,
    shape: Mapping[str, Float[np.ndarray, " question"]],
) -> list[dict[str, Any]]:
    """Sums over each question's cells; ``rps_cells`` are those that have an RPS."""
    index = human.index
    number = index.question_of_row
    rps_cells = _sums((~np.isnan(own["rps"])).astype(float), number)
    columns: dict[str, Float[np.ndarray, " question"]] = {}
    for place, values in (("own", own), ("mean", mean), ("spread", spread or {})):
        for name in SPREADS if place == "spread" else SCORES:
            if name not in values:
                continue
            scored = np.nan_to_num(values[name]) if name == "rps" else values[name]
            if not np.isfinite(scored).all():
                raise CalibError(
                    f"every answered cell has a finite {name}; found "
                    f"{int((~np.isfinite(scored)).sum())} without; fit another calibrator"
                )
            columns[f"{place} {name}"] = _sums(scored, number)
    columns |= {f"shape {name}": sums for name, sums in shape.items()}
    rows = []
    for at, question in enumerate(index.questions):
        row: dict[str, Any] = {
            "survey": question.survey,
            "question_id": question.id,
            "ordered": question.ordered,
            "cells": int((number == at).sum()),
            "rps_cells": int(rps_cells[at]),
        }
        for name, sums in columns.items():
            kind, _, score = name.partition(" ")
            row.setdefault(kind, {})[score] = float(sums[at])
        rows.append(row)
    return rows


def _sums(
    values: Float[np.ndarray, " row"], question_of_row: Int[np.ndarray, " row"]
) -> Float[np.ndarray, " question"]:
    return np.bincount(question_of_row, weights=values)
