"""The rules of a questionnaire document: every breach is found, each with its place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, Final

from calib.errors import Fault
from calib.opinions import SUM_TOLERANCE
from calib.survey import OPTION_KINDS, SCALES, Group, Option, Question
from elicit.prompt import POPULATION, Example, one_line

TOP_FIELDS: Final = (
    "survey", "question", "questions", "attributes", "groups", "example", "model", "ask",
)  # fmt: skip
QUESTION_FIELDS: Final = ("id", "text", "scale", "options")
OPTION_FIELDS: Final = ("label", "value", "kind", "index")
ATTRIBUTE_FIELDS: Final = ("wording", "groups")
EXAMPLE_FIELDS: Final = ("question_id", "text", "options", "attribute", "group", "shares")


@dataclass
class Checked:
    """What a document holds, as far as it is right, and all its faults."""

    survey: str = ""
    questions: list[Question] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    wordings: dict[str, str] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def check_document(document: Mapping[str, Any]) -> Checked:
    """Questions, groups and examples of a document whose CSV files have been put in."""
    checked = Checked()
    found = _Faults(checked.faults)
    found.unknown(document, TOP_FIELDS, "the questionnaire")
    for name in ("questions", "groups"):
        if name in document:
            found.add(f"{name} is the name of a CSV file", document[name], "name one", "", name)
    checked.survey = found.text(document, "survey", "the questionnaire")
    for number, table in enumerate(found.tables(document, "question"), start=1):
        question = _question(found, table, number, checked.survey)
        if question is not None:
            checked.questions.append(question)
    found.repeated([question.id for question in checked.questions], "question ids", "")
    _attributes(found, document.get("attributes", {}), checked)
    if "example" in document:
        for number, table in enumerate(found.tables(document, "example"), start=1):
            example = _example(found, table, number, checked)
            if example is not None:
                checked.examples.append(example)
    return checked


class _Faults:
    """Collects faults; what it returns for a field that is wrong is empty."""

    def __init__(self, faults: list[Fault]) -> None:
        self.list = faults

    def add(self, rule: str, value: object, remedy: str, place: str, name: str = "") -> None:
        where = f" in {place}" if place else ""
        shown = value if isinstance(value, str) and not name else repr(value)[:200]
        self.list.append(Fault(rule, f"{shown}{where}", remedy, name or None))

    def unknown(self, table: Mapping[str, Any], known: Sequence[str], place: str) -> None:
        names = [str(name) for name in table if name not in known]
        if names:
            rule = f"the fields of {place} are {', '.join(known)}"
            self.add(rule, ", ".join(names), "correct the spelling or remove them", "")

    def text(self, table: Mapping[str, Any], name: str, place: str) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not value.strip():
            shown = "none" if value is None else repr(value)[:200]
            self.add(f"{name} is a text", shown, "write it in quotes", place)
            return ""
        return value.strip()

    def tables(self, document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        value = document.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(t, dict) for t in value):
            shown = "none" if value is None else repr(value)[:200]
            self.add(f"there is at least one [[{name}]]", shown, f"add one [[{name}]] or more", "")
            return []
        return value

    def repeated(self, names: Sequence[str], what: str, place: str) -> None:
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            self.add(f"{what} differ", f"{', '.join(map(repr, twice))} more than once",
                     "rename or remove all but one", place)  # fmt: skip


def _question(found: _Faults, table: dict[str, Any], number: int, survey: str) -> Question | None:
    before = len(found.list)
    place = f"question {number}"
    found.unknown(table, QUESTION_FIELDS, f"a question (here {place})")
    name = found.text(table, "id", place)
    place = f"{place} ({name})" if name else place
    text = found.text(table, "text", place)
    scale = table.get("scale")
    if scale not in SCALES:
        shown = "none" if scale is None else repr(scale)[:200]
        found.add(f"scale is one of {', '.join(SCALES)}", shown, "use one of these words", place)
    options = _options(found, table.get("options"), scale, place)
    if len(found.list) > before:
        return None
    return Question(survey, name, text, scale, options)  # type: ignore[arg-type] # checked


def _options(found: _Faults, value: object, scale: object, place: str) -> tuple[Option, ...]:
    before = len(found.list)
    if not isinstance(value, list):
        shown = "none" if value is None else repr(value)[:200]
        found.add("options is a list of labels or tables", shown, "write a list", place)
        return ()
    tables = [
        _option_table(found, one, f"option {number} of {place}")
        for number, one in enumerate(value, start=1)
    ]
    if len(found.list) > before:
        return ()
    found.repeated([one_line(table["label"]).lower() for table in tables], "labels", place)
    if len(tables) > len(ascii_uppercase):
        found.add(
            f"a question has at most {len(ascii_uppercase)} options, one for each letter",
            str(len(tables)), "merge options", place,
        )  # fmt: skip
    indices = [table["index"] for table in tables if "index" in table]
    rising = indices == sorted(set(indices)) and all(index >= 0 for index in indices)
    if indices and (len(indices) < len(tables) or not rising):
        found.add(
            "indices are whole numbers from 0 that rise, for all options or none",
            ", ".join(map(str, indices)), "number the options or leave index out", place,
        )  # fmt: skip
    answers = [table for table in tables if table["kind"] == "substantive"]
    if len(answers) < 2 or (scale == "binary" and len(answers) > 2):
        wanted = "two" if scale == "binary" else "at least two"
        found.add(
            f"a question has {wanted} substantive options", str(len(answers)),
            "add options or correct their kind or the scale", place,
        )  # fmt: skip
    values = [table["value"] for table in answers if "value" in table]
    if values and scale != "nominal" and (len(values) < len(answers) or len(set(values)) < 2):
        found.add(
            "all substantive options of a scale have values, not all the same, or none has",
            f"{len(values)} values of {len(answers)} options", "complete or remove them", place,
        )  # fmt: skip
    if not values and scale != "nominal":
        for code, table in enumerate(answers):
            table["value"] = code
    return tuple(
        Option(
            index=table.get("index", place),
            label=table["label"],
            value=float(table["value"]) if "value" in table else None,
            kind=table["kind"],
        )
        for place, table in enumerate(tables)
    )


def _option_table(found: _Faults, value: object, place: str) -> dict[str, Any]:
    """The option's fields; a label that is wrong is empty."""
    table = dict(value) if isinstance(value, dict) else {"label": value}
    found.unknown(table, OPTION_FIELDS, f"an option (here {place})")
    table["label"] = found.text(table, "label", place)
    table.setdefault("kind", "substantive")
    if table["kind"] not in OPTION_KINDS:
        found.add(f"kind is one of {', '.join(OPTION_KINDS)}", repr(table["kind"])[:200],
                  "use one of these words", place)  # fmt: skip
    if "value" in table and not _finite(table["value"]):
        found.add("value is a finite number", repr(table["value"])[:200], "correct or remove it",
                  place)  # fmt: skip
    index = table.get("index", 0)
    if not isinstance(index, int) or isinstance(index, bool):
        found.add("index is a whole number", repr(index)[:200], "correct or remove it", place)
    return table


