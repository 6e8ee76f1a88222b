"""What importers of human answers alone share: rows, checks, and literals in cells."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.importers.imported import Imported
from calib.survey import Group, Question
from calib.table import COLUMNS, check_table

SETTING: Final = {
    "model": "people", "elicitation": "verbalized", "prompt": "none", "outcome": "failed",
    "p_llm": np.nan,
}  # fmt: skip
"""What makes a human table a paired one, so that the same rules hold for it."""
HUMAN_COLUMNS: Final = tuple(name for name in COLUMNS if name not in SETTING)
"""Of a table with human answers alone."""
LEAST: Final = 0.9
MOST: Final = 1.1
"""Sums of shares from ``LEAST`` to ``MOST`` are rounded and are divided out, with a count."""


def check_human(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of human answers, checked by the rules of the paired table.

    Returns
    -------
    Exactly ``HUMAN_COLUMNS``.

    Raises
    ------
    DataError
        With all its faults.
    """
    return check_table(frame.assign(**SETTING))[list(HUMAN_COLUMNS)]


def checked_human(rows: list[tuple[object, ...]], counts: Counter[str], source: Path) -> Imported:
    """Rows in the order of ``HUMAN_COLUMNS`` as a checked table; ``DataError`` with all faults."""
    if not rows:
        found = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        fault = Fault(
            "a source has at least one cell that can be used",
            found or "no row",
            "check that the file is of the published layout",
        )
        raise DataError(fault, file=source)
    try:
        table = check_human(pd.DataFrame(rows, columns=list(HUMAN_COLUMNS)))
    except DataError as error:
        raise error.in_file(source) from None
    return Imported(table, dict(counts))


def cell_rows(
    question: Question, group: Group, shares: Sequence[float], n: float | None
) -> Iterator[tuple[object, ...]]:
    """The rows of one group's answers, a share for each option of the question."""
    for option, share in zip(question.options, shares, strict=True):
        yield (
            *question.key, question.text, question.scale, option.index, option.label,
            option.value, option.kind, *group, n, share,
        )  # fmt: skip


def closed_shares(shares: Sequence[float], counts: Counter[str]) -> list[float] | None:
    """Shares or percentages that sum to one; None, with a count, where they are neither.

    >>> closed_shares([70.0, 30.0], Counter())
    [0.7, 0.3]
    """
    total = sum(shares)
    unit = 1.0 if LEAST <= total <= MOST else 100.0
    if not shares or min(shares) < 0 or not LEAST <= total / unit <= MOST:
        counts["cells_left_out_whose_shares_do_not_sum_to_one"] += 1
        return None
    counts["cells_in_per_cent"] += unit == 100.0
    counts["cells_renormalised"] += abs(total / unit - 1) > 1e-9
    return [share / total for share in shares]


def literal(text: object, kind: type, row: int, column: str) -> Any:
    """A Python literal in a cell; ``DataError`` where it is none of the kind. No code is run."""
    found = text
    if isinstance(text, str):
        try:
            found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = None
    if not isinstance(found, kind):
        raise DataError(
            Fault(
                f"{column} holds a Python {kind.__name__} literal",
                repr(text)[:200],
                "fetch the file again, or correct the row",
                column,
                (row,),
            )
        )
    return found


def numbers_of(values: Mapping[Any, Any] | Sequence[Any], row: int, column: str) -> list[float]:
    """Finite numbers as floats; ``DataError`` where there is another value."""
    found = list(values.values() if isinstance(values, Mapping) else values)
    bad = [
        one
        for one in found
        if isinstance(one, bool) or not isinstance(one, int | float) or not np.isfinite(one)
    ]
    if bad:
        raise DataError(
            Fault(
                f"{column} holds numbers",
                repr(bad[0])[:100],
                "fetch the file again, or correct the row",
                column,
                (row,),
            )
        )
    return [float(one) for one in found]
