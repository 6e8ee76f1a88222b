"""Which rows are learnt from, predicted and scored: the parts of each kind of split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from calib.errors import DataError, Fault
from calib.evaluate import folds_of_rows
from calib.paired import Paired
from calib.survey import QuestionKey

Rows = Bool[np.ndarray, " row"]


@dataclass(frozen=True, eq=False)
class Part:
    """One fit of a split, as rows of the pairs."""

    name: str
    training: Rows
    test: Rows
    """Rows that are predicted; only the LLM's side of them is seen."""
    scored: Rows
    """Those of ``test`` that are scored, where people and the LLM answered them."""


@dataclass(frozen=True)
class Questions:
    """What a table says of its questions, whatever the selection of settings."""

    fold_of: Mapping[QuestionKey, int]
    order: Sequence[QuestionKey]
    """In which questions join a growing training set."""
    date_of: Mapping[QuestionKey, str]
    """ISO dates; empty where the table has none."""


def training_order(questions: Sequence[QuestionKey], seed: int) -> list[QuestionKey]:
    """The questions shuffled, the same whatever the order given.

    A smaller training set is the start of a larger one.
    """
    keys = sorted(set(questions))
    return [keys[place] for place in np.random.default_rng([seed, 1]).permutation(len(keys))]


def parts_of(
    split: str, paired: Paired, questions: Questions, folds: int, label: str
) -> list[Part]:
    """The parts of a split.

    - ``question``, ``model`` and ``elicitation``: folds by question, as in ``calib evaluate``.
      (Between models and elicitations the LLM's side of the test is another setting's.)
    - ``survey``: each survey is left out in turn.
    - ``group``: each group is left out of the training of every fold, and alone is scored in
      the test, whose questions are unseen as well. The LLM's answers for the other groups of
      a test question are given to predict.
    - ``date``: the questions of each date but the first; those of earlier dates train.

    Raises
    ------
    DataError
        Where the pairs cannot be split so; ``label`` names them in the message.
    """
    return _SPLITTERS.get(split, _by_question)(paired, questions, folds, label)


def _by_question(paired: Paired, questions: Questions, folds: int, label: str) -> list[Part]:
    fold_of_row = folds_of_rows(paired, questions.fold_of, folds, label)
    return [
        Part(f"fold {fold + 1}", fold_of_row != fold, fold_of_row == fold, fold_of_row == fold)
        for fold in np.unique(fold_of_row[paired.complete]).tolist()
    ]


def _by_group(paired: Paired, questions: Questions, folds: int, label: str) -> list[Part]:
    names = [str(group) for group in paired.index.groups]
    group_of_row = paired.index.group_of_row
    there = np.unique(group_of_row[paired.complete]).tolist()
    if len(there) < 2:
        raise _impossible("group", "two groups", f"{len(there)} that was answered in {label}")
    return [
        Part(
            f"{names[group]}, {fold.name}",
            fold.training & (group_of_row != group),
            fold.test,
            fold.test & (group_of_row == group),
        )
        for group in there
        for fold in _by_question(paired, questions, folds, label)
        if (paired.complete & fold.test & (group_of_row == group)).any()
    ]


def _by_survey(paired: Paired, questions: Questions, folds: int, label: str) -> list[Part]:
    del questions, folds  # Whole surveys are left out.
    survey_of = np.array([question.survey for question in paired.index.questions], dtype=object)
    of_row = survey_of[paired.index.question_of_row]
    there = sorted(set(of_row[paired.complete].tolist()))
    if len(there) < 2:
        raise _impossible("survey", "two surveys", f"{len(there)} that was answered in {label}")
    return [Part(name, of_row != name, of_row == name, of_row == name) for name in there]


def _by_date(paired: Paired, questions: Questions, folds: int, label: str) -> list[Part]:
    del folds  # Dates are what is split by.
    of_question = [questions.date_of.get(key, "") for key in paired.index.question_keys]
    of_row = np.array(of_question, dtype=object)[paired.index.question_of_row]
    there = sorted(set(of_row[paired.complete].tolist()))
    if len(there) < 2 or "" in there:
        dates = "no date for some questions" if "" in there else f"{len(there)} date"
        raise _impossible("date", "a column date with two dates", f"{dates} in {label}")
    rank: Int[np.ndarray, " row"] = np.searchsorted(np.array(there), of_row.astype(str))
    return [
        Part(there[number], rank < number, rank == number, rank == number)
        for number in range(1, len(there))
    ]


_SPLITTERS: Final[Mapping[str, Callable[[Paired, Questions, int, str], list[Part]]]] = {
    "group": _by_group,
    "survey": _by_survey,
    "date": _by_date,
}


def first_questions(
    paired: Paired, training: Rows, order: Sequence[QuestionKey], size: int | None
) -> Rows:
    """The training rows of the first ``size`` questions that can be learnt from; all if None.

    Raises
    ------
    DataError
        Where there are fewer questions than that.
    """
    if size is None:
        return training
    index = paired.index
    can = {
        index.question_keys[number]
        for number in np.unique(index.question_of_row[training & paired.complete])
    }
    if size > len(can):
        raise DataError(
            Fault(
                rule="a training size is at most the number of training questions of every part",
                value=f"{size} of {len(can)}",
                remedy=f'use sizes up to {len(can)}, or "all"',
            )
        )
    chosen = set([key for key in order if key in can][:size])
    taken = np.array([key in chosen for key in index.question_keys])
    kept: np.ndarray = training & taken[index.question_of_row]
    return kept


def _impossible(split: str, needs: str, found: str) -> DataError:
    return DataError(
        Fault(
            rule=f"a split by {split} needs {needs} at least",
            value=found,
            remedy=f"remove {split!r} from splits, or leave the table or selection out",
        )
    )
