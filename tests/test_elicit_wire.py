"""What is sent and what is read, in the shapes that servers are known to have."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.types import Capabilities, Message, Request, TokenLogprob
from elicit.wire import (
    QUOTED,
    body_of,
    first_tokens,
    other_limit,
    parsed,
    read_answer,
    read_error,
    seconds_to_wait,
)

REQUEST = Request(
    "m",
    (Message("system", "S"), Message("user", "U")),
    "t/1",
    max_tokens=7,
    temperature=0.7,
    top_logprobs=20,
    draw=3,
    json_schema='{"type":"object"}',
)
ALL = Capabilities(top_logprobs=20, json_schema=True, seed=True)


def test_everything_is_sent_where_everything_can_be_done() -> None:
    assert body_of(REQUEST, capabilities=ALL) == {
        "model": "m",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        "max_tokens": 7,
        "temperature": 0.7,
        "logprobs": True,
        "top_logprobs": 20,
        "seed": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
        },
    }


def test_what_an_endpoint_cannot_do_is_left_out() -> None:
    nothing = Capabilities(temperature=False)
    body = body_of(REQUEST, capabilities=nothing, token_limit="max_completion_tokens")
    assert set(body) == {"model", "messages", "max_completion_tokens"}
    few = body_of(REQUEST, capabilities=Capabilities(top_logprobs=5))
    assert few["top_logprobs"] == 5


def test_of_an_unknown_endpoint_schema_and_seed_are_not_asked() -> None:
    body = body_of(REQUEST)
    assert {"temperature", "logprobs", "top_logprobs"} < set(body)
    assert {"seed", "response_format", "n"}.isdisjoint(body)
    assert set(body_of(Request("m", REQUEST.messages, "t/1"))) == {"model", "messages"}


def test_text_completions_have_a_prompt_and_a_number_of_logprobs() -> None:
    body = body_of(REQUEST, api="completions", token_limit="max_completion_tokens")
    assert body == {
        "model": "m",
        "prompt": "S\n\nU",
        "max_tokens": 7,
        "temperature": 0.7,
        "logprobs": 20,
    }


def chat(**choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "A"}
    return {"choices": [{"message": message, "finish_reason": "stop"} | choice]}


def test_a_chat_answer() -> None:
    listed = [{"token": "B", "logprob": -2.0}, {"token": "A", "logprob": -0.5}]
    answer = chat(logprobs={"content": [{"token": "A", "top_logprobs": listed}]})
    answer["usage"] = {"prompt_tokens": 9, "completion_tokens": 1}
    reply = read_answer(answer)
    assert (reply.outcome, reply.text, reply.finish) == ("answered", "A", "stop")
    assert (reply.tokens_in, reply.tokens_out) == (9, 1)
    assert reply.first_token == (TokenLogprob("A", -0.5), TokenLogprob("B", -2.0))


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        (None, ()),
        ({"content": None}, ()),
        ({"content": []}, ()),
        ({"content": [{"token": "A", "logprob": -1, "top_logprobs": []}]}, ()),
        # OpenAI and vLLM completions: a dict for each position.
        (
            {"tokens": ["A"], "top_logprobs": [{" B": -3.0, "A": -1.0}]},
            (TokenLogprob("A", -1.0), TokenLogprob(" B", -3.0)),
        ),
        ({"tokens": ["A"], "token_logprobs": [-1.0], "top_logprobs": None}, ()),
        ({"top_logprobs": [None]}, ()),
        # llama.cpp has the chat's shape for completions; vLLM says -9999 for nearly never.
        (
            {"content": [{"top_logprobs": [{"token": "A", "logprob": -9999.0}]}]},
            (TokenLogprob("A", -9999.0),),
        ),
        (
            {"content": [{"top_logprobs": [{"token": "A", "logprob": None}, {"token": "B"}]}]},
            (),
        ),
        ({"top_logprobs": [{"A": math.nan, "B": -1}]}, (TokenLogprob("B", -1.0),)),
    ],
)
def test_log_probabilities_in_every_shape(logprobs: Any, expected: Any) -> None:
    assert first_tokens(logprobs) == expected
    assert read_answer(chat(logprobs=logprobs)).first_token == expected
    text = {"choices": [{"text": " A", "logprobs": logprobs, "finish_reason": "length"}]}
    reply = read_answer(text)
    assert (reply.text, reply.first_token, reply.finish) == (" A", expected, "length")


def test_contents_of_parts_and_of_nothing() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}, {"type": "other"}]
    assert read_answer(chat(message={"content": parts})).text == "AB"
    # A reasoning model that used up its tokens before it said anything.
    empty = read_answer(chat(message={"content": None}, finish_reason="length"))
    assert (empty.outcome, empty.text, empty.finish) == ("answered", "", "length")


def test_refusals() -> None:
    declined = read_answer(chat(message={"content": None, "refusal": "I can't."}))
    assert (declined.outcome, declined.text) == ("refused", "I can't.")
    filtered = read_answer(chat(finish_reason="content_filter"))
    assert (filtered.outcome, filtered.text) == ("refused", "A")
    azure = read_error(400, {"error": {"code": "content_filter", "message": "policy"}})
    assert azure.outcome == "refused" and "policy" in azure.detail


@pytest.mark.parametrize(
    "answer",
    ["<html>Bad Gateway</html>", "", None, [], {}, {"choices": []}, {"choices": None}, 3,
     {"choices": [{"text": 3}]}, {"choices": [{"message": "A"}]}, {"choices": [{}]}],
)  # fmt: skip
def test_answers_of_another_form_may_pass(answer: object) -> None:
    reply = read_answer(answer)
    assert reply.outcome == "failed" and reply.transient
    assert "not of the OpenAI form" in reply.detail


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "logprobs", "top_logprobs", "error", "usage",
                     "text", "token", "logprob", "refusal", "finish_reason", "code"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_no_json_is_too_odd(answer: Any) -> None:
    for given_answer in (answer, {"choices": [answer]}, chat(message=answer, logprobs=answer)):
        assert read_answer(given_answer).outcome in ("answered", "refused", "failed")
    for status in (400, 429, 500):
        assert read_error(status, answer).outcome in ("refused", "failed")
    other_limit(answer, "max_tokens")


def test_errors_sent_with_status_200() -> None:
    reply = read_answer({"error": {"code": 429, "message": "slow down"}})
    assert reply.outcome == "failed" and reply.transient and "slow down" in reply.detail
    assert read_answer({"error": "overloaded"}).transient


@pytest.mark.parametrize(
    ("status", "code", "transient", "says"),
    [
        (400, "", False, r"refused the request \(400\): the words"),
        (401, "", False, "give a valid key"),
        (403, "", False, "use another key or model"),
        (404, "model_not_found", False, "check the model's name and the base URL"),
        (408, "", True, "the words"),
        (413, "", False, "the words"),
        (422, "", False, "the words"),
        (429, "rate_limit_exceeded", True, "ask more slowly"),
        (429, "insufficient_quota", False, "out of money"),
        (500, "", True, "try again later"),
        (501, "", False, "the words"),
        (503, "", True, "the words"),
        (529, "", True, "the words"),
    ],
)
def test_errors(status: int, code: str, transient: bool, says: str) -> None:
    for body in (
        {"error": {"message": "the words", "code": code}},
        {"message": "the words", "code": code},
    ):
        reply = read_error(status, body, {"retry-after": "2"})
        assert reply.outcome == "failed"
        assert reply.transient is transient
        assert reply.retry_after == (2.0 if transient else None)
        assert re.search(says, reply.detail), reply.detail


def test_a_key_error_does_not_quote_the_endpoint() -> None:
    assert "sk-" not in read_error(401, {"error": {"message": "wrong key sk-abc"}}).detail


def test_long_errors_are_cut() -> None:
    reply = read_error(502, "<html>\n" + "x" * 10_000)
    assert "\n" not in reply.detail
    assert QUOTED < len(reply.detail) < QUOTED + 100


def test_seconds_to_wait() -> None:
    assert seconds_to_wait({}) is None
    assert seconds_to_wait({"retry-after": "3"}) == 3.0
    assert seconds_to_wait({"retry-after": "-3"}) == 0.0
    assert seconds_to_wait({"retry-after": "inf"}) is None
    assert seconds_to_wait({"retry-after": "3", "retry-after-ms": "250"}) == 0.25
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert seconds_to_wait({"retry-after": later}) == pytest.approx(100, abs=2)
    assert seconds_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}) == 0.0


@pytest.mark.parametrize(
    ("sent", "body", "expected"),
    [
        (
            "max_tokens",
            {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}},
            "max_completion_tokens",
        ),
        (
            "max_tokens",
            {"error": {"code": "unsupported_parameter", "param": "max_tokens", "message": "No."}},
            "max_completion_tokens",
        ),
        (
            "max_completion_tokens",
            {"code": "unsupported_parameter", "param": "max_completion_tokens"},
            "max_tokens",
        ),
        ("max_tokens", {"error": {"message": "max_tokens is too large: 9000"}}, None),
        (
            "max_tokens",
            {"error": {"code": "unsupported_parameter", "param": "temperature"}},
            None,
        ),
        ("max_tokens", "nonsense", None),
    ],
)
def test_the_token_limit_s_other_name(sent: Any, body: object, expected: str | None) -> None:
    assert other_limit(body, sent) == expected


def test_parsed() -> None:
    assert parsed('{"a": "\\ud83d"}') == {"a": "\ud83d"}
    assert parsed("{") == "{"
    assert json.dumps(parsed("[1]")) == "[1]"
