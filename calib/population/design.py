"""Whom to ask what next, so that predicted shares become as sure as they can."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from calib.draws import GroupShares
from calib.errors import DataError, Fault
from calib.population.linear import Moments, moments, remaining, worth
from calib.rules import CELL_KEY, QUESTION_KEY


class Design(NamedTuple):
    """How many answers to collect in which cells, and what is expected of them."""

    table: pd.DataFrame
    variance: dict[str, float]
    """Σ Var(θ) over all cells and options: ``now``, as ``planned``, and with as many
    blocks spread ``even``ly: dealt to the questions in turn, and there to the groups."""
    counts: dict[str, int]


@dataclass
class _Question:
    """What is known of a question's shares, and what a block of answers would add."""

    prior: Moments
    numbers: Int[np.ndarray, " of_question"]
    """Of its cells among all."""
    cells: list[Int[np.ndarray, " option"]]
    """Where each cell's options stand among the question's rows."""
    block: float
    answers: Float[np.ndarray, " of_question"] = field(init=False)
    left: Float[np.ndarray, "row row"] = field(init=False)
    gains: Float[np.ndarray, " of_question"] = field(init=False)

    def __post_init__(self) -> None:
        self.answers = np.zeros(len(self.cells))
        self.left = self.prior.covariance
        self._look()

    def ask(self, cell: int) -> None:
        """A block of answers more."""
        self.answers[cell] += self.block
        self.left = self.left - self._removed(cell)
        self._look()

    def _look(self) -> None:
        self.gains = np.array([np.trace(self._removed(cell)) for cell in range(len(self.cells))])

    def _removed(self, cell: int) -> Float[np.ndarray, "row row"]:
        """What a block in a cell takes off the covariance.

        Sampling errors of blocks are independent: one after the other is as all at once.
        """
        rows = self.cells[cell]
        variance = self.left[np.ix_(rows, rows)] + self.prior.noise(rows, self.block)
        across = self.left[:, rows]
        removed: np.ndarray = (
            across @ np.linalg.pinv(variance, rcond=1e-10, hermitian=True) @ across.T
        )
        return removed


def design(predicted: GroupShares, *, answers: int, block: int = 25) -> Design:
    """Answers by question and group that are expected to leave least variance.

    Block by block, each where Σ Var(θ | all answers so far) over all cells and options falls
    most: by the best linear estimate (``calib.population.linear.remaining``), from the draws'
    covariance within each question. So it counts what a group's answers tell of the others,
    and asks first where predictions are unsure together. Expected variances do not depend on
    what will be answered, hence the plan can be made at once. Greedy: near the best plan, not
    always the best.

    An answer is one person's to one question; a group is asked as one of its own attribute,
    though the same person has a group in each. All cells count alike.

    Parameters
    ----------
    predicted
        Joint draws.
    answers
        How many in all; what a whole number of blocks leaves over is not planned.
    block
        Answers at a time in one cell.

    Returns
    -------
    One row per cell: ``n_answers``, ``step`` (of its first block, 0 for none), and the
    respondents that what is known of it is worth, ``n_now`` and ``n_planned``.

    Raises
    ------
    DataError
        Where there are no draws, or the answers do not fill a block.
    """
    from threadpoolctl import threadpool_limits

    if not predicted.joint or not 0 < block <= answers:
        raise DataError(
            Fault(
                "a design has joint draws and answers for a block at least",
                f"{answers} answers in blocks of {block}" if predicted.joint else "points alone",
                "name the file of calib predict --draws; ask for more answers or smaller blocks",
            )
        )
    known = predicted.known()
    cell = known.keys.groupby(CELL_KEY, sort=False).ngroup().to_numpy()
    # Many small matrices: threads would wait for one another.
    with threadpool_limits(1):
        questions = []
        for _, rows in known.keys.groupby(QUESTION_KEY, sort=True).indices.items():
            inside = np.unique(cell[rows])
            cells = [np.flatnonzero(cell[rows] == number) for number in inside]
            questions.append(_Question(moments(known.draws[:, rows]), inside, cells, float(block)))
        step = np.zeros(cell.max() + 1, dtype=int)
        for number in range(1, answers // block + 1):
            best = max(questions, key=lambda one: float(one.gains.max()))
            at = int(best.gains.argmax())
            chosen = best.numbers[at]
            step[chosen] = step[chosen] or number
            best.ask(at)
    return _summary(known, questions, step, _dealt(questions, answers // block))


def _dealt(questions: list[_Question], n_blocks: int) -> Float[np.ndarray, " cell"]:
    """Answers by cell where blocks go to the questions in turn, and there to the groups."""
    turns = sorted(
        (turn, number)
        for question in questions
        for turn, number in enumerate(question.numbers.tolist())
    )
    found = np.zeros(len(turns))
    for number in range(n_blocks):
        found[turns[number % len(turns)][1]] += questions[0].block
    return found


def _summary(
    known: GroupShares,
    questions: list[_Question],
    step: Int[np.ndarray, " cell"],
    even: Float[np.ndarray, " cell"],
) -> Design:
    columns = {name: np.zeros(len(step)) for name in ("n_answers", "n_now", "n_planned")}
    variance = dict.fromkeys(("now", "planned", "even"), 0.0)
    for question in questions:
        prior, spread = question.prior, question.prior.spread
        columns["n_answers"][question.numbers] = question.answers
        for at, rows in zip(question.numbers, question.cells, strict=True):
            columns["n_now"][at] = worth(spread[rows], np.diag(prior.covariance)[rows])
            columns["n_planned"][at] = worth(spread[rows], np.diag(question.left)[rows])
        dealt = [
            (rows, even[number])
            for number, rows in zip(question.numbers, question.cells, strict=True)
            if even[number] > 0
        ]
        spread_evenly = remaining(prior, dealt) if dealt else prior.covariance
        for name, left in (
            ("now", prior.covariance),
            ("planned", question.left),
            ("even", spread_evenly),
        ):
            variance[name] += float(np.trace(left))
    cells = known.keys.drop_duplicates(CELL_KEY)[CELL_KEY].reset_index(drop=True)
    table = cells.assign(**columns, step=step).astype({"n_answers": int})
    counts = {
        "answers": int(table["n_answers"].sum()),
        "cells": len(table),
        "cells_to_ask": int((step > 0).sum()),
        "questions_to_ask": len(table[table["step"] > 0].drop_duplicates(QUESTION_KEY)),
    }
    return Design(table, variance, counts)
