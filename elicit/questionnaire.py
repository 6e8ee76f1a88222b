"""A questionnaire: what is asked of whom, read from TOML, YAML, JSON or CSV.

The three document formats hold one form, which ``questionnaire.schema.json`` describes; a
CSV file holds the questions alone. ``example_questionnaire`` shows the form.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault, MissingExtraError
from calib.survey import Group, Question
from elicit.prompt import POPULATION, Example
from elicit.questionnaire_csv import read_groups_csv, read_questions_csv
from elicit.questionnaire_rules import Checked, check_document

_DOCUMENTS: Final = (".toml", ".yaml", ".yml", ".json")
_EXAMPLE: Final = Path(__file__).with_name("example_questionnaire.toml")
_SCHEMA: Final = Path(__file__).with_name("questionnaire.schema.json")


@dataclass(frozen=True)
class Questionnaire:
    """Questions, and the groups that are to answer them."""

    survey: str
    questions: tuple[Question, ...]
    groups: tuple[Group, ...]
    """The whole population (``prompt.POPULATION``) where no attribute is named."""
    wordings: Mapping[str, str] = field(default_factory=dict)
    """The question that asks for an attribute, by attribute; those without are left out."""
    examples: tuple[Example, ...] = ()
    """Known human distributions, for few-shot prompts."""


def read_questionnaire(path: str | Path) -> Questionnaire:
    """Read a questionnaire from ``.toml``, ``.yaml``, ``.yml``, ``.json`` or ``.csv``.

    A document may name CSV files in place of its ``question`` and ``attributes``:
    ``questions = "questions.csv"`` (one row an option, with the columns ``question_id``,
    ``question``, ``scale`` and ``option`` and, where wanted, ``survey``, ``option_index``,
    ``option_value`` and ``option_kind``) and ``groups = "groups.csv"`` (one row a group:
    ``attribute``, ``group`` and, where wanted, ``wording``), both beside it. The tables
    ``model`` and ``ask`` are for others to read.

    Raises
    ------
    DataError
        With all faults of the file, each with its place.
    MissingExtraError
        For YAML without its package.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        rows = read_questions_csv(path)
        document: Mapping[str, Any] = {"survey": rows.survey, "question": rows.questions}
        faults = list(rows.faults)
    else:
        document, faults = _with_tables(read_document(path), path.parent)
    checked = check_document(document)
    if faults or checked.faults:
        raise DataError([*faults, *checked.faults], file=path)
    return _questionnaire(checked)


def read_document(path: str | Path) -> dict[str, Any]:
    """A TOML, YAML or JSON file as plain values; nothing but its syntax is checked.

    Raises
    ------
    DataError
        If the file cannot be read or is not of the format that its suffix says.
    MissingExtraError
        For YAML without its package.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _DOCUMENTS:
        raise DataError(
            Fault(
                f"a questionnaire's suffix is one of {', '.join(_DOCUMENTS)} or .csv",
                suffix or "none",
                "rename the file or write it as TOML",
            ),
            file=path,
        )
    try:
        text = path.read_text("utf-8-sig")
        document = _parse(text, suffix)
    except OSError as error:
        fault = Fault("a questionnaire is a file that can be read", str(error), "name another")
        raise DataError(fault, file=path) from None
    except (ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:300]
        fault = Fault(f"the file is {suffix[1:].upper()} in UTF-8", found, "correct it there")
        raise DataError(fault, file=path) from None
    if not isinstance(document, dict):
        fault = Fault(
            "a questionnaire is a table of named fields",
            type(document).__name__,
            "begin with survey and question",
        )
        raise DataError(fault, file=path)
    return document


def example_questionnaire() -> str:
    """A commented questionnaire in TOML, to be changed into one's own."""
    return _EXAMPLE.read_text("utf-8")


def questionnaire_schema() -> dict[str, Any]:
    """The JSON Schema of the document form."""
    schema: dict[str, Any] = json.loads(_SCHEMA.read_text("utf-8"))
    return schema


def _parse(text: str, suffix: str) -> object:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("a questionnaire in YAML", package="pyyaml", extra="llm") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _with_tables(document: dict[str, Any], folder: Path) -> tuple[Mapping[str, Any], list[Fault]]:
    """The document with the CSV files that it names in the place of their names."""
    faults: list[Fault] = []
    whole = dict(document)
    if isinstance(document.get("questions"), str):
        rows = read_questions_csv(folder / whole.pop("questions"))
        faults += rows.faults
        faults += _one_place(document, "question", "questions")
        whole["question"] = rows.questions
        whole.setdefault("survey", rows.survey)
        if rows.survey is not None and rows.survey != whole["survey"]:
            faults.append(
                Fault(
                    "a questionnaire is of one survey",
                    f"{whole['survey']!r} here and {rows.survey!r} in {document['questions']}",
                    "give both the same name",
                )
            )
    if isinstance(document.get("groups"), str):
        attributes, group_faults = read_groups_csv(folder / whole.pop("groups"))
        faults += group_faults
        faults += _one_place(document, "attributes", "groups")
        whole["attributes"] = attributes
    return whole, faults


def _one_place(document: Mapping[str, Any], inline: str, named: str) -> list[Fault]:
    if inline not in document:
        return []
    rule = f"{inline} stands in the document or in the file that {named} names"
    return [Fault(rule, "both", f"remove {inline} or {named}")]


def _questionnaire(checked: Checked) -> Questionnaire:
    return Questionnaire(
        checked.survey,
        tuple(checked.questions),
        tuple(checked.groups) or (POPULATION,),
        checked.wordings,
        tuple(checked.examples),
    )
