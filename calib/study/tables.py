"""What a study's cells say together: results by question, and the summary of every row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from calib.disclosure import benchmark_status
from calib.files import atomic_file, write_table
from calib.sources import sources_label
from calib.study.aggregate import summary_rows
from calib.study.cells import SCORES, SPREADS
from calib.study.contrasts import contrasts
from calib.study.settings import over_settings
from calib.study.shape import SHAPES
from calib.study.store import RESULTS, SUMMARY, Store
from calib.summary import plain
from calib.survey import Setting

KEYS: Final = ("table", "sources", "target", "split", "size", "calibrator")
"""What a row of the summary is of."""


def write_tables(store: Store) -> None:
    """Write ``results.parquet`` and ``summary.json`` from the cells that are done.

    The same cells give the same bytes, in whatever order they were computed.
    """
    document = store.read()
    done = store.done()
    cells = [cell for cell in document["cells"] if cell["key"] in done]
    results = store.results(cell["key"] for cell in cells)
    frame = results_frame(results)
    write_table(frame, store.folder / RESULTS)
    found = summaries(frame, results, list(document.get("left_out", {})))
    summary = plain(
        {
            "study": document["plan"]["name"],
            "question": document["plan"]["question"],
            "plan": document["plan"],
            "tables": document["tables"],
            "left_out": document.get("left_out", {}),
            "versions": document["versions"],
            "cells": len(document["cells"]),
            "done": len(results),
            "failed": list(_failed(results)),
            "benchmark_status": benchmark_status(found["rows"]),
            **found,
        }
    )
    text = json.dumps(summary, ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_file(store.folder / SUMMARY) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def summaries(
    frame: pd.DataFrame, results: Sequence[Mapping[str, Any]], common: Sequence[str] = ()
) -> dict[str, Any]:
    """Rows by ``KEYS``, their means and standard deviations over settings, and contrasts.

    ``common`` are the tables of which every setting has the same cells.
    """
    rows = summary_rows(frame, notes_of(results))
    return {
        "rows": rows,
        "over_settings": over_settings(rows),
        "contrasts": contrasts(frame, [row for row in rows if row["table"] in common]),
    }


def results_frame(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each cell of the study and test question.

    ``sum_*`` are sums over the question's ``n_cells`` answered cells, of each score under its
    own act; ``sum_mean_act_*`` under the mean; ``sum_rps`` is over ``n_rps_cells``;
    ``sum_shape_*`` are those of ``calib.study.shape``. Columns of intervals are NaN without
    draws.
    """
    rows = [
        {"key": result["key"], **_names(result["cell"])}
        | {"part": result["cell"]["part"], "seed": result["cell"]["seed"]}
        | {name: question[name] for name in ("survey", "question_id", "ordered")}
        | {"n_cells": question["cells"], "n_rps_cells": question["rps_cells"]}
        | {f"sum_{score}": question["own"][score] for score in SCORES}
        | {f"sum_mean_act_{score}": question["mean"][score] for score in SCORES}
        | {f"sum_{name}": question.get("spread", {}).get(name, float("nan")) for name in SPREADS}
        | {
            f"sum_shape_{name}": question.get("shape", {}).get(name, float("nan"))
            for name in SHAPES
        }
        for result in results
        if "error" not in result
        for question in result["questions"]
    ]
    columns = [
        "key", *KEYS, "part", "seed", "survey", "question_id", "ordered", "n_cells", "n_rps_cells",
        *(f"sum_{score}" for score in SCORES), *(f"sum_mean_act_{score}" for score in SCORES),
        *(f"sum_{name}" for name in SPREADS), *(f"sum_shape_{name}" for name in SHAPES),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def notes_of(results: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    """What cells tell beside their scores, by row of the summary, added up over parts."""
    notes: dict[tuple[str, ...], dict[str, Any]] = {}
    for result in results:
        names = _names(result["cell"])
        note = notes.setdefault(
            tuple(names[key] for key in KEYS),
            {
                "settings": result["cell"]["target"], "training_questions": 0, "parts": 0,
                "parts_failed": 0,
                "has_draws": False, "counts": {}, "parts_untrusted": 0, "problems": [],
            },
        )  # fmt: skip
        note["parts"] += 1
        if "error" in result:
            note["parts_failed"] += 1
            continue
        most = max(note["training_questions"], result["training_questions"])
        note["training_questions"] = most
        note["has_draws"] |= result["has_draws"]
        note["parts_untrusted"] += result["trusted"] is False
        part = result["cell"]["part"]
        note["problems"] += [f"{part}: {problem}" for problem in result["problems"]]
        for name, count in result["counts"].items():
            note["counts"][name] = note["counts"].get(name, 0) + count
    return notes


def _names(cell: Mapping[str, Any]) -> dict[str, str]:
    """The columns ``KEYS`` of a cell."""
    sources, target = (
        sources_label([Setting(*setting) for setting in cell[side]])
        for side in ("sources", "target")
    )
    return {
        "table": cell["table"],
        "sources": sources,
        "target": target,
        "split": cell["split"],
        "size": str(cell["size"]),
        "calibrator": cell["variant"]["name"],
    }


def _failed(results: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for result in results:
        if "error" in result:
            cell = result["cell"]
            yield {"key": result["key"], **_names(cell), "part": cell["part"],
                   "seed": cell["seed"], "error": result["error"]}  # fmt: skip
