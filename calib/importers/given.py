"""What an individual answer is, and the question that each is an answer to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from calib.errors import Fault
from calib.importers.finder import Finder, number_of
from calib.importers.published import Published
from calib.importers.scales import Scaled, guess, kind_of
from calib.survey import Group, Option, Outcome, Question, QuestionKey, Setting


class Asked(NamedTuple):
    """A question as the source tells it."""

    key: QuestionKey
    text: str | None
    """None where the source does not say."""
    labels: tuple[str, ...] | None
    """The options in the order in which the source lists them; None where it lists none."""
    scaled: Scaled | None = None
    """Where the source's type of question tells the scale."""


class Given(NamedTuple):
    """One answer of the model, or why there is none."""

    row: int | None
    """Row of the source; None where it has no rows to point to."""
    asked: Asked
    groups: tuple[Group, ...]
    """An answer of an old Democrat counts for the old and for the Democrats."""
    setting: Setting
    answer: str
    """Label of an option; anything where ``outcome`` is not ``answered``."""
    outcome: Outcome = "answered"


def settle(
    given: Sequence[Given], published: Published, counts: Counter[str], options_from_answers: bool
) -> tuple[dict[QuestionKey, Question], list[Fault]]:
    """The question behind each key, and the faults of those that have none."""
    rows_of: defaultdict[QuestionKey, list[Given]] = defaultdict(list)
    for one in given:
        rows_of[one.asked.key].append(one)
    questions: dict[QuestionKey, Question] = {}
    faults: list[Fault] = []
    for key, rows in rows_of.items():
        first = rows[0].asked
        if key in published.questions:
            counts["scales_published"] += 1
            questions[key] = published.questions[key]
            faults += _unknown_options(rows, questions[key])
            continue
        differing = [one for one in rows if one.asked != first]
        if differing:
            faults.append(_told_twice(first, differing))
            continue
        if first.labels is not None and len(set(first.labels)) < len(first.labels):
            faults.append(
                Fault(
                    "the options of a question are distinct",
                    f"{list(first.labels)!r} for {key.survey}/{key.id}"[:300],
                    "correct the options",
                    rows=row_numbers(rows),
                )
            )
            continue
        scaled = first.scaled
        if scaled is None and first.labels is not None:
            scaled = guess(first.labels)
        elif scaled is None and options_from_answers:
            scaled = _from_answers([one.answer for one in rows if one.outcome == "answered"])
        if scaled is None:
            faults.append(
                Fault(
                    "the options of each question are known",
                    f"none for {key.survey}/{key.id}",
                    "name a table with the question's options, e.g. a questionnaire's CSV, "
                    "with --scales; survey and question_id must be the same there",
                    rows=row_numbers(rows),
                )
            )
            continue
        counts[f"scales_{scaled.origin}"] += 1
        questions[key] = Question(*key, first.text or key.id, scaled.scale, scaled.options)
    return questions, faults


def _unknown_options(rows: Sequence[Given], question: Question) -> Iterator[Fault]:
    finder = Finder(question)
    unknown: defaultdict[str, list[Given]] = defaultdict(list)
    for one in rows:
        for label in one.asked.labels or ():
            if finder.find(label)[0] is None:
                unknown[label].append(one)
    for label, those in unknown.items():
        yield Fault(
            f"the options of {question.id} in the source are those of the table of options",
            f"{label!r} besides {option_labels(question)}",
            "add the option to the table, or take the question out of it",
            rows=row_numbers(those),
        )


def _told_twice(first: Asked, differing: Sequence[Given]) -> Fault:
    other = differing[0].asked
    same_text = other.text == first.text
    was, now = (first.labels, other.labels) if same_text else (first.text, other.text)
    return Fault(
        f"a question has one {'list of options' if same_text else 'wording'} in all its rows",
        f"{now!r} after {was!r} for {first.key.survey}/{first.key.id}"[:300],
        "give questions that differ different ids; or, where only the wording or order that "
        "was shown differs, name a table with the question and its options with --scales",
        rows=row_numbers(differing),
    )


def _from_answers(answers: Sequence[str]) -> Scaled:
    """Options of which only the answers are known: numbers in their order, else by letter."""
    labels = sorted({_plain(answer.strip()) for answer in answers})
    kinds = {label: kind_of(label) for label in labels}
    chosen = [label for label in labels if kinds[label] == "substantive"]
    values = {label: number_of(label) for label in chosen}
    ordinal = all(value is not None for value in values.values())
    if ordinal:
        chosen.sort(key=lambda label: values[label] or 0.0)
    rest = [label for label in labels if kinds[label] != "substantive"]
    options = tuple(
        Option(index, label, values.get(label) if ordinal else None, kinds[label])
        for index, label in enumerate([*chosen, *rest])
    )
    return Scaled("ordinal" if ordinal else "nominal", options, "from_answers")


def _plain(label: str) -> str:
    """A whole number without its decimals, which a table adds where some cells are empty."""
    number = number_of(label)
    return label if number is None or not number.is_integer() else str(int(number))


def row_numbers(rows: Sequence[Given]) -> tuple[int, ...]:
    """The rows of the source that the answers stand in, each once."""
    return tuple(dict.fromkeys(one.row for one in rows if one.row is not None))


def option_labels(question: Question) -> str:
    """The labels of a question, for a message."""
    return ", ".join(repr(option.label) for option in question.options)
