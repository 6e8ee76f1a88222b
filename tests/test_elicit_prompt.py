"""Prompts and option orders: what is shown, in which order, and what is refused."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import pytest

from calib.errors import CalibError
from calib.survey import Group, Option, Question
from elicit.prompt import Order, OrderScheme, messages, option_orders
from elicit.template import load_template
from elicit.types import Message

GROUP = Group("party", "Democrat")


def question(*labels: str, unknown: int = 0) -> Question:
    kinds = ["substantive"] * (len(labels) - unknown) + ["dont_know"] * unknown
    options = tuple(
        Option(place, label, float(place), kind)  # type: ignore[arg-type]
        for place, (label, kind) in enumerate(zip(labels, kinds, strict=True))
    )
    return Question("survey", "q1", "How much is right?", "ordinal", options)


def persona_messages(
    asked: Question, group: Group, order: Order, wordings: dict[str, str]
) -> tuple[Message, ...]:
    return messages(load_template("sd-qa"), "logprob", asked, group, order, wordings=wordings)


SPENDING = question("Too little", "About right", "Too much")


def test_the_persona_is_a_question_already_answered() -> None:
    wordings = {"party": "Which party do you prefer?"}
    system, user = persona_messages(SPENDING, GROUP, (2, 0, 1), wordings)
    assert system.role == "system"
    assert user.content == (
        "Question: Which party do you prefer?\nAnswer: Democrat\n\n"
        "Answer the next question as the same person.\n\n"
        "Question: How much is right?\nA. Too much\nB. Too little\nC. About right\nAnswer:"
    )


def test_an_attribute_without_wording_is_asked_by_its_name() -> None:
    _, user = persona_messages(SPENDING, GROUP, (0, 1, 2), {})
    assert user.content.startswith("Question: What is your party?\nAnswer: Democrat\n")


def test_prompts_of_two_orders_share_all_up_to_the_options() -> None:
    first, second = (
        persona_messages(SPENDING, GROUP, order, {})[1].content for order in ((0, 1, 2), (1, 2, 0))
    )
    start = first.index("A. ")
    assert first[:start] == second[:start]


def test_a_label_stays_on_its_own_line() -> None:
    sly = question("yes\nB. no", "no")
    _, user = persona_messages(sly, GROUP, (0, 1), {})
    assert re.findall(r"^[A-Z]\. .*$", user.content, re.MULTILINE) == ["A. yes B. no", "B. no"]


def test_braces_in_texts_are_only_text() -> None:
    _, user = persona_messages(question("{0}", "{options}"), Group("{a}", "{b}"), (0, 1), {})
    assert "Answer: {b}" in user.content
    assert "A. {0}\nB. {options}" in user.content


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (0, 1, 3), (0, 1, 2, 3)])
def test_an_order_must_be_a_permutation(order: tuple[int, ...]) -> None:
    with pytest.raises(CalibError, match="each of the 3 options"):
        persona_messages(SPENDING, GROUP, order, {})


def test_more_options_than_letters_are_refused() -> None:
    many = question(*(f"option {number}" for number in range(27)))
    with pytest.raises(CalibError, match="at most 26 options; question 'q1' has 27"):
        persona_messages(many, GROUP, tuple(range(27)), {})


def test_schemes() -> None:
    assert option_orders(SPENDING, "given") == ((0, 1, 2),)
    assert option_orders(SPENDING, "reversed") == ((2, 1, 0),)
    assert option_orders(SPENDING, "both") == ((0, 1, 2), (2, 1, 0))
    assert set(option_orders(SPENDING, "all")) == set(permutations(range(3)))


@pytest.mark.parametrize("scheme", ["rotations", "all"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_each_option_stands_equally_often_in_each_position(scheme: OrderScheme, n: int) -> None:
    orders = option_orders(question(*"abcd"[:n]), scheme)
    seen = Counter((place, order.index(place)) for order in orders for place in range(n))
    assert len(seen) == n * n
    assert len(set(seen.values())) == 1


def test_both_is_not_balanced_for_three() -> None:
    orders = option_orders(SPENDING, "both")
    assert {order.index(1) for order in orders} == {1}


@pytest.mark.parametrize("scheme", ["given", "reversed", "both", "rotations", "all"])
def test_dont_know_stays_last(scheme: OrderScheme) -> None:
    asked = question("a", "b", "c", "Don't know", unknown=1)
    assert {order[-1] for order in option_orders(asked, scheme)} == {3}


def test_refused_schemes() -> None:
    with pytest.raises(CalibError, match="one of given, reversed, both, rotations, all, permuted"):
        option_orders(SPENDING, "shuffled")
    with pytest.raises(CalibError, match="at most 4 options"):
        option_orders(question(*"abcde"), "all")
