"""Rows laid out as [question, slot]: the groups asked a question side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from calib.formulas import Covariates, peer_roots
from calib.opinions import Index
from calib.survey import Question, Shape

NO_LABEL: Final = ""
"""Stands first among recurrent labels, for options whose label is none of them."""


def label_of(text: str) -> str:
    """An option's label as it is compared: without case and surplus space."""
    return " ".join(text.casefold().split())


def recurrent_labels(questions: Iterable[Question]) -> tuple[str, ...]:
    """Labels of options of two or more of the questions, sorted, after ``NO_LABEL``."""
    found = Counter(
        label for q in questions for label in {label_of(option.label) for option in q.options}
    )
    return (NO_LABEL, *sorted(label for label, count in found.items() if count > 1 and label))


class Block:
    """Where each row of an index goes, and what is known of the questions' scales.

    ``labels`` are those to be numbered, from ``recurrent_labels`` of the training questions.
    ``n_questions`` and ``n_shapes`` may be more than there are: the rest is padding, so that
    folds of one table have arrays of one shape.
    """

    def __init__(
        self,
        index: Index,
        labels: Sequence[str],
        n_questions: int | None = None,
        n_shapes: int | None = None,
    ) -> None:
        self.index = index
        self.labels = tuple(labels)
        self.n_questions = n_questions or len(index.questions)
        self.question: Int[np.ndarray, " row"] = index.question_of_row
        order = np.argsort(self.question, kind="stable")
        sizes = np.bincount(self.question, minlength=len(index.questions))
        self.n_slots = int(sizes.max())
        self.slot = np.empty_like(self.question)
        starts = np.cumsum(sizes) - sizes
        self.slot[order] = np.arange(len(index)) - starts[self.question[order]]
        self.shapes: list[Shape] = sorted({question.shape for question in index.questions})
        self.n_shapes = n_shapes or len(self.shapes)

    def of_rows(self, values: np.ndarray) -> np.ndarray:
        """Row values [row, …] in the block [question, slot, …]; zero in empty slots."""
        block = np.zeros((self.n_questions, self.n_slots, *values.shape[1:]), values.dtype)
        block[self.question, self.slot] = values
        return block

    def covariates(self, probs: Float[np.ndarray, "source row option"]) -> Covariates:
        """The regression's covariates; groups and shapes numbered as here."""
        index = self.index
        place = np.zeros((self.n_questions, index.mask.shape[1]))
        exists = np.zeros(place.shape, dtype=bool)
        shape = np.zeros(self.n_questions, dtype=int)
        label = np.zeros(place.shape, dtype=int)
        number_of = {one: number for number, one in enumerate(self.labels)}
        for q, question in enumerate(index.questions):
            exists[q, : len(question.options)] = True
            shape[q] = self.shapes.index(question.shape)
            for option, one in enumerate(question.options):
                label[q, option] = number_of.get(label_of(one.label), 0)
            if question.ordered:
                place[q, : len(question.options)] = question.places - 0.5
        square = np.square(place)
        mean = square.sum(axis=1, keepdims=True) / np.maximum(exists.sum(axis=1, keepdims=True), 1)
        attributes = sorted({group.attribute for group in index.groups})
        attribute = np.array([attributes.index(group.attribute) for group in index.groups])
        mask = self.of_rows(index.mask)
        return Covariates(
            probs=np.stack([self.of_rows(source) for source in probs]),
            mask=mask,
            group=self.of_rows(index.group_of_row),
            peers=peer_roots(self.of_rows(attribute[index.group_of_row]), mask),
            place=place,
            curve=np.where(exists, square - mean, 0.0),
            shape=shape,
            label=label,
        )
