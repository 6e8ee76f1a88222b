"""The card of a saved model: what it learnt from, how it fared, what it is not for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from calib.disclosure import DISCLOSURE, MEANINGS, benchmark_status
from calib.errors import DataError, Fault
from calib.modelfile import SavedModel, load_model
from calib.sources import sources_label
from calib.study.markdown import escaped
from calib.summary import plain

USES: Final = (
    "Estimates, with intervals, of what these groups would answer to further questions of this "
    "kind, asked of the same language model in the same way.",
    "Planning: which questions and groups to put to people next.",
)
MISUSES: Final = (
    "In place of asking people where a decision rests on the answer.",
    "As answers of single persons, or as statements about any one member of a group.",
    "For groups, topics, countries, times or language models that are not among those below: "
    "nothing of them was learnt, and the intervals do not cover that.",
    "Reported without saying that they are model-based estimates.",
)
FIGURES: Final = ("oa", "w1", "kl_1e3", "tv", "coverage_90")
NOT_KEPT: Final = "not recorded by the version that wrote this model"


def model_card(model: Path, evaluation: Path | None = None) -> dict[str, Any]:
    """Everything on the card, as plain values.

    Parameters
    ----------
    model
        Folder from ``calib fit``.
    evaluation
        Folder from ``calib evaluate`` of the same table, sources and calibrator; its figures
        are of fits on parts of the questions that this model learnt from.

    Raises
    ------
    DataError
        Where a folder is not what it should be, or the evaluation is of other data, sources
        or calibrators.
    """
    saved = load_model(model)
    rows = [] if evaluation is None else _held_out(saved, evaluation)
    own = [row for row in rows if row["calibrator"] == saved.calibrator.name]
    status = benchmark_status(own)
    groups: dict[str, list[str]] | None = None
    if saved.groups is not None:
        groups = {}
        for group in saved.groups:
            groups.setdefault(group.attribute, []).append(group.name)
    document: dict[str, Any] = plain(
        {
            "model": model.name,
            "disclosure": " ".join(DISCLOSURE),
            "benchmark_status": status,
            "benchmark_status_means": MEANINGS[status],
            "calibrator": saved.calibrator.name,
            "uses": USES,
            "misuses": MISUSES,
            "trained_on": {
                "table": saved.table_name,
                "data_hash": saved.data_hash,
                "questions_by_survey": dict(sorted(Counter(
                    key.survey for key in saved.trained_on
                ).items())),
                "cells": saved.n_cells,
                "groups": groups,
                "n_human": saved.n_human,
                "sources": [sources_label([one]) for one in saved.settings],
                "counts": {name: count for name, count in saved.counts.items() if count},
            },
            "held_out": rows,
            **_posterior(saved),
            "seed": saved.seed,
            "versions": dict(saved.versions),
        }
    )  # fmt: skip
    return document


def card_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """The card as Markdown; texts of files are escaped."""
    trained = card["trained_on"]
    yield from (f"# Model card: {escaped(card['model'])}", "", f"**{card['disclosure']}**", "")
    yield f"benchmark\\_status: **{card['benchmark_status']}** ({card['benchmark_status_means']})."
    for heading, uses in (("To be used for", "uses"), ("Not to be used", "misuses")):
        yield from ("", f"## {heading}", "")
        yield from (f"- {use}" for use in card[uses])
    surveys = ", ".join(f"{escaped(k)} ({n})" for k, n in trained["questions_by_survey"].items())
    yield from ("", "## What it learnt from", "")
    yield f"- Calibrator: {escaped(card['calibrator'])}, seed {card['seed']}"
    yield f"- Table: {escaped(trained['table'])}, SHA-256 of its content {trained['data_hash']}"
    yield f"- Surveys (questions): {surveys}; {trained['cells']} cells of a group and a question"
    yield from (f"- {line}" for line in _people(trained))
    yield f"- Language model, elicitation, prompt: {', '.join(map(escaped, trained['sources']))}"
    yield from (f"- {escaped(name)}: {count}" for name, count in trained["counts"].items())
    yield from ("", "## On questions that it did not see", "")
    yield from _figures(card["held_out"])
    if card["diagnosis"] is not None:
        yield from ("", "## Its posterior", "", escaped(card["diagnosis"]["verdict"]))
        yield from (f"- {escaped(one)}" for one in card["diagnosis"]["problems"])
        yield from ("", "Differences between groups, of the language model against people:", "")
        yield from (f"- {escaped(one)}" for one in card["exaggeration"] or ["not estimated"])
    versions = ", ".join(f"{name} {one}" for name, one in card["versions"].items() if one)
    yield from ("", f"Versions: {escaped(versions)}.")


def _people(trained: Mapping[str, Any]) -> Iterator[str]:
    if trained["groups"] is None or trained["n_human"] is None:
        yield f"Groups and respondents: {NOT_KEPT}"
        return
    for attribute, names in trained["groups"].items():
        yield f"{escaped(attribute)}: {', '.join(map(escaped, names))}"
    n = trained["n_human"]
    known = (
        "not known"
        if n["median"] is None
        else f"{n['least']:.0f} to {n['most']:.0f}, median {n['median']:.0f}"
    )
    yield (
        f"Effective respondents a cell: {known}; {n['cells_with_unknown_n']} cells with unknown "
        "number"
    )


def _figures(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "No figures were given (`calib card --evaluation DIR`). Do not quote it as validated."
        return
    yield "Fits on parts of the same questions, scored on the others:"
    yield from ("", "| calibrator | questions | cells | " + " | ".join(FIGURES) + " |")
    yield "|---" * (3 + len(FIGURES)) + "|"
    for row in rows:
        figures = ["–" if row.get(one) is None else f"{row[one]:.4f}" for one in FIGURES]
        cells = [escaped(row["calibrator"]), str(row["n_questions"]), str(row["n_cells"])]
        yield "| " + " | ".join([*cells, *figures]) + " |"
    yield ""
    yield (
        "identity is the raw language model and train-mean people's base rate without any; oa is "
        "better when higher, w1, kl_1e3 and tv when lower, coverage_90 near 0.9."
    ).replace("_", "\\_")


def _posterior(saved: SavedModel) -> dict[str, Any]:
    calibrator: Any = saved.calibrator
    if not hasattr(calibrator, "posterior_"):
        return {"diagnosis": None, "exaggeration": None}
    from calib.diagnostics import diagnose
    from calib.exaggeration import exaggeration

    found = diagnose(calibrator.posterior_, with_loo=False)
    factors = exaggeration(calibrator.posterior_, calibrator.groups_, attributes_only=True)
    return {
        "diagnosis": {
            "trusted": found.trusted, "verdict": found.verdict, "problems": found.problems,
        },
        "exaggeration": [str(one) for one in factors],
    }  # fmt: skip


def _held_out(saved: SavedModel, folder: Path) -> list[dict[str, Any]]:
    """The model's calibrator and the yardsticks, of an evaluation of its data and sources."""
    path = folder / "results.json"
    remedy = "name what calib evaluate wrote of the table, sources and calibrator of this model"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        rows, data_hash = list(results["rows"]), str(results["data_hash"])
        here = [row for row in rows if row["sources"] == sources_label(saved.settings)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = Fault("an evaluation has a readable results.json",
                      " ".join(str(error).split())[:200], remedy)  # fmt: skip
        raise DataError(fault, file=path) from None
    if data_hash != saved.data_hash:
        fault = Fault("held-out figures on a card are of the data that the model learnt from",
                      "an evaluation of other data", remedy)  # fmt: skip
        raise DataError(fault, file=path)
    name = saved.calibrator.name
    if name not in {row["calibrator"] for row in here}:
        fault = Fault("held-out figures on a card are of the model's calibrator and sources",
                      f"none of {name} on {sources_label(saved.settings)}", remedy)  # fmt: skip
        raise DataError(fault, file=path)
    return [row for row in here if row["calibrator"] in (name, "identity", "uniform", "train-mean")]
