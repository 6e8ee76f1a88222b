"""What each code of a variable stands for: a label, and an answer or a kind of none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from calib.errors import Fault
from calib.importers.finder import number_of
from calib.microdata.coding import Coding
from calib.microdata.encode import Encoded
from calib.microdata.faults import listed
from calib.microdata.kinds import Patterns, kind_of
from calib.microdata.read import Column, Source, Value

NOT_A_NUMBER: Final = ("NA", "NaN", "nan", "NULL", "null", ".")
"""How programs write an empty cell of a column of numbers in a text file."""


@dataclass(frozen=True)
class Meaning:
    """What one code stands for."""

    written: tuple[Value, ...]
    """The codes as they stand in the file; several where a text file writes 1 and 1.0."""
    code: Value
    label: str
    kind: str
    """``substantive``, ``dont_know``, ``refused``, ``other`` or ``missing``."""
    recoded: bool = False
    from_code: bool = False
    """Whether the label is the code itself, for want of another."""


@dataclass(frozen=True)
class Meanings:
    """What the codes of a variable stand for, with the faults and what was assumed."""

    column: Column
    all: tuple[Meaning, ...]
    faults: tuple[Fault, ...]
    numeric: bool
    unlabelled: bool
    """Whether no answer has a label in a file whose format has labels."""

    @property
    def answers(self) -> tuple[Meaning, ...]:
        """The substantive ones."""
        return tuple(one for one in self.all if one.kind == "substantive")


def meanings(
    source: Source, encoded: Encoded, name: str, coding: Coding, patterns: Patterns
) -> Meanings:
    """What the codes of a variable stand for, by the coding, the file and the patterns.

    The coding goes first, by code or by label; then the file's labels and declarations of
    missing codes; then patterns of labels. A code that the file declares missing and whose
    label says that somebody refused or does not know stays apart as that. A code that the
    coding or the file labels as an answer is one, whether or not somebody gave it.
    """
    column, variable = source.columns[name], coding.of(name)
    found = encoded.dictionaries[name] or ()
    observed, numeric = _codes(found, coding)
    own = variable.labels if numeric else {}
    coded: dict[Value, list[Value]] = {code: [] for code in [*column.labels, *own]}
    for value, code in zip(found, observed, strict=True):
        coded.setdefault(code, []).append(value)
    declared = {**dict.fromkeys(coding.missing, "missing"), **variable.kinds}
    given = variable.labels.keys() | variable.recode.keys() | declared.keys()
    result, bare = [], []
    for code, values in coded.items():
        label = variable.labels.get(code) or column.labels.get(code)
        named = label is not None or isinstance(code, str) or code in given
        label = label or _text(code)
        new = variable.recode.get(code, variable.recode.get(label))
        kind = declared.get(code, declared.get(label))
        if kind is None and numeric and code in NOT_A_NUMBER:
            kind = "missing"
        if kind is None:
            kind = _kind(code, new or label, patterns) if named else "substantive"
            if kind == "substantive" and column.is_missing(code) and new is None:
                kind = "missing"
        # The coding may name codes of no answer that files of other formats write otherwise.
        if kind != "substantive" and not values and code not in column.labels:
            continue
        one = Meaning(tuple(values), code, new or label, kind, new is not None, not named)
        result.append(one)
        if not named and kind == "substantive" and values:
            bare.append(one)
    labelled = [one for one in result if one.kind == "substantive" and not one.from_code]
    by_codes = (variable.unlabelled or coding.unlabelled) == "codes"
    faults: list[Fault] = []
    if bare and labelled and not by_codes:
        faults += _unlabelled(encoded, name, bare)
    faults += _told_twice(name, [one for one in result if one.kind != "missing"])
    unlabelled = source.labelled and bool(bare) and not labelled and not by_codes
    return Meanings(column, tuple(result), tuple(faults), numeric, unlabelled)


def rows_with(encoded: Encoded, name: str, values: Sequence[Value]) -> tuple[int, ...]:
    """The rows that hold one of some values."""
    places = [place for place, one in enumerate(encoded.dictionaries[name] or ()) if one in values]
    rows: list[int] = np.flatnonzero(np.isin(encoded.codes(name), places)).tolist()
    return tuple(rows)


def _codes(values: Sequence[Value], coding: Coding) -> tuple[list[Value], bool]:
    """The values as codes; texts become numbers where all of them are."""
    besides = {*NOT_A_NUMBER, *coding.missing}
    texts = [one for one in values if isinstance(one, str)]
    # Stata's missing values stand beside numbers.
    if any(isinstance(one, float) for one in values) or not texts:
        return list(values), bool(values)
    numbers = {one: number_of(one) for one in texts if one not in besides}
    if not numbers or any(number is None for number in numbers.values()):
        return list(values), False
    codes: list[Value] = []
    for one in texts:
        number = numbers.get(one)
        codes.append(one if number is None else number)
    return codes, True


def _kind(code: Value, label: str, patterns: Patterns) -> str:
    # A text of two letters may be a country: DK, and not "don't know".
    short = code == label and len(label) <= 2
    return "substantive" if short else kind_of(label, patterns)


def _text(code: Value) -> str:
    return code if isinstance(code, str) else f"{code:.12g}"


def _unlabelled(encoded: Encoded, name: str, bare: Sequence[Meaning]) -> Iterator[Fault]:
    rows = rows_with(encoded, name, [value for one in bare for value in one.written])
    yield Fault(
        "every code that occurs has a label, where some have",
        f"{listed(one.label for one in bare)} without a label",
        f"say in the coding what they are: [variables.{name}] labels, missing, or "
        'unlabelled = "codes" where a code is its own label',
        name,
        rows,
    )


def _told_twice(name: str, kept: Sequence[Meaning]) -> Iterator[Fault]:
    seen: dict[str, Meaning] = {}
    for one in kept:
        other = seen.setdefault(one.label, one)
        if other is not one and not (one.recoded or other.recoded):
            yield Fault(
                "two codes of a variable have different labels",
                f"{one.label!r} for {_text(other.code)} and {_text(one.code)}",
                f"tell them apart with [variables.{name}] labels, or join them with recode",
                name,
            )
