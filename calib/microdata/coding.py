"""What the user says of a survey's variables, as a small TOML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault
from calib.importers.finder import number_of
from calib.microdata.layers import KINDS, expand, read_layers
from calib.microdata.read import Value
from calib.survey import SCALES

NO_ANSWER: Final = KINDS[1:]
"""What a code may stand for instead of an answer."""


@dataclass(frozen=True)
class Variable:
    """One variable, as an item, as a group variable or both."""

    question: str | None = None
    scale: str | None = None
    order: tuple[str, ...] = ()
    """Labels of the substantive options, or their codes, in the order of the scale."""
    labels: Mapping[Value, str] = field(default_factory=dict)
    recode: Mapping[Value, str] = field(default_factory=dict)
    """New label by code; codes of one label become one option."""
    kinds: Mapping[Value, str] = field(default_factory=dict)
    """One of ``NO_ANSWER`` or ``substantive``, by code or label."""
    cut: tuple[float, ...] = ()
    """Lower ends of intervals; the last one is open above."""
    names: tuple[str, ...] = ()
    """Of the intervals."""
    attribute: str | None = None
    weight: str | None = None
    unlabelled: str | None = None
    """``codes``: a code without a label is its own label."""


@dataclass(frozen=True)
class Coding:
    """All that a coding file says."""

    survey: str | None = None
    items: tuple[str, ...] | None = None
    """The variables that are questions, unless a caller names others; all others if None."""
    groups: tuple[str, ...] = ()
    """The variables that divide respondents, unless a caller names others."""
    weight: str | None = None
    """The column of weights, unless a caller names another."""
    optional: frozenset[str] = frozenset()
    """Variables named above or below that a file may lack."""
    missing: tuple[Value, ...] = ()
    """Codes or labels that are no answer in any variable."""
    unlabelled: str | None = None
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further labels, as whole regular expressions, by one of ``NO_ANSWER``."""
    weight_by: str | None = None
    weight_of: Mapping[Value, str] = field(default_factory=dict)
    """Weight column by the value (wave) of ``weight_by``."""
    missing_weight: str | None = None
    """``leave_out``: respondents without a weight are left out, and counted."""
    single_psu: str | None = None
    """``certainty`` or ``centre``: what a stratum with one sampling unit adds to a variance."""
    variables: Mapping[str, Variable] = field(default_factory=dict)

    def of(self, name: str) -> Variable:
        """What is said of a variable; nothing, if it is not named."""
        return self.variables.get(name, Variable())


def read_coding(path: Path | None) -> Coding:
    """Read a coding file, with what it is based on; an empty one if None.

    Parameters
    ----------
    path
        A file, or the name of a shipped coding (``wvs7``) where there is no such file.

    Raises
    ------
    DataError
        With all faults: no TOML, unknown or ill-typed entries.
    """
    if path is None:
        return Coding()
    found = read_layers(path)
    faults: list[Fault] = []
    coding = _coding(_Entries(found.content, "", faults), found.optional)
    if faults:
        raise DataError(faults, file=path)
    return coding


class _Entries:
    """A table of a TOML file, whose entries are taken one by one; what is left is a fault."""

    def __init__(self, content: Mapping[str, Any], where: str, faults: list[Fault]) -> None:
        self.left = dict(content)
        self.where = where
        self.faults = faults

    def fail(self, rule: str, value: object, remedy: str = "correct the entry") -> None:
        self.faults.append(Fault(rule, repr(value)[:200], remedy, self.where or None))

    def text(self, name: str, *among: str) -> str | None:
        value = self.left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or (among and value not in among):
            self.fail(f"{name} is {' or '.join(among) or 'a text'}", value)
            return None
        return value

    def table(self, name: str) -> Mapping[str, Any]:
        value = self.left.pop(name, {})
        if isinstance(value, Mapping):
            return value
        self.fail(f"{name} is a table", value)
        return {}

    def array(self, name: str) -> tuple[Any, ...]:
        value = self.left.pop(name, [])
        one = [value] if isinstance(value, str | int | float) else value
        if isinstance(one, list) and all(isinstance(each, str | int | float) for each in one):
            return tuple(one)
        self.fail(f"{name} is a list of texts or numbers", value)
        return ()

    def texts_by_code(self, name: str) -> dict[Value, str]:
        found = self.table(name)
        for key, value in found.items():
            if not isinstance(value, str | int | float):
                self.fail(f"{name} gives a text by code", {key: value})
        return {as_code(key): str(value) for key, value in found.items()}

    def done(self) -> None:
        for name in self.left:
            self.fail("an entry of a coding is one that is known", name, "see docs/survey.md")


def as_code(value: object) -> Value:
    """A key or entry of TOML as a code: ``"1"`` and 1 are the number 1."""
    number = number_of(str(value).strip())
    return str(value).strip() if number is None else number


def _coding(entries: _Entries, optional: frozenset[str]) -> Coding:
    def inside(name: str) -> _Entries:
        return _Entries(entries.table(name), name, entries.faults)

    weights, design, patterns = inside("weights"), inside("design"), inside("patterns")
    said = inside("variables")
    variables = {
        name: _variable(_Entries(said.table(name), f"variables.{name}", entries.faults))
        for name in list(said.left)
    }
    labels = {kind: tuple(map(str, patterns.array(kind))) for kind in NO_ANSWER}
    for one in sum(labels.values(), ()):
        try:
            re.compile(one)
        except re.error as error:
            patterns.fail(f"a pattern is a regular expression ({error})", one)
    items = expand(map(str, entries.array("items"))) if "items" in entries.left else None
    coding = Coding(
        survey=entries.text("survey"),
        items=items,
        groups=expand(map(str, entries.array("groups"))),
        weight=entries.text("weight") or None,
        optional=optional,
        missing=tuple(map(as_code, entries.array("missing"))),
        unlabelled=entries.text("unlabelled", "codes"),
        patterns=labels,
        weight_by=weights.text("by"),
        weight_of=weights.texts_by_code("use"),
        missing_weight=weights.text("missing", "leave_out"),
        single_psu=design.text("single_psu", "certainty", "centre"),
        variables=variables,
    )
    if (coding.weight_by is None) != (not coding.weight_of):
        weights.fail("weights has by, a variable, and use, a weight for each of its values", {})
    if coding.weight is not None and coding.weight_by is not None:
        entries.fail("the weight is said once", f"weight {coding.weight} and [weights] by")
    for each in (entries, weights, design, patterns):
        each.done()
    return coding


def _variable(entries: _Entries) -> Variable:
    kinds: dict[Value, str] = {}
    for kind in KINDS:
        kinds |= {as_code(code): kind for code in entries.array(kind)}
    cut = entries.array("cut")
    if not all(isinstance(one, int | float) for one in cut) or list(cut) != sorted(set(cut)):
        entries.fail("cut is a list of rising numbers", cut)
        cut = ()
    variable = Variable(
        question=entries.text("question"),
        scale=entries.text("scale", *SCALES),
        order=tuple(str(one) for one in entries.array("order")),
        labels=entries.texts_by_code("labels"),
        recode=entries.texts_by_code("recode"),
        kinds=kinds,
        cut=tuple(float(one) for one in cut),
        names=tuple(str(one) for one in entries.array("names")),
        attribute=entries.text("attribute"),
        weight=entries.text("weight"),
        unlabelled=entries.text("unlabelled", "codes"),
    )
    if variable.names and len(variable.names) != len(variable.cut):
        entries.fail("names has one name for each interval of cut", variable.names)
    entries.done()
    return variable
