"""Order, values and kinds of OpinionQA's options: as published, or guessed by a stated rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from calib.errors import DataError, Fault
from calib.importers.imported import broken
from calib.survey import Option, OptionKind, Scale

_DONT_KNOW: Final = re.compile(
    r"\W*(vol\W+)?(don['\u2019]?t know|do not know|dk)(\W+(refused|no answer))?\W*", re.IGNORECASE
)
_REFUSED: Final = re.compile(
    r"\W*(vol\W+)?(refused|refusal|no answer|declined to answer|web blank)\W*", re.IGNORECASE
)
_NO_PLACE: Final = re.compile(r"((i'?m|i am) )?not sure\b", re.IGNORECASE)
_MIDDLE: Final = re.compile(
    r"\bneither\b|\bno difference\b|\bboth\b.*\bequal|^(the )?same\b"
    r"|\b(doesn['\u2019]t|does not) make (much|a|any)\b.*\bdifference\b"
    r"|\babout (the same|the right|right|as|where|equal)|\b(stay|remain|keep|kept)\w* the same",
    re.IGNORECASE,
)


class Scaled(NamedTuple):
    """A question's options in the order of its scale, and where that order comes from."""

    scale: Scale
    options: tuple[Option, ...]
    origin: str
    """``published``, ``guessed_as_listed``, ``guessed_middle_moved``, ``guessed_nominal``."""


def kind_of(label: str) -> OptionKind:
    """Whether a label refuses or does not know; whole labels only, all others are answers.

    >>> kind_of("Refused"), kind_of("Don't know/Refused"), kind_of("Not sure")
    ('refused', 'dont_know', 'substantive')
    """
    if _DONT_KNOW.fullmatch(label):
        return "dont_know"
    return "refused" if _REFUSED.fullmatch(label) else "substantive"


def guess(labels: Sequence[str]) -> Scaled:
    """The scale of options of which only labels and listed order are known.

    Ordinal, in the listed order, with values 1, 2, …: whether a question is nominal cannot
    be known from labels. Two exceptions:

    - A middle answer listed last (*Neither …*, *No difference*, *About the same*,
      *About right*, *Stay the same*, *Both … equally*) moves to the middle, with the value
      halfway between its neighbours. That needs an even number of others.
    - *Not sure*, offered beside the answers, has no place on their line: the question is
      nominal, which is how OpinionQA's codes treat it too.

    >>> [(o.label, o.value) for o in guess(["More", "Less", "About the same", "Refused"]).options]
    [('More', 1.0), ('About the same', 1.5), ('Less', 2.0), ('Refused', None)]
    """
    answers = [label for label in labels if kind_of(label) == "substantive"]
    if any(_NO_PLACE.match(label) for label in answers):
        return _scaled(labels, None, "guessed_nominal")
    values = {label: float(place) for place, label in enumerate(answers, start=1)}
    middles = [label for label in answers if _MIDDLE.search(label)]
    if len(answers) % 2 and len(answers) > 1 and middles == answers[-1:]:
        values[answers[-1]] = len(answers) / 2
        return _scaled(labels, values, "guessed_middle_moved")
    return _scaled(labels, values, "guessed_as_listed")


def read_info(path: Path) -> dict[str, Scaled]:
    """The scales of an OpinionQA ``info.csv``, by question key.

    ``option_mapping`` (code to label) lists the options; ``option_ordinal`` gives the first
    of them their values, by which they are sorted: a middle answer listed last has 2.5.
    Nominal where the values are all the same or an answer (*Not sure*) has none.

    Raises
    ------
    DataError
        With all faults of the file.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise broken(
            "scales are read from an OpinionQA info.csv",
            " ".join(str(error).split())[:200],
            "fetch the file again, or name another one",
            path,
        ) from None
    missing = [name for name in ("key", "option_mapping", "option_ordinal") if name not in frame]
    if missing:
        raise broken(
            "an info.csv has the columns key, option_mapping and option_ordinal",
            f"no {', '.join(missing)}",
            "name OpinionQA's own info.csv",
            path,
        )
    scales: dict[str, Scaled] = {}
    faults: list[Fault] = []
    for row, line in enumerate(frame.to_dict("records")):
        try:
            scaled = _published(line["option_mapping"], line["option_ordinal"])
            if scales.setdefault(line["key"], scaled) != scaled:
                raise broken(
                    "a question has one scale", f"two for {line['key']}", "remove one of them"
                )
        except DataError as error:
            faults += [
                Fault(fault.rule, fault.value, fault.remedy, fault.column, (row,))
                for fault in error.faults
            ]
    if faults:
        raise DataError(faults, file=path)
    return scales


def _published(mapping: str, ordinal: str) -> Scaled:
    codes = _literal(mapping, "option_mapping", dict)
    places = _literal(ordinal, "option_ordinal", list)
    labels = list(codes.values())
    numeric = all(isinstance(place, int | float) for place in places)
    if not all(isinstance(label, str) for label in labels) or not numeric:
        raise _unfit("labels must be text and ordinals numbers", (mapping, ordinal))
    if len(places) > len(labels) or len(set(labels)) < len(labels):
        raise _unfit("there are as many distinct options as ordinals, or more", (mapping, ordinal))
    values = dict(zip(labels, map(float, places), strict=False))
    answers = [label for label in labels if kind_of(label) == "substantive"]
    placed = {values[label] for label in answers if label in values}
    if len(placed) < 2 or not all(label in values for label in answers):
        return _scaled(labels, None, "published")
    return _scaled(labels, values, "published")


def _scaled(labels: Sequence[str], values: dict[str, float] | None, origin: str) -> Scaled:
    kinds = {label: kind_of(label) for label in labels}
    answers = [label for label in labels if kinds[label] == "substantive"]
    if values is not None:
        answers.sort(key=lambda label: values[label])
    rest = [label for label in labels if kinds[label] != "substantive"]
    options = tuple(
        Option(
            index,
            label,
            values[label] if values is not None and kinds[label] == "substantive" else None,
            kinds[label],
        )
        for index, label in enumerate([*answers, *rest])
    )
    return Scaled("nominal" if values is None else "ordinal", options, origin)


def _literal(text: str, column: str, kind: type) -> Any:
    try:
        # The columns hold Python literals; literal_eval runs no code.
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise _unfit(f"{column} must be a Python {kind.__name__} literal", text, column)
    return found


def _unfit(rule: str, value: object, column: str | None = None) -> DataError:
    remedy = "name OpinionQA's own info.csv, or correct the row"
    return DataError(Fault(rule, repr(value)[:200], remedy, column))
