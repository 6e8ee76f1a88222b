"""Log-probability elicitation against distributions known from the fake model."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from calib.survey import Group, Option, Question
from elicit.fake import FakeClient
from elicit.methods import Answer, make_method, read_letters
from elicit.prompt import OrderScheme
from elicit.types import Outcome, Reply, TokenLogprob

GROUP = Group("party", "Democrat")
QUESTION = Question(
    "survey",
    "q1",
    "How much?",
    "ordinal",
    (Option(0, "less", 1.0), Option(1, "same", 2.0), Option(2, "more", 3.0)),
)
PREFERRED = {"less": 1.0, "same": 0.0, "more": -0.5}
TRUTH = np.exp([1.0, 0.0, -0.5]) / np.exp([1.0, 0.0, -0.5]).sum()
BIAS = (0.8, 0.1, -0.6)


def opinionated(_prompt: str, label: str) -> float:
    return PREFERRED[label]


def ask(client: FakeClient, scheme: OrderScheme, top_logprobs: int = 20) -> Answer:
    method = make_method(
        "logprob", "sd-qa", model=client.model, orders=scheme, top_logprobs=top_logprobs
    )
    asked = method.ask(QUESTION, GROUP)
    replies = [asyncio.run(client.complete(one.request)) for one in asked]
    return method.read(QUESTION, GROUP, asked, replies)


def reply(**tokens: float) -> Reply:
    return Reply(
        "answered",
        first_token=tuple(TokenLogprob(token, math.log(p)) for token, p in tokens.items()),
    )


@pytest.mark.parametrize("scheme", ["given", "reversed", "both", "rotations", "all"])
def test_without_bias_every_order_gives_the_opinion(scheme: OrderScheme) -> None:
    answer = ask(FakeClient(opinionated), scheme)
    assert answer.outcome == "answered"
    np.testing.assert_allclose(answer.shares, TRUTH, rtol=1e-12)
    for display in answer.displays:
        np.testing.assert_allclose(display.shares, TRUTH, rtol=1e-12)
        assert display.captured == pytest.approx(0.8)
        assert display.unseen == 0


def test_each_display_is_mapped_back_to_the_surveys_order() -> None:
    answer = ask(FakeClient(opinionated, position_bias=BIAS), "all")
    for display in answer.displays:
        position = np.argsort(display.order)
        weights = np.exp(np.array([1.0, 0.0, -0.5]) + np.array(BIAS)[position])
        np.testing.assert_allclose(display.shares, weights / weights.sum(), rtol=1e-12)
    expected = np.mean([display.shares for display in answer.displays], axis=0)
    np.testing.assert_allclose(answer.shares, expected, rtol=1e-12)


def test_one_order_keeps_the_position_bias_that_balanced_orders_lose() -> None:
    uniform = np.full(3, 1 / 3)
    biased = FakeClient(position_bias=BIAS)
    for scheme in ("rotations", "all"):
        np.testing.assert_allclose(ask(biased, scheme).shares, uniform, rtol=1e-12)
    assert np.abs(ask(biased, "given").shares - uniform).max() > 0.1
    # The middle of three is in the middle in both directions: its bias stays.
    assert np.abs(ask(biased, "both").shares - uniform).max() > 0.01


def test_all_spellings_of_a_letter_count_and_nothing_else() -> None:
    display = read_letters(
        reply(**{"A": 0.2, " A": 0.1, "▁B": 0.1, "(B": 0.05, "B.": 0.05, "a": 0.3, "AB": 0.1}),
        (0, 1),
    )
    np.testing.assert_allclose(display.shares, [0.6, 0.4], rtol=1e-12)
    assert display.captured == pytest.approx(0.5)


def test_letters_beyond_the_options_are_not_answers() -> None:
    display = read_letters(reply(A=0.2, B=0.2, C=0.4), (1, 0))
    np.testing.assert_allclose(display.shares, [0.5, 0.5])
    assert display.captured == pytest.approx(0.4)


def test_a_letter_that_was_not_returned_counts_as_zero_and_is_counted() -> None:
    display = read_letters(reply(B=0.5, The=0.2), (2, 0, 1))
    assert display.shares.tolist() == [1.0, 0.0, 0.0]
    assert display.unseen == 2
    short = ask(FakeClient(opinionated), "given", top_logprobs=1)
    assert short.displays[0].unseen == 2


def test_no_letter_at_all_is_unparsable() -> None:
    display = read_letters(reply(The=0.5, I=0.2), (0, 1, 2))
    assert display.outcome == "unparsable"
    assert np.isnan(display.shares).all()
    assert display.captured == 0
    assert "'The'" in display.detail


def test_a_reply_without_logprobs_failed() -> None:
    display = read_letters(Reply("answered", text="A"), (0, 1, 2))
    assert display.outcome == "failed"
    assert "no log-probabilities" in display.detail
    assert math.isnan(display.captured)


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_one_missing_display_leaves_the_cell_unanswered(outcome: Outcome) -> None:
    client = FakeClient(opinionated, faults={1: Reply(outcome, detail="no")})
    answer = ask(client, "rotations")
    assert answer.outcome == outcome
    assert np.isnan(answer.shares).all()
    assert [display.outcome for display in answer.displays] == ["answered", outcome, "answered"]
    assert answer.displays[1].detail == "no"


def test_the_worst_outcome_is_the_cells() -> None:
    faults = {0: Reply("failed"), 1: Reply("refused"), 2: reply(The=1.0)}
    assert ask(FakeClient(faults=faults), "rotations").outcome == "failed"
    del faults[0]
    assert ask(FakeClient(faults=faults), "rotations").outcome == "refused"


def test_what_is_asked_of_the_client() -> None:
    client = FakeClient(model="some-model")
    ask(client, "both", top_logprobs=7)
    assert len(client.requests) == 2
    assert len({request.key for request in client.requests}) == 2
    for request in client.requests:
        assert request.model == "some-model"
        assert request.template == "sd-qa/1"
        assert (request.max_tokens, request.temperature, request.top_logprobs) == (1, 0.0, 7)


def test_the_fake_is_the_same_for_the_same_seed_whatever_the_order_of_calls() -> None:
    first = ask(FakeClient(noise=0.5, seed=3), "rotations").shares
    client = FakeClient(noise=0.5, seed=3)
    ask(client, "reversed")
    np.testing.assert_array_equal(ask(client, "rotations").shares, first)
    assert np.abs(ask(FakeClient(noise=0.5, seed=4), "rotations").shares - first).max() > 1e-3
