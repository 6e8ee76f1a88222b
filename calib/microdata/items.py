"""A variable as a question: its options in order, their values and kinds, its scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from jaxtyping import Int

from calib.errors import Fault
from calib.microdata.coding import Variable
from calib.microdata.encode import MAX_VALUES
from calib.microdata.faults import listed
from calib.microdata.meanings import Meaning, Meanings
from calib.microdata.read import Value
from calib.survey import Option, OptionKind, Question, Scale

MOST_OPTIONS: Final = 20
"""A variable without labels that has more different answers is not taken for a question."""


@dataclass(frozen=True, eq=False)
class Item:
    """A question and how its options are coded."""

    question: Question
    option_of_code: Int[np.ndarray, " code"]
    """Option index by place in ``Encoded.dictionaries``, −1 where the code is no answer at all."""
    assumed: tuple[str, ...]
    """What neither the file nor the user said, by name."""
    unseen: int
    """Options that are no answer and that nobody chose; they are left out."""


def why_no_item(values: Sequence[Value] | None, found: Meanings, variable: Variable) -> str | None:
    """Why a variable cannot be a question; None if it can."""
    if values is None:
        return f"more than {MAX_VALUES} different values"
    if found.unlabelled:
        return "no value labels"
    numbers = [one.code for one in found.answers if isinstance(one.code, float)]
    if not variable.labels and any(not one.is_integer() for one in numbers):
        return "numbers with decimals and no labels"
    if len(found.answers) > MOST_OPTIONS and not found.column.labels and not variable.labels:
        return f"more than {MOST_OPTIONS} different answers"
    if len({one.label for one in found.answers}) < 2:
        return "fewer than two answers"
    return None


def settle_item(
    name: str, survey: str, found: Meanings, values: Sequence[Value], variable: Variable
) -> Item:
    """A variable that can be a question, as one."""
    by_label: defaultdict[str, list[Meaning]] = defaultdict(list)
    for one in found.all:
        if one.kind != "missing":
            by_label[one.label].append(one)
    answers = [label for label, those in by_label.items() if those[0].kind == "substantive"]
    assumed = [
        *(["wording is the variable's name"] if not _wording(found, variable) else []),
        *(["labels are the codes"] if any(one.from_code for one in found.answers) else []),
    ]
    answers, by_order = _ordered(answers, by_label, found, variable)
    values_of = _values(answers, by_label, by_order)
    scale = variable.scale
    if scale is None:
        scale = _scale(len(answers), values_of is not None)
        assumed.append(f"scale {scale}")
    rest = [label for label in by_label if label not in answers]
    chosen = [label for label in rest if any(one.written for one in by_label[label])]
    chosen.sort(key=lambda label: ("dont_know", "refused", "other").index(by_label[label][0].kind))
    options = tuple(
        Option(
            index,
            label,
            values_of[label] if values_of and scale != "nominal" and label in values_of else None,
            cast("OptionKind", by_label[label][0].kind),
        )
        for index, label in enumerate([*answers, *chosen])
    )
    index_of = {option.label: option.index for option in options}
    of_value = {
        value: index_of.get(one.label, -1)
        for one in found.all
        for value in one.written
        if one.kind != "missing"
    }
    text = _wording(found, variable) or name
    return Item(
        Question(survey, name, text, cast("Scale", scale), options),
        np.array([of_value.get(value, -1) for value in values], dtype=np.intp),
        tuple(assumed),
        len(rest) - len(chosen),
    )


def faults_of_item(name: str, found: Meanings, variable: Variable) -> list[Fault]:
    """What is wrong with a variable that is to be a question."""
    faults = list(found.faults)
    answers = {one.label for one in found.answers}
    codes = {one.code: one.label for one in found.answers}
    order = [_label(one, codes, answers) for one in variable.order]
    where = f"variables.{name}"
    if order and (set(order) != answers or len(order) != len(answers)):
        faults.append(
            Fault(
                "order names every answer once",
                f"{listed(variable.order)} for {listed(sorted(answers))}",
                "give the labels (or codes) of all answers, those of no answer left out",
                where,
            )
        )
    if variable.scale == "binary" and len(answers) != 2:
        faults.append(
            Fault(
                "a binary question has two answers",
                f"{len(answers)}: {listed(sorted(answers))}",
                "call the scale ordinal or nominal, or recode the answers",
                where,
            )
        )
    if variable.scale == "ordinal" and not (found.numeric or order or found.column.ordered):
        faults.append(
            Fault(
                "the answers of an ordinal question have an order",
                f"texts: {listed(sorted(answers))}",
                "give order, the labels from one end of the scale to the other",
                where,
            )
        )
    return faults


def _wording(found: Meanings, variable: Variable) -> str | None:
    return variable.question or found.column.label


def _label(given: str, codes: Mapping[Value, str], answers: set[str]) -> str:
    if given in answers:
        return given
    try:
        return codes.get(float(given), given)
    except ValueError:
        return given


def _ordered(
    answers: Sequence[str],
    by_label: Mapping[str, Sequence[Meaning]],
    found: Meanings,
    variable: Variable,
) -> tuple[list[str], bool]:
    """Answers in their order, and whether the user or the file gave that order."""
    codes = {one.code: one.label for one in found.answers}
    order = [_label(one, codes, set(answers)) for one in variable.order]
    if order:
        return order, True
    if found.column.ordered:
        place = {one: at for at, one in enumerate(found.column.ordered)}
        return sorted(answers, key=lambda label: place.get(label, len(place))), True
    if found.numeric:
        return sorted(answers, key=lambda label: _code(by_label[label])), False
    return sorted(answers), False


def _code(those: Sequence[Meaning]) -> float:
    return min(one.code for one in those if isinstance(one.code, float))


def _values(
    answers: Sequence[str], by_label: Mapping[str, Sequence[Meaning]], by_order: bool
) -> dict[str, float] | None:
    """The codes; 1, 2, … where codes were joined or do not follow the order; None of texts."""
    single = [by_label[label][0].code for label in answers if len(by_label[label]) == 1]
    codes = [one for one in single if isinstance(one, float)]
    if len(codes) == len(answers) and sorted(codes) in (codes, codes[::-1]):
        return dict(zip(answers, codes, strict=True))
    numeric = all(isinstance(one.code, float) for label in answers for one in by_label[label])
    if by_order or numeric:
        return {label: float(place) for place, label in enumerate(answers, start=1)}
    return None


def _scale(n_answers: int, ordered: bool) -> str:
    if n_answers == 2:
        return "binary"
    return "ordinal" if ordered else "nominal"
