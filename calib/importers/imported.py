"""What every importer shares: its result, reading JSON, and how a fault is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from calib.errors import DataError, Fault
from calib.table import COLUMNS, check_table


class Imported(NamedTuple):
    """A paired table and all that was repaired, left out or guessed on the way to it."""

    table: pd.DataFrame
    """Exactly ``calib.table.COLUMNS``, checked."""
    counts: dict[str, int]
    """How often, by name; zero or absent where it never happened."""


def checked(rows: list[tuple[object, ...]], counts: Mapping[str, int], source: Path) -> Imported:
    """Rows in the order of ``COLUMNS`` as a checked table; ``DataError`` with all faults."""
    try:
        table = check_table(pd.DataFrame(rows, columns=list(COLUMNS)))
    except DataError as error:
        raise error.in_file(source) from None
    return Imported(table, dict(counts))


def broken(rule: str, value: object, remedy: str, file: Path | None = None) -> DataError:
    """One fault, ready to be raised."""
    return DataError(Fault(rule, str(value), remedy), file=file)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; ``DataError`` where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise broken(
            "the file must be readable JSON",
            " ".join(str(error).split())[:200],
            "the file is missing, truncated or of another format: fetch it again",
            path,
        ) from None
    if not isinstance(content, dict):
        raise broken(
            "the file must hold one JSON object",
            f"a {type(content).__name__}",
            "name a file of the published layout",
            path,
        )
    return content


def entry(content: Mapping[str, Any], name: str, kind: type, *, where: str) -> Any:
    """A required entry of the given type; ``DataError`` that says where it is missing."""
    found = content.get(name)
    if not isinstance(found, kind):
        raise broken(
            f"{where} must have {name!r}, a {kind.__name__}",
            "none" if name not in content else f"a {type(found).__name__}",
            "the file is not of the published layout: fetch it again",
        )
    return found


def numbers(content: Mapping[str, Any], *, where: str) -> dict[str, float]:
    """A mapping from text to finite non-negative numbers; ``DataError`` otherwise."""
    for name, number in content.items():
        usable = isinstance(number, int | float) and not isinstance(number, bool)
        if not usable or not 0 <= number < float("inf"):
            raise broken(
                f"{where} must hold numbers from 0 up",
                f"{number!r} for {name!r}",
                "correct the number or remove the question from the file",
            )
    return {name: float(number) for name, number in content.items()}
