"""What can go wrong, as one small hierarchy, and how it is said.

Every message carries three things: the rule that was broken, the value that broke it
and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CalibError(Exception):
    """Base of every error that this package raises on purpose; ends a command with 1."""

    exit_code = 1


class FitError(CalibError):
    """A calibrator could not be fitted or applied to otherwise valid data."""


class WriteError(CalibError):
    """An output could not be written: a full disk, a limit, a folder that was taken away."""

    def __init__(self, path: object, found: str) -> None:
        super().__init__(
            f"{path}: an output is written whole or not at all, and could not be; found "
            f"{' '.join(found.split())[:200]}; remedy: free some space or name another place; "
            "what was there before is as it was"
        )


class MissingExtraError(CalibError):
    """An optional dependency is not installed; the message names the extra that has it."""

    def __init__(self, purpose: str, *, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"remedy: pip install 'opinion-calibration[{extra}]'"
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule in a file."""

    rule: str
    """What must hold."""
    value: str
    """What was found instead."""
    remedy: str
    """What to do about it."""
    column: str | None = None
    rows: tuple[int, ...] = ()
    """0-based row numbers of the data (the header of a CSV file is not counted)."""

    def __str__(self) -> str:
        where = [f"column {self.column}"] if self.column else []
        if self.rows:
            where.append(f"{'row' if len(self.rows) == 1 else 'rows'} {abbreviate(self.rows)}")
        place = f"{', '.join(where)}: " if where else ""
        return f"{place}{self.rule}; found {self.value}; remedy: {self.remedy}"

    def as_dict(self) -> dict[str, object]:
        """The fault as plain values, for JSON; ``rows`` in full."""
        return {
            "column": self.column,
            "rows": list(self.rows),
            "rule": self.rule,
            "value": self.value,
            "remedy": self.remedy,
        }


class DataError(CalibError):
    """Input that breaks the rules of its format; ends a command with 5.

    All faults of one file are collected before this is raised.
    """

    exit_code = 5

    def __init__(self, faults: Fault | Sequence[Fault], *, file: object = None) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        self.file = None if file is None else str(file)
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.file}: " if self.file else ""
        if len(self.faults) == 1:
            return f"{place}{self.faults[0]}"
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        return f"{place}{len(self.faults)} faults{lines}"

    def in_file(self, file: object) -> DataError:
        """The same faults, with the file they stand in."""
        return DataError(self.faults, file=file)


def abbreviate(numbers: Iterable[int], *, most: int = 6) -> str:
    """Row numbers as runs, cut after ``most`` runs, with the total.

    >>> abbreviate([1, 2, 3, 7])
    '1-3, 7 (4 in all)'
    >>> abbreviate([5])
    '5'
    """
    ordered = sorted(set(numbers))
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in runs[:most])
    if len(ordered) == 1:
        return shown
    return f"{shown}{', …' if len(runs) > most else ''} ({len(ordered)} in all)"


def name_some(names: Sequence[object], most: int = 6) -> str:
    """Some names for a message, with the number of all.

    >>> name_some(["a", "b"]), name_some("abc", most=2)
    ('a, b', 'a, b, … (3 in all)')
    """
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
