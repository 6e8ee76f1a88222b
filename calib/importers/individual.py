"""Individual answers of a model as shares: what four importers do alike.

Each reader turns its source into a list of ``Given``, one an answer; ``tabulate`` settles
the questions' options, matches answers with them and counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from calib.errors import DataError, Fault
from calib.importers.finder import Finder
from calib.importers.given import Given, option_labels, row_numbers, settle
from calib.importers.imported import Imported, checked
from calib.importers.published import Published
from calib.survey import OUTCOMES, Group, Option, Outcome, Question, QuestionKey, Setting

EVERYBODY: Final = Group("all", "all")
"""The group of answers that were asked of nobody in particular."""
ELICITATION: Final = "self_random"
"""Frequencies of individual answers, unless the source says otherwise."""


def groups_of(
    values: Mapping[str, object], names: Sequence[str], counts: Counter[str]
) -> tuple[Group, ...]:
    """The groups that an answer belongs to, by the named attributes; all, if none is named.

    >>> groups_of({"party": "Democrat", "age": ""}, ["party", "age"], Counter())
    (Group(attribute='party', name='Democrat'),)
    """
    if not names:
        return (EVERYBODY,)
    groups = []
    for name in names:
        value = values.get(name)
        text = "" if value is None or value != value else str(value).strip()
        if text:
            groups.append(Group(name, text))
        else:
            counts[f"rows_without_{name}"] += 1
    return tuple(groups)


def prompt_for(names: Sequence[str], prompt: str | None) -> str:
    """The prompt's name: as given, else ``sd`` where groups are told apart and ``base``."""
    return prompt or ("sd" if names else "base")


def tabulate(
    given: Sequence[Given],
    published: Published,
    counts: Counter[str],
    source: Path,
    *,
    options_from_answers: bool = False,
    free_text: bool = False,
) -> Imported:
    """Individual answers as a paired table: shares are frequencies of usable answers.

    A cell is answered if at least half of its rows are; the others take the commonest
    reason. Questions with fewer than two substantive options are left out, with a count.

    Parameters
    ----------
    given
        All answers of the source.
    published
        Options and human answers that the user gave.
    counts
        What the reader counted; grows.
    options_from_answers
        Take the answers themselves for options where nobody lists any.
    free_text
        Answers are the model's own words: one that is no option is unparsable. Otherwise
        it is a fault.

    Raises
    ------
    DataError
        With all faults: options unknown, told in two ways or not among the published ones,
        answers that are no option, no usable row.
    """
    questions, faults = settle(given, published, counts, options_from_answers)
    read, more = _match(given, questions, counts, free_text)
    faults += more
    if faults:
        raise DataError(faults, file=source)
    cells: defaultdict[tuple[Setting, QuestionKey, Group], _Cell] = defaultdict(_Cell)
    for one, option in zip(given, read, strict=True):
        question = questions[one.asked.key]
        if sum(each.kind == "substantive" for each in question.options) < 2:
            counts["rows_of_questions_with_fewer_than_two_options_left_out"] += 1
            continue
        counts["rows_in_no_group_left_out"] += not one.groups
        for group in one.groups:
            cells[one.setting, one.asked.key, group].add(option)
    rows = list(_rows(cells, questions, published, counts))
    if not rows:
        found = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        fault = Fault(
            "a source has at least one row that can be used",
            found or "no row",
            "check the columns that are read and the group columns",
        )
        raise DataError(fault, file=source)
    return checked(rows, counts, source)


@dataclass
class _Cell:
    """What became of the rows of one group, question and setting."""

    chosen: Counter[int] = field(default_factory=Counter)
    """By option index."""
    silent: Counter[str] = field(default_factory=Counter)
    """By outcome."""

    def add(self, read: Option | Outcome) -> None:
        if isinstance(read, Option):
            self.chosen[read.index] += 1
        else:
            self.silent[read] += 1

    @property
    def outcome(self) -> str:
        if 2 * self.chosen.total() >= self.chosen.total() + self.silent.total():
            return "answered"
        return max(OUTCOMES, key=lambda outcome: self.silent[outcome])


def _match(
    given: Sequence[Given],
    questions: Mapping[QuestionKey, Question],
    counts: Counter[str],
    free_text: bool,
) -> tuple[list[Option | Outcome], list[Fault]]:
    """Each row's option, or the reason why it has none; and the faults."""
    finders = {key: Finder(question) for key, question in questions.items()}
    read: list[Option | Outcome] = []
    outside: defaultdict[QuestionKey, list[Given]] = defaultdict(list)
    understood: set[QuestionKey] = set()
    for one in given:
        found: Option | Outcome = one.outcome
        finder = finders.get(one.asked.key)
        if one.outcome == "answered" and finder is not None:
            option, how = finder.find(one.answer)
            if option is None:
                outside[one.asked.key].append(one)
                found = "unparsable"
            else:
                understood.add(one.asked.key)
                if how:
                    counts[how] += 1
                found = option
        read.append(found)
    counts["rows_read"] += len(given)
    counts.update({f"rows_{outcome}": 0 for outcome in OUTCOMES})
    for found in read:
        counts["rows_answered" if isinstance(found, Option) else f"rows_{found}"] += 1
    faults = [
        Fault(
            f"answers to {key.survey}/{key.id} are among its options",
            f"{rows[0].answer!r} besides {option_labels(questions[key])}"[:300],
            "add the option to the table of options"
            if free_text
            else "add the option, correct the answer, or empty it where the model gave none",
            rows=row_numbers(rows),
        )
        for key, rows in outside.items()
        # The model's own words need not be an option, but if none is, the options are wrong.
        if not free_text or key not in understood
    ]
    return read, faults


def _rows(
    cells: Mapping[tuple[Setting, QuestionKey, Group], _Cell],
    questions: Mapping[QuestionKey, Question],
    published: Published,
    counts: Counter[str],
) -> Iterator[tuple[object, ...]]:
    used: set[tuple[QuestionKey, Group]] = set()
    fewest: list[int] = []
    for (setting, key, group), cell in cells.items():
        question = questions[key]
        human = published.human.get((key, group))
        used.add((key, group))
        outcome, total = cell.outcome, cell.chosen.total()
        counts["cells"] += 1
        counts[f"cells_{outcome}"] += 1
        if outcome == "answered":
            fewest.append(total)
            counts["cells_answered_without_some_rows"] += bool(cell.silent)
        if published.human:
            counts["cells_without_human_answer"] += human is None
        for option in question.options:
            yield (
                *key, question.text, question.scale, option.index, option.label, option.value,
                option.kind, *group,
                None if human is None else human.n,
                None if human is None else human.shares.get(option.index),
                *setting, outcome,
                cell.chosen[option.index] / total if outcome == "answered" else None,
            )  # fmt: skip
    counts["fewest_answers_in_an_answered_cell"] = min(fewest, default=0)
    counts["human_cells_that_no_model_was_asked"] = len(published.human.keys() - used)
