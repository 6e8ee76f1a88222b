"""The fake answers every elicitation with the shares that it was given."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from elicit.fake import DRAWN, FakeClient
from elicit.types import Message, Reply, Request

PROMPT = "Question: More?\nA. less\nB. more\nAnswer:"
MORE = 0.8
"""Share of the second option."""


def wants_more(_prompt: str, label: str) -> float:
    return float(np.log(MORE / (1 - MORE))) if label == "more" else 0.0


def request(text: str = PROMPT, **fields: Any) -> Request:
    return Request("fake", (Message("user", text),), "t/1", **fields)


def ask(client: FakeClient, one: Request) -> Reply:
    return asyncio.run(client.complete(one))


def schema(**properties: object) -> str:
    return json.dumps({"type": "object", "properties": properties})


def test_letters_are_drawn_from_the_shares() -> None:
    client = FakeClient(wants_more)
    replies = [ask(client, request(temperature=1.0, draw=draw)) for draw in range(500)]
    drawn = Counter(reply.text for reply in replies)
    # Three standard errors of 500 draws.
    assert drawn["B"] / 500 == pytest.approx(MORE, abs=3 * np.sqrt(MORE * (1 - MORE) / 500))
    assert drawn.keys() == {"A", "B"}
    again = [ask(client, request(temperature=1.0, draw=draw)) for draw in range(500)]
    assert again == replies


def test_at_temperature_0_the_likeliest() -> None:
    assert {ask(FakeClient(wants_more), request(temperature=0.0, draw=draw)).text
            for draw in range(20)} == {"B"}  # fmt: skip


def test_percentages_where_the_schema_has_letters() -> None:
    form = schema(A={"type": "number"}, B={"type": "number"})
    reply = ask(FakeClient(wants_more), request(temperature=1.0, json_schema=form))
    assert json.loads(reply.text) == pytest.approx({"A": 20.0, "B": 80.0})


@pytest.mark.parametrize(("part", "length"), [({}, DRAWN), ({"minItems": 7}, 7)])
def test_drawn_letters_where_the_schema_has_a_list(part: dict[str, int], length: int) -> None:
    form = schema(answers={"type": "array"} | part)
    client = FakeClient(wants_more)
    lists = [
        json.loads(ask(client, request(temperature=1.0, json_schema=form, draw=draw)).text)
        for draw in range(20)
    ]
    letters = [letter for one in lists for letter in one["answers"]]
    assert len(letters) == 20 * length
    share = letters.count("B") / len(letters)
    assert share == pytest.approx(MORE, abs=3 * np.sqrt(MORE * (1 - MORE) / len(letters)))


def test_log_probabilities_of_the_shares() -> None:
    reply = ask(FakeClient(wants_more, mass=0.9), request(temperature=0.0, top_logprobs=20))
    of_b = sum(np.exp(one.logprob) for one in reply.first_token if "B" in one.token)
    assert of_b == pytest.approx(0.9 * MORE)
    assert reply.text == reply.first_token[0].token == "B"


def test_without_options_it_says_something() -> None:
    for fields in ({}, {"temperature": 1.0}, {"top_logprobs": 5}):
        reply = ask(FakeClient(), request("Hello?", **fields))
        assert (reply.outcome, reply.text) == ("answered", "The")


def test_words_are_counted_as_tokens() -> None:
    reply = ask(FakeClient(), request())
    assert (reply.tokens_in, reply.tokens_out) == (len(PROMPT.split()), 1)
