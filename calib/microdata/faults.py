"""Faults in the files of a survey, told as everywhere else, ready to be raised."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from calib.errors import DataError, Fault


def broken(rule: str, value: object, remedy: str, file: Path | None = None) -> DataError:
    """One fault of a file as a whole."""
    return DataError(Fault(rule, str(value)[:500], remedy), file=file)


def rows_of(bad: np.ndarray) -> tuple[int, ...]:
    """The numbers of the rows where a condition holds."""
    rows: list[int] = np.flatnonzero(bad).tolist()
    return tuple(rows)


def listed(names: Iterable[object], most: int = 12) -> str:
    """Names separated by commas, cut after ``most`` with the total.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, … (3 in all)'
    """
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:most])
    return shown if len(texts) <= most else f"{shown}, … ({len(texts)} in all)"
