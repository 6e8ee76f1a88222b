"""Results of elicitation as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from elicit.doctor import Diagnosis

UNDEFINED: Final = "–"


def console() -> Console:
    """Standard output; wide enough for every column where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


def show_pairs(title: str, rows: Mapping[str, object]) -> None:
    """Names and values as a table."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(escape(name.replace("_", " ")), escape(_plain(value)))
    console().print(table)


def show_run(output: Path, document: Mapping[str, Any]) -> None:
    """A run's manifest: one row a setting, then what it took."""
    table = Table(title=escape(str(output)), title_justify="left")
    for name in ("setting", "cells", "answered", "letters' mass", "moves when reversed"):
        table.add_column(name)
    for one in document["settings"]:
        counts = one["counts"]
        table.add_row(
            escape(f"{one['model']}/{one['elicitation']}/{one['prompt']}"),
            str(counts["cells"]),
            str(counts.get("cells_answered", 0)),
            _share(one["captured_mass"]),
            _share(one["reversal_distance"]),
        )
    console().print(table)
    show_pairs("calls", document["calls"])


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """One row an elicitation, what it suffers from, and the verdict."""
    out = console()
    table = Table(title=escape(diagnosis.model), title_justify="left")
    titles = ("elicitation", "replies", "answered", "TV from truth", "by chance",
              "equal shares", "W1", "reversed", "by chance", "letters' mass")  # fmt: skip
    for title in titles:
        table.add_column(title)
    for check in diagnosis.checks:
        table.add_row(
            escape(check.elicitation + (" *" if check.in_survey else "")),
            str(check.n_replies),
            str(check.outcomes.get("answered", 0)),
            *(
                _share(value)
                for value in (
                    check.tv, check.tv_by_chance, check.tv_uniform, check.w1,
                    check.reversal_distance, check.reversal_by_chance, check.captured_mass,
                )
            ),
        )  # fmt: skip
    out.print(table)
    out.print("* asked by the survey", style="dim")
    can = ", ".join(f"{name} {_plain(value)}" for name, value in diagnosis.able.items())
    out.print(escape(f"the endpoint: {can}"))
    for name, reason in diagnosis.skipped.items():
        out.print(escape(f"{name} was not asked: {reason}"))
    for check in diagnosis.checks:
        for problem in check.problems:
            out.print(escape(f"{check.elicitation}: {problem}"))
    usable = ", ".join(diagnosis.usable) or "none"
    out.print(escape(f"may be used: {usable}"))
    out.print("the survey's elicitations may be used" if not diagnosis.problems else
              "the survey's elicitations should not be used as they are")  # fmt: skip


def _plain(value: object) -> str:
    match value:
        case None:
            return UNDEFINED
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case Mapping():
            return ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) or UNDEFINED
        case _:
            return str(value)


def _share(value: float | None) -> str:
    return UNDEFINED if value is None or math.isnan(value) else f"{value:.3f}"
