"""Results of EDSL, Expected Parrot's language for surveys of AI agents.

SOURCE is what ``Results.to_csv`` writes, with its prefixes (``answer.NAME``,
``question_options.NAME_question_options``, ``agent.TRAIT``, ``model.model``, …), or the
JSON of ``Results.to_dict``, plain or as ``.json.gz``. Read against EDSL 1.0.9. One row is
one interview: an agent, scenario and model, once or several times (``iteration``).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from calib.errors import DataError, Fault
from calib.importers.edsl_files import REMEDY, AskedQuestion, Interview, from_csv, from_json, joined
from calib.importers.given import Asked, Given
from calib.importers.imported import Imported, broken
from calib.importers.individual import ELICITATION, groups_of, prompt_for, tabulate
from calib.importers.published import NOTHING, Published, read_published
from calib.importers.scales import Scaled, guess
from calib.survey import Option, Outcome, QuestionKey, Setting

CHOICE_TYPES: Final = ("multiple_choice", "yes_no", "likert_five", "linear_scale", "dropdown")
"""Types of questions whose answer is one of the options; others are left out."""
_VARIABLE: Final = re.compile(r"\{\{\s*(?:scenario\.)?(\w+)\s*\}\}")


def read(
    source: Path,
    *,
    scales: Path | None = None,
    survey: str | None = None,
    groups: Sequence[str] = (),
    prompt: str | None = None,
) -> Imported:
    """EDSL results as a paired table.

    Scales follow the type of question: ``yes_no`` is binary, ``likert_five`` and
    ``linear_scale`` are ordinal; those of ``multiple_choice`` are guessed (``scales.guess``)
    where ``scales`` lacks the question. Options that EDSL shuffled are put back in the
    survey's order, which the JSON has; a CSV file with shuffled options needs ``scales``. A
    scenario's variable in the wording makes a question of its own: ``like`` with
    ``{{ scenario.thing }}`` becomes ``like[thing=tea]``. Other differences between scenarios,
    and between a model's parameters, are pooled; the latter are counted.

    An interview without an answer to a question counts as unparsable where the model said
    something, else as failed.

    Parameters
    ----------
    source
        A ``.csv``, ``.json`` or ``.json.gz`` file.
    scales
        A table of options, with human answers or without (``published.read_published``).
    survey
        By default the only survey of ``scales``, else the name of the file.
    groups
        Traits of agents, or variables of scenarios, that tell groups apart; without them
        all interviews are of the group *all*.
    prompt
        By default ``sd``, and ``base`` without groups.

    Raises
    ------
    DataError
        With all faults.
    """
    interviews = from_csv(source) if source.suffix == ".csv" else from_json(source)
    _check_groups(interviews, groups, source)
    published = NOTHING if scales is None else read_published(scales)
    name = survey or published.survey or source.name.partition(".")[0]
    counts: Counter[str] = Counter()
    parameters = {(one.model, one.parameters) for one in interviews}
    models = {one.model for one in interviews}
    counts["sets_of_parameters_pooled"] = len(parameters) - len(models)
    given: list[Given] = []
    faults: list[Fault] = []
    for one in interviews:
        setting = Setting(one.model, ELICITATION, prompt_for(groups, prompt))
        of = groups_of({**one.scenario, **one.traits}, groups, counts)
        for question_name, question in one.questions.items():
            try:
                asked = _asked(name, question_name, question, one.scenario, published)
            except DataError as error:
                faults += [Fault(f.rule, f.value, f.remedy, rows=(one.row,)) for f in error.faults]
                continue
            if asked is None:
                counts[f"answers_to_{question.type or 'unknown_type'}_left_out"] += 1
                continue
            answer = "" if question.answer is None else str(question.answer)
            silent: Outcome = "unparsable" if question.generated else "failed"
            outcome: Outcome = "answered" if answer else silent
            given.append(Given(one.row, asked, of, setting, answer, outcome))
    if faults:
        raise DataError(joined(faults), file=source)
    return tabulate(given, published, counts, source)


def _asked(
    survey: str,
    name: str,
    question: AskedQuestion,
    scenario: Mapping[str, Any],
    published: Published,
) -> Asked | None:
    """The question with its scenario filled in; none where it is not of a choice type."""
    used = [one for one in _VARIABLE.findall(question.text) if one in scenario]
    inside = ",".join(f"{one}={scenario[one]}" for one in dict.fromkeys(used))
    key = QuestionKey(survey, f"{name}[{inside}]" if inside else name)
    text = _filled(question.text, scenario)
    if question.type not in CHOICE_TYPES:
        return None
    labels = _labels(name, question.options, scenario)
    if key in published.questions:
        return Asked(key, text, labels)
    return Asked(key, text, labels, _scaled(question.type, labels))


def _scaled(question_type: str, labels: tuple[str, ...]) -> Scaled:
    if question_type == "yes_no" and len(labels) == 2:
        options = tuple(Option(index, label) for index, label in enumerate(labels))
        return Scaled("binary", options, "of_the_question_type")
    if question_type in ("likert_five", "linear_scale"):
        numeric = all(re.fullmatch(r"-?\d+(\.\d+)?", label) for label in labels)
        values = [float(label) if numeric else index + 1.0 for index, label in enumerate(labels)]
        options = tuple(
            Option(index, label, value)
            for index, (label, value) in enumerate(zip(labels, values, strict=True))
        )
        return Scaled("ordinal", options, "of_the_question_type")
    return guess(labels)


def _labels(name: str, options: object, scenario: Mapping[str, Any]) -> tuple[str, ...]:
    found = options
    if isinstance(options, str):
        variable = _VARIABLE.fullmatch(options.strip())
        found = scenario.get(variable[1]) if variable else _literal(options)
        found = _literal(found) if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not found:
        raise broken(
            f"question_options of {name} is a list",
            repr(options)[:200],
            REMEDY,
        )
    return tuple(_filled(str(label), scenario).strip() for label in found)


def _filled(text: str, scenario: Mapping[str, Any]) -> str:
    """The text with the scenario's variables; others, of agents or answers, stay."""
    return _VARIABLE.sub(lambda match: str(scenario.get(match[1], match[0])), text)


def _literal(text: str) -> object:
    try:
        # The export writes lists as Python literals; literal_eval runs no code.
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _check_groups(interviews: Sequence[Interview], groups: Sequence[str], source: Path) -> None:
    known = {name for one in interviews for name in (*one.traits, *one.scenario)}
    unknown = [name for name in groups if name not in known]
    if unknown:
        raise broken(
            "groups are traits of agents or variables of scenarios",
            f"{', '.join(unknown)} besides {', '.join(sorted(known)) or 'none'}"[:500],
            "name them without a prefix",
            source,
        )
