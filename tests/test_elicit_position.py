"""Position effects of models whose bias is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calib.errors import CalibError
from calib.survey import Group, Option, Question
from elicit.fake import FakeClient
from elicit.methods import Answer, Display
from elicit.position import position_effects, reversal_distance
from elicit.prompt import Order, OrderScheme
from elicit.run import elicit_logprob
from elicit.types import Outcome, Reply

BIAS = (0.8, 0.1, -0.6)
BIASED = np.exp(BIAS) / np.exp(BIAS).sum()


def question(name: str, n_options: int) -> Question:
    options = tuple(Option(place, f"{name}{place}", float(place)) for place in range(n_options))
    return Question("survey", name, f"How much of {name}?", "ordinal", options)


def answers(client: FakeClient, orders: OrderScheme, *questions: Question) -> tuple[Answer, ...]:
    return elicit_logprob(questions, [Group("party", "A")], [client], orders=orders).answers


def steep(_prompt: str, label: str) -> float:
    """Each option far from its neighbours, so that bias and opinion interact."""
    return 0.9 * int(label[-1])


@pytest.mark.parametrize("scheme", ["rotations", "all"])
def test_a_pure_position_bias_is_found_as_it_is(scheme: OrderScheme) -> None:
    (found,) = position_effects(answers(FakeClient(position_bias=BIAS), scheme, question("q", 3)))
    np.testing.assert_allclose(found.mean_share, BIASED, rtol=1e-12)
    np.testing.assert_allclose(found.effect, BIASED - 1 / 3, rtol=1e-9)
    assert (found.n_options, found.n_answers) == (3, 1)


@pytest.mark.parametrize("scheme", ["rotations", "all", "both"])
def test_opinions_are_no_position_effect(scheme: OrderScheme) -> None:
    (found,) = position_effects(answers(FakeClient(steep), scheme, question("q", 3)))
    effect = found.effect[~np.isnan(found.effect)]
    np.testing.assert_allclose(effect, 0, atol=1e-12)
    # In one direction and back the middle never moves: nothing is known of its position.
    assert np.isnan(found.effect).tolist() == [False, scheme == "both", False]


def test_one_order_says_nothing_about_position() -> None:
    (found,) = position_effects(answers(FakeClient(steep), "given", question("q", 3)))
    assert np.isnan(found.effect).all()
    assert found.mean_share.sum() == pytest.approx(1)


def test_questions_of_different_lengths_are_kept_apart() -> None:
    client = FakeClient(position_bias=BIAS)
    found = position_effects(
        answers(client, "rotations", question("q", 3), question("r", 2), question("s", 3))
    )
    assert [(effect.n_options, effect.n_answers) for effect in found] == [(2, 1), (3, 2)]


def test_turning_the_list_round_in_closed_form() -> None:
    asked = answers(FakeClient(position_bias=BIAS), "all", question("q", 3))
    expected = 0.5 * np.abs(BIASED - BIASED[::-1]).sum()
    assert reversal_distance(asked, "given") == pytest.approx(expected, rel=1e-12)
    assert reversal_distance(asked, "reversed") == pytest.approx(expected, rel=1e-12)
    assert reversal_distance(asked, "rotations") == pytest.approx(0, abs=1e-12)


def test_averaging_leaves_less_where_bias_and_opinion_interact() -> None:
    asked = answers(FakeClient(steep, position_bias=BIAS), "all", question("q", 3))
    left = reversal_distance(asked, "rotations")
    assert 1e-6 < left < 0.2 * reversal_distance(asked, "given")


def test_a_model_without_bias_stays_where_it_is() -> None:
    asked = answers(FakeClient(steep), "all", question("q", 3))
    assert reversal_distance(asked, "given") == pytest.approx(0, abs=1e-12)


def test_orders_that_were_not_asked_are_refused() -> None:
    asked = answers(FakeClient(), "rotations", question("q", 3))
    with pytest.raises(CalibError, match=r"'q' was not asked in the order \(2, 1, 0\)"):
        reversal_distance(asked, "given")


def test_unanswered_cells_are_left_out() -> None:
    client = FakeClient(position_bias=BIAS, faults={0: Reply("failed")})
    asked = answers(client, "both", question("q", 3), question("r", 3))
    (found,) = position_effects(asked)
    assert found.n_answers == 1
    assert reversal_distance(asked, "given") > 0.1
    assert math.isnan(reversal_distance(asked[:1], "given"))
    assert position_effects(asked[:1]) == []


def test_several_draws_of_an_order_count_as_their_mean() -> None:
    first, second, third = (0.5, 0.3, 0.2), (0.3, 0.3, 0.4), (0.6, 0.2, 0.2)

    def draw(order: Order, shares: tuple[float, ...] | None) -> Display:
        outcome: Outcome = "answered" if shares else "unparsable"
        return Display(order, outcome, np.array(shares or [np.nan] * 3))

    given, turned = (0, 1, 2), (2, 1, 0)
    drawn = [draw(given, first), draw(given, second), draw(turned, third), draw(turned, None)]
    answer = Answer(question("q", 3), Group("party", "A"), tuple(drawn))
    assert answer.outcome == "answered"
    # Means by order: (0.4, 0.3, 0.3) and (0.6, 0.2, 0.2).
    np.testing.assert_allclose(answer.shares, [0.5, 0.25, 0.25])
    assert reversal_distance([answer], "given") == pytest.approx(0.2)
    (found,) = position_effects([answer])
    np.testing.assert_allclose(found.mean_share, [0.3, 0.25, 0.45])
    np.testing.assert_allclose(found.effect, [-0.075, np.nan, 0.075])
