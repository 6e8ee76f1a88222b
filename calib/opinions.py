"""Blocks of answer distributions: the one place that checks, closes and pads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.errors import CalibError
from calib.survey import Group, Question, QuestionKey, Setting

SUM_TOLERANCE = 5e-3
"""How far shares may be from one in sum and still count as rounded; they are then closed."""


@dataclass(frozen=True, eq=False)
class Index:
    """What each row of a block is about: a question put to a group (a *cell*).

    Options are padded to the longest question of the block; ``mask`` is true where an
    option exists and was offered to the group.
    """

    questions: tuple[Question, ...]
    groups: tuple[Group, ...]
    question_of_row: Int[np.ndarray, " row"]
    group_of_row: Int[np.ndarray, " row"]
    mask: Bool[np.ndarray, "row option"]

    def __len__(self) -> int:
        return len(self.question_of_row)

    @cached_property
    def n_options(self) -> Int[np.ndarray, " row"]:
        """Options offered in each row."""
        return self.mask.sum(axis=1)

    @cached_property
    def places(self) -> Float[np.ndarray, "row option"]:
        """Options' places in [0, 1] on their scale; NaN off the mask and on nominal scales."""
        width = self.mask.shape[1]
        by_question = np.full((len(self.questions), width), np.nan)
        for number, question in enumerate(self.questions):
            by_question[number, : len(question.options)] = question.places
        return np.where(self.mask, by_question[self.question_of_row], np.nan)

    @cached_property
    def ordered(self) -> Bool[np.ndarray, " row"]:
        """Whether the row's scale is ordinal or binary, hence has a Wasserstein distance."""
        by_question = np.array([question.ordered for question in self.questions], dtype=bool)
        return by_question[self.question_of_row]

    @cached_property
    def question_keys(self) -> list[QuestionKey]:
        """Keys of ``questions``, in their order."""
        return [question.key for question in self.questions]

    def uniform(self) -> Float[np.ndarray, "row option"]:
        """Equal shares over the options of each row."""
        return self.mask / self.n_options[:, None]

    def take(self, rows: Int[np.ndarray, " taken"] | Bool[np.ndarray, " row"]) -> Index:
        """Some rows, with the questions and groups that they still speak of; same padding."""
        questions, question_of_row = np.unique(self.question_of_row[rows], return_inverse=True)
        groups, group_of_row = np.unique(self.group_of_row[rows], return_inverse=True)
        return Index(
            questions=tuple(self.questions[number] for number in questions),
            groups=tuple(self.groups[number] for number in groups),
            question_of_row=question_of_row,
            group_of_row=group_of_row,
            mask=self.mask[rows],
        )


@dataclass(frozen=True, eq=False)
class Opinions:
    """Answer distributions of cells: human, elicited or predicted alike.

    Rows sum to one on the mask and are exactly zero off it. A row that nobody answered
    is NaN on the mask. Raises ``CalibError`` where that does not hold.
    """

    index: Index
    probs: Float[np.ndarray, "row option"]
    n: Float[np.ndarray, " row"] | None = None
    """Effective number of respondents behind each row; NaN where it is unknown."""

    def __post_init__(self) -> None:
        if self.probs.shape != self.index.mask.shape:
            raise CalibError(
                f"probabilities must have the shape of their index, {self.index.mask.shape}; "
                f"got {self.probs.shape}; build both from the same rows"
            )
        if np.any(self.probs[~self.index.mask] != 0):
            raise CalibError(
                "shares off the mask must be exactly zero; found "
                f"{int(np.sum(self.probs[~self.index.mask] != 0))} that are not; "
                "close them with opinions.close"
            )
        missing = np.isnan(self.probs)
        partly = missing.any(axis=1) & (missing != self.index.mask).any(axis=1)
        if partly.any():
            raise CalibError(
                "a row has shares for all options or none; found "
                f"{self.probs[partly][0]}; give 0 for options that nobody chose"
            )
        known = self.probs[self.known]
        bad = (known < 0).any(axis=1) | (np.abs(known.sum(axis=1) - 1.0) > 1e-9)
        if bad.any():
            raise CalibError(
                f"shares of a row must be non-negative and sum to one; found {known[bad][0]}; "
                "close them with opinions.close"
            )

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def known(self) -> Bool[np.ndarray, " row"]:
        """Rows that have an answer."""
        return ~np.isnan(self.probs).any(axis=1)

    def take(self, rows: Int[np.ndarray, " taken"] | Bool[np.ndarray, " row"]) -> Opinions:
        """Some rows, in the order given."""
        n = None if self.n is None else self.n[rows]
        return Opinions(self.index.take(rows), self.probs[rows], n)


