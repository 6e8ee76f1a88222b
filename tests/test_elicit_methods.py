"""Every elicitation against distributions that are known from the replies or the model."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

import numpy as np
import pytest

from calib.errors import CalibError
from calib.survey import Group, Option, Question
from elicit.fake import FakeClient
from elicit.methods import Answer, make_method, read_letters
from elicit.prompt import Example, OrderScheme
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


def read(elicitation: str, texts: list[str | Reply], **settings: Any) -> Answer:
    """The answer in replies given one after another to what a method asks."""
    method = make_method(elicitation, "sd-qa", model="m", **settings)
    asked = method.ask(QUESTION, GROUP)
    replies = [Reply("answered", text=text) if isinstance(text, str) else text for text in texts]
    return method.read(QUESTION, GROUP, asked, replies)


@pytest.mark.parametrize(
    ("elicitation", "n_requests", "temperature", "form"),
    [
        ("logprob", 1, 0.0, ""),
        ("verbalized", 3, 1.0, '"A":{"type":"number"}'),
        ("self_random", 5, 0.7, ""),
        ("paraphrase", 5, 0.7, ""),
        ("sequence", 1, 1.0, '"enum":["A","B","C"]'),
    ],
)
def test_what_each_elicitation_asks(
    elicitation: str, n_requests: int, temperature: float, form: str
) -> None:
    method = make_method(elicitation, "sd-qa", model="some-model", orders="both")
    asked = method.ask(QUESTION, GROUP)
    assert [one.order for one in asked] == n_requests * [(0, 1, 2)] + n_requests * [(2, 1, 0)]
    assert len({one.request.key for one in asked}) == 2 * n_requests
    assert method.ask(QUESTION, GROUP) == asked
    assert (method.elicitation, method.prompt) == (elicitation, "sd")
    assert method.needs == (frozenset({"logprobs"}) if elicitation == "logprob" else frozenset())
    for one in asked:
        assert (one.request.model, one.request.template) == ("some-model", "sd-qa/1")
        assert one.request.temperature == temperature
        assert one.request.max_tokens
        assert (one.request.top_logprobs is None) == (elicitation != "logprob")
        assert form in (one.request.json_schema or "")
        assert bool(one.request.json_schema) == bool(form)


def test_draws_are_numbered_and_rewordings_are_not_draws() -> None:
    def draws(elicitation: str, **settings: Any) -> list[int]:
        method = make_method(elicitation, "sd-qa", model="m", **settings)
        return [one.request.draw for one in method.ask(QUESTION, GROUP)]

    assert draws("self_random") == [0, 1, 2, 3, 4]
    assert draws("self_random", draws=2) == [0, 1]
    assert draws("paraphrase") == [0] * 5
    assert draws("paraphrase", draws=2) == [0, 1] * 5


def test_settings_reach_the_requests() -> None:
    method = make_method(
        "verbalized", "sd-qa", model="m", temperature=0.3, max_tokens=999, draws=1,
        wordings={"party": "Which party?"},
    )  # fmt: skip
    (asked,) = method.ask(QUESTION, GROUP)
    assert (asked.request.temperature, asked.request.max_tokens) == (0.3, 999)
    assert "Question: Which party?\nAnswer: Democrat" in asked.request.messages[1].content


def test_percentages_are_mapped_back_and_averaged() -> None:
    answer = read(
        "verbalized",
        ['{"A": 10, "B": 20, "C": 70}', '{"A": 0.3, "B": 0.2, "C": 0.5}',
         '{"A": 50, "B": 30, "C": 20}', "A: 70%\nB: 20%\nC: 9%"],
        orders="both", draws=2,
    )  # fmt: skip
    expected = [[0.1, 0.2, 0.7], [0.3, 0.2, 0.5], [0.2, 0.3, 0.5], [9 / 99, 20 / 99, 70 / 99]]
    for display, shares in zip(answer.displays, expected, strict=True):
        np.testing.assert_allclose(display.shares, shares, rtol=1e-12)
    assert [display.renormalised for display in answer.displays] == [False, False, False, True]
    assert [display.how for display in answer.displays] == ["json", "json", "json", "pattern"]
    np.testing.assert_allclose(answer.shares, np.mean(expected, axis=0), rtol=1e-12)
    assert math.isnan(answer.displays[0].captured)


def test_labels_name_options_whatever_their_order() -> None:
    answer = read(
        "verbalized", ['{"more": 70, "less": 10, "same": 20}'], orders="reversed", draws=1
    )
    np.testing.assert_allclose(answer.shares, [0.1, 0.2, 0.7], rtol=1e-12)


def test_single_answers_become_frequencies() -> None:
    answer = read("self_random", ["A", "(B)", "B. same", "more", '{"answer": "B"}'])
    np.testing.assert_allclose(answer.shares, [0.2, 0.6, 0.2], rtol=1e-12)
    turned = read("self_random", ["A", "A", "B", "more"], orders="both", draws=2)
    # A is "more" in the second order: A, A | B = same, more.
    np.testing.assert_allclose(turned.shares, [0.5, 0.25, 0.25], rtol=1e-12)


def test_thirty_answers_in_one_reply() -> None:
    text = (
        '{"answers": [' + ", ".join(15 * ['"A"'] + 9 * ['"B"'] + 3 * ['"C"'] + 3 * ['"?"']) + "]}"
    )
    answer = read("sequence", [text], orders="reversed")
    np.testing.assert_allclose(answer.shares, [3 / 27, 9 / 27, 15 / 27], rtol=1e-12)
    assert answer.displays[0].unread == 3


def test_a_paraphrase_changes_the_wording_alone() -> None:
    def texts(**settings: Any) -> list[str]:
        method = make_method("paraphrase", "sd-qa", model="m", **settings)
        asked = method.ask(QUESTION, GROUP)
        contents = [one.request.messages[1].content for one in asked]
        return [re.findall(r"^Question: (.*)$", content, re.M)[1] for content in contents]

    frames = texts()
    assert len(set(frames)) == 5
    assert all("How much?" in frame for frame in frames)
    own = [f"How {word}?" for word in ("many", "few", "big", "small", "{options}", "long")]
    assert texts(paraphrases={"q1": own, "q2": own}) == own
    assert texts(paraphrases={"q2": own}) == frames
    with pytest.raises(CalibError, match=r"at least 5 different paraphrases.*'q1' has 1"):
        texts(paraphrases={"q1": ["How?", "How?"]})


GOOD = '{"A": 10, "B": 20, "C": 70}'
OTHER = '{"A": 30, "B": 40, "C": 30}'


def test_half_of_the_draws_of_every_order_make_an_answer() -> None:
    answer = read("verbalized", [GOOD, "no", Reply("failed"), OTHER], orders="both", draws=2)
    assert answer.outcome == "answered"
    assert answer.dropped == 2
    np.testing.assert_allclose(answer.shares, [0.2, 0.3, 0.5], rtol=1e-12)
    # Orders weigh the same, however many of their draws were answered.
    uneven = read("verbalized", [GOOD, GOOD, OTHER, "no"], orders="both", draws=2)
    np.testing.assert_allclose(uneven.shares, [0.2, 0.3, 0.5], rtol=1e-12)
    assert uneven.dropped == 1


def test_less_than_half_of_one_order_leaves_the_cell_unanswered() -> None:
    replies: list[str | Reply] = [GOOD, "no", "no", GOOD, GOOD, GOOD]
    answer = read("verbalized", replies, orders="both", draws=3)
    assert answer.outcome == "unparsable"
    assert np.isnan(answer.shares).all()
    assert answer.dropped == 0
    replies[1] = Reply("refused", detail="filtered")
    assert read("verbalized", replies, orders="both", draws=3).outcome == "refused"
    assert read("verbalized", ["I cannot do that.", "no", GOOD], draws=3).outcome == "refused"


def test_why_a_draw_was_not_read() -> None:
    cut = Reply("answered", text='{"A": 10, "B"', finish="length")
    replies = [cut, Reply("refused", detail="filtered"), '{"A": 100}']
    details = [display.detail for display in read("verbalized", replies).displays]
    assert details[0].endswith("the reply was cut off: allow more tokens")
    assert details[1] == "filtered"
    assert details[2] == "no share for B, C"


def test_the_fakes_opinion_comes_back_by_every_elicitation() -> None:
    client = FakeClient(opinionated, seed=1)
    for elicitation, draws in (("logprob", 1), ("verbalized", 1), ("self_random", 400),
                               ("paraphrase", 80), ("sequence", 14)):  # fmt: skip
        method = make_method(
            elicitation, "sd-qa", model="fake", orders="both", draws=draws, temperature=1.0
        )
        asked = method.ask(QUESTION, GROUP)
        replies = [asyncio.run(client.complete(one.request)) for one in asked]
        answer = method.read(QUESTION, GROUP, asked, replies)
        # At least 800 answers where letters are drawn: standard deviation below 0.018.
        tolerance = 1e-6 if elicitation in ("logprob", "verbalized") else 0.08
        np.testing.assert_allclose(answer.shares, TRUTH, atol=tolerance)
        wrong = np.roll(TRUTH, 1)
        assert np.abs(answer.shares - wrong).max() > 0.2


def test_few_shot_shows_what_is_known_of_the_group() -> None:
    other = Question("s", "q2", "Older?", "binary", (Option(0, "Yes"), Option(1, "No")))
    examples = [Example(other, GROUP, (0.25, 0.75)), Example(QUESTION, GROUP, (1.0, 0.0, 0.0))]
    method = make_method("verbalized", "fewshot", model="m", examples=examples)
    assert method.prompt == "fewshot"
    assert method.examples_left_out(QUESTION, GROUP) == 1
    plain = make_method("verbalized", "sd-qa", model="m", examples=examples)
    assert plain.examples_left_out(QUESTION, GROUP) == 0
    content = method.ask(QUESTION, GROUP)[0].request.messages[1].content
    assert "- Yes: 25%\n- No: 75%" in content
    assert "100%" not in content
    with pytest.raises(CalibError, match="few-shot prompt"):
        method.ask(QUESTION, Group("party", "Republican"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"elicitation": "guess"}, "one of verbalized, self_random, paraphrase, logprob, sequence"),
        ({"orders": "shuffled"}, "orders must be one of given"),
        ({"draws": 0}, "draws is a whole number from 1; got 0"),
        ({"max_tokens": 0}, "max_tokens is a whole number"),
        ({"template": "nothing"}, "a template is one of base"),
    ],
)
def test_what_cannot_be_asked_is_refused_when_the_method_is_made(
    settings: dict[str, Any], told: str
) -> None:
    chosen = {"elicitation": "verbalized", "template": "sd-qa", "model": "m", **settings}
    with pytest.raises(CalibError, match=told):
        make_method(**chosen)
