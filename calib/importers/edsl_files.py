"""The two files that EDSL writes of its results, as interviews."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from calib.errors import DataError, Fault
from calib.importers.columns import read_texts, require
from calib.importers.imported import broken, entry, read_json

REMEDY: Final = "export all columns, with their prefixes: results.to_csv(…) or to_dict()"


class AskedQuestion(NamedTuple):
    """A question as one interview has it."""

    text: str
    type: str
    options: object
    """A list; or text, where a scenario fills it in or a CSV file holds it."""
    answer: object
    generated: bool
    """Whether the model said something, which tells unreadable from never asked."""


class Interview(NamedTuple):
    """What one agent, in one scenario, was asked of one model."""

    row: int
    model: str
    parameters: str
    """The model's parameters as text, to tell sets of them apart."""
    traits: Mapping[str, Any]
    scenario: Mapping[str, Any]
    questions: Mapping[str, AskedQuestion]


def from_csv(source: Path) -> list[Interview]:
    """The interviews of a CSV export; ``DataError`` where columns are missing."""
    frame = read_texts(source, ("model.model",), REMEDY)
    names = _after(frame.columns, "answer.")
    if not names:
        raise broken(
            "answers stand in columns answer.NAME",
            f"columns {', '.join(frame.columns)}"[:500],
            REMEDY,
            source,
        )
    kinds = ("question_text", "question_type", "question_options")
    require(frame, [f"{kind}.{name}_{kind}" for name in names for kind in kinds], REMEDY, source)
    parameters = [one for one in _after(frame.columns, "model.") if one != "model_index"]
    interviews = []
    for number, row in enumerate(frame.to_dict("records")):
        questions = {
            name: AskedQuestion(
                row[f"question_text.{name}_question_text"],
                row[f"question_type.{name}_question_type"],
                row[f"question_options.{name}_question_options"],
                row[f"answer.{name}"] or None,
                bool(row.get(f"generated_tokens.{name}_generated_tokens")),
            )
            for name in names
        }
        interviews.append(
            Interview(
                number,
                row["model.model"],
                repr([row[f"model.{one}"] for one in parameters]),
                {one: row[f"agent.{one}"] for one in _after(frame.columns, "agent.")},
                {one: row[f"scenario.{one}"] for one in _after(frame.columns, "scenario.")},
                questions,
            )
        )
    return interviews


def _after(columns: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]


def from_json(source: Path) -> list[Interview]:
    """The interviews of a JSON export, gzipped or not; ``DataError`` with all its faults."""
    content = _compressed(source) if source.suffix == ".gz" else read_json(source)
    interviews: list[Interview] = []
    faults: list[Fault] = []
    try:
        data = entry(content, "data", list, where="EDSL results")
    except DataError as error:
        raise error.in_file(source) from None
    listed = _listed(content.get("survey"))
    for number, one in enumerate(data):
        try:
            interviews.append(_interview(number, one, listed))
        except DataError as error:
            faults += [Fault(f.rule, f.value, f.remedy, rows=(number,)) for f in error.faults]
    if faults or not interviews:
        none = [Fault("EDSL results have at least one interview", "none", "export the results")]
        raise DataError(joined(faults) or none, file=source)
    return interviews


def _compressed(source: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(gzip.decompress(source.read_bytes()))
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise broken(
            "the file is readable, gzipped JSON", str(error)[:200], "export it again", source
        ) from None
    if not isinstance(content, dict):
        raise broken("the file holds one JSON object", type(content).__name__, REMEDY, source)
    return content


def _listed(survey: Any) -> dict[str, list[Any]]:
    """Each question's options in the survey's own order, which interviews may shuffle."""
    questions = survey.get("questions") if isinstance(survey, dict) else None
    return {
        question["question_name"]: question["question_options"]
        for question in (questions if isinstance(questions, list) else [])
        if isinstance(question, dict)
        and isinstance(question.get("question_name"), str)
        and isinstance(question.get("question_options"), list)
    }


def _in_order(options: Any, listed: list[Any] | None) -> Any:
    """The options as the survey lists them, where the interview has the same ones."""
    if isinstance(options, list) and listed is not None:
        same = sorted(map(str, options)) == sorted(map(str, listed))
        return listed if same else options
    return options


def _interview(number: int, one: Any, listed: Mapping[str, list[Any]]) -> Interview:
    if not isinstance(one, dict):
        raise broken("an interview is an object", repr(one)[:80], REMEDY)
    model = entry(one, "model", dict, where="an interview")
    agent = entry(one, "agent", dict, where="an interview")
    attributes = entry(one, "question_to_attributes", dict, where="an interview")
    tokens = one.get("generated_tokens")
    tokens = tokens if isinstance(tokens, dict) else {}
    questions = {}
    for name, answer in entry(one, "answer", dict, where="an interview").items():
        about = entry(attributes, name, dict, where="question_to_attributes")
        questions[name] = AskedQuestion(
            str(about.get("question_text") or ""),
            str(about.get("question_type") or ""),
            _in_order(about.get("question_options"), listed.get(name)),
            answer,
            bool(tokens.get(f"{name}_generated_tokens")),
        )
    traits, scenario = agent.get("traits"), one.get("scenario")
    scenario = scenario if isinstance(scenario, dict) else {}
    return Interview(
        number,
        entry(model, "model", str, where="a model"),
        json.dumps(model.get("parameters"), sort_keys=True, default=str),
        traits if isinstance(traits, dict) else {},
        {name: value for name, value in scenario.items() if not name.startswith("edsl_")},
        questions,
    )


def joined(faults: Sequence[Fault]) -> list[Fault]:
    """Faults that differ in their rows only, as one."""
    rows: dict[Fault, list[int]] = {}
    for fault in faults:
        rows.setdefault(Fault(fault.rule, fault.value, fault.remedy), []).extend(fault.rows)
    return [
        Fault(one.rule, one.value, one.remedy, rows=tuple(numbers)) for one, numbers in rows.items()
    ]