@dataclass(frozen=True, eq=False)
class Elicited:
    """What one or several LLM settings answered for the same cells; all that predict sees."""

    settings: tuple[Setting, ...]
    sources: tuple[Opinions, ...]
    """One block per setting, all over ``index``; unanswered rows are NaN."""

    def __post_init__(self) -> None:
        if not self.sources or len(self.sources) != len(self.settings):
            raise CalibError(
                "elicited opinions need one block per setting and at least one; got "
                f"{len(self.sources)} blocks for {len(self.settings)} settings"
            )
        if any(source.index is not self.index for source in self.sources):
            raise CalibError("all sources must share one index; build them with one Index")

    @property
    def index(self) -> Index:
        """The cells that all sources speak of."""
        return self.sources[0].index

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def probs(self) -> Float[np.ndarray, "source row option"]:
        """All sources stacked; NaN on the mask where a source did not answer."""
        return np.stack([source.probs for source in self.sources])

    @cached_property
    def answered(self) -> Bool[np.ndarray, "source row"]:
        """Which source answered for which row."""
        return np.stack([source.known for source in self.sources])

    @cached_property
    def filled(self) -> Float[np.ndarray, "source row option"]:
        """As ``probs``; where one source is silent in a cell, the mean of those that spoke.

        Rows in which no source spoke stay NaN. ``n_filled`` counts what was filled.
        """
        mean = self.pooled()
        return np.where(self.answered[:, :, None], self.probs, mean[None])

    @property
    def n_filled(self) -> int:
        """Cells of a source that ``filled`` takes from the other sources."""
        return int((~self.answered & self.answered.any(axis=0)).sum())

    def pooled(self) -> Float[np.ndarray, "row option"]:
        """The plain mean over the sources that answered; NaN where none did."""
        weight = self.answered[:, :, None]
        total = np.where(weight, self.probs, 0.0).sum(axis=0)
        count = self.answered.sum(axis=0)[:, None]
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return np.where(self.index.mask, mean, 0.0)

    def take(self, rows: Int[np.ndarray, " taken"] | Bool[np.ndarray, " row"]) -> Elicited:
        """Some rows, of every source."""
        index = self.index.take(rows)
        return Elicited(
            self.settings,
            tuple(Opinions(index, source.probs[rows]) for source in self.sources),
        )

    def select(self, settings: Sequence[Setting]) -> Elicited:
        """The named settings, in the order named; ``CalibError`` where one is missing."""
        missing = [str(setting) for setting in settings if setting not in self.settings]
        if missing:
            raise CalibError(
                f"every source of the model must be in the table; missing {', '.join(missing)}; "
                f"the table has {', '.join(map(str, self.settings))}"
            )
        places = [self.settings.index(setting) for setting in settings]
        return Elicited(tuple(settings), tuple(self.sources[place] for place in places))


def close(
    shares: Float[np.ndarray, "*batch option"], mask: Bool[np.ndarray, "*batch option"]
) -> Float[np.ndarray, "*batch option"]:
    """Shares divided by their sum over the mask, zero off it.

    A row without any mass has no shares: it comes back NaN on the mask.

    >>> close(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]]))
    array([[0.25, 0.75, 0.  ]])
    """
    kept = np.where(mask, shares, 0.0)
    total = kept.sum(axis=-1, keepdims=True)
    closed = np.divide(kept, total, out=np.full_like(kept, np.nan), where=total > 0)
    return np.where(mask, closed, 0.0)