def _attributes(found: _Faults, value: object, checked: Checked) -> None:
    if not isinstance(value, dict):
        found.add("attributes is a table of tables", repr(value)[:200],
                  "write [attributes.NAME] with groups", "")  # fmt: skip
        return
    for attribute, table in value.items():
        place = f"attribute {attribute}"
        if not isinstance(table, dict) or not isinstance(attribute, str):
            found.add("an attribute is a table under a name", repr(table)[:200],
                      "write [attributes.NAME] with groups", place)  # fmt: skip
            continue
        found.unknown(table, ATTRIBUTE_FIELDS, f"an attribute (here {attribute})")
        groups = table.get("groups")
        listed = isinstance(groups, list) and bool(groups)
        if not listed or not all(isinstance(name, str) and name.strip() for name in groups or ()):
            found.add("groups is a list of texts", repr(groups)[:200],
                      'write groups = ["…", "…"]', place)  # fmt: skip
        else:
            names = [name.strip() for name in groups or ()]
            found.repeated(names, "groups of an attribute", place)
            checked.groups += [Group(attribute, name) for name in names]
        if "wording" in table:
            checked.wordings[attribute] = found.text(table, "wording", place)


def _example(
    found: _Faults, table: dict[str, Any], number: int, checked: Checked
) -> Example | None:
    before = len(found.list)
    place = f"example {number}"
    found.unknown(table, EXAMPLE_FIELDS, f"an example (here {place})")
    question = _example_question(found, table, place, checked)
    if ("attribute" in table) != ("group" in table):
        found.add("an example has an attribute and a group, or neither", "one of them",
                  "add the other; neither means the whole population", place)  # fmt: skip
    group = POPULATION
    if "attribute" in table and "group" in table:
        group = Group(found.text(table, "attribute", place), found.text(table, "group", place))
    if group not in (checked.groups or [POPULATION]):
        found.add("an example is of a group that is asked", str(group),
                  "correct it or remove the example", place)  # fmt: skip
    shares = _shares(found, table.get("shares"), question, place)
    if question is None or len(found.list) > before:
        return None
    return Example(question, group, shares)


def _example_question(
    found: _Faults, table: dict[str, Any], place: str, checked: Checked
) -> Question | None:
    if "question_id" in table:
        if "text" in table or "options" in table:
            found.add("an example has a question_id, or a text and options", "both",
                      "remove one of them", place)  # fmt: skip
        for question in checked.questions:
            if question.id == table["question_id"]:
                return question
        found.add("question_id is the id of a question here", repr(table["question_id"])[:200],
                  "correct it, or give text and options", place)  # fmt: skip
        return None
    text = found.text(table, "text", place)
    options = _options(found, table.get("options"), "nominal", place)
    return Question("", "", text, "nominal", options) if text and options else None


def _shares(
    found: _Faults, value: object, question: Question | None, place: str
) -> tuple[float, ...]:
    """Shares by option, from a list or a table by label; 0.35 is 35 per cent."""
    remedy = "give each option a share; all together are 1"
    numbers = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(numbers, list) or not all(_finite(n) and n >= 0 for n in numbers):
        found.add("shares are numbers from 0, in a list or a table by label", repr(value)[:200],
                  remedy, place)  # fmt: skip
        return ()
    if abs(math.fsum(numbers) - 1) > SUM_TOLERANCE:
        found.add("the shares of an example sum to one", f"{math.fsum(numbers):.6g}", remedy, place)
    if question is None:
        return ()
    labels = [option.label for option in question.options]
    if isinstance(value, dict) and set(value) == set(labels):
        return tuple(float(value[label]) for label in labels)
    if isinstance(value, list) and len(value) == len(labels):
        return tuple(map(float, value))
    found.add("an example has one share for each option", repr(value)[:200], remedy, place)
    return ()


def _finite(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type] # a number by now
