"""Which labels recur, and how a block numbers them."""

from __future__ import annotations

import numpy as np

from calib.blocks import Block, recurrent_labels
from calib.opinions import Index
from calib.survey import Group, Option, Question


def test_labels_count_where_two_questions_have_them() -> None:
    def question(number: int, *labels: str) -> Question:
        options = tuple(Option(place, label, float(place)) for place, label in enumerate(labels))
        return Question("s", f"q{number}", "?", "ordinal", options)

    asked = [
        question(1, "A lot", "Some", "None"),
        question(2, "a  LOT", "A little"),
        question(3, "Some", "some"),
    ]
    # “Some” twice in one question is one question that has it.
    assert recurrent_labels(asked) == ("", "a lot", "some")
    assert recurrent_labels(asked[2:]) == ("",)
    mask = np.array([[True, True, True], [True, True, False], [True, True, False]])
    index = Index(tuple(asked), (Group("A", "a"),), np.arange(3), np.zeros(3, int), mask)
    label = Block(index, recurrent_labels(asked)).covariates(np.zeros((1, 3, 3))).label
    np.testing.assert_array_equal(label, [[1, 2, 0], [1, 0, 0], [2, 2, 0]])
