"""Costs by hand, and limits that hold whatever comes back."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.budget import Meter, MeteredClient, Prices, estimate_tokens
from elicit.fake import FakeClient
from elicit.types import Message, Reply, Request

PRICES = Prices(tokens_in=1.0, tokens_out=10.0)


def request(number: int = 0, *, max_tokens: int | None = 100) -> Request:
    text = f"{number:>400}"  # 100 tokens, by four characters a token
    return Request("m", (Message("user", text),), "test/1", max_tokens=max_tokens)


class Counting:
    """A client whose every reply says the same of its tokens."""

    model = "m"

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.calls = 0

    async def complete(self, _request: Request) -> Reply:
        self.calls += 1
        return self.reply


def ask(client: MeteredClient, count: int) -> list[Reply]:
    async def all_in_turn() -> list[Reply]:
        return [await client.complete(request(number)) for number in range(count)]

    return asyncio.run(all_in_turn())


def test_cost_is_tokens_times_prices() -> None:
    assert PRICES.cost(1_000_000, 0) == 1
    assert PRICES.cost(500_000, 100_000) == pytest.approx(1.5)


def test_estimates_follow_the_length_and_the_room_for_the_reply() -> None:
    tokens_in, tokens_out = estimate_tokens(request())
    assert 100 <= tokens_in <= 110
    assert tokens_out == 100
    assert estimate_tokens(request(max_tokens=None))[1] == 500


def test_calls_and_tokens_are_counted_as_the_endpoint_says() -> None:
    meter = Meter(prices=PRICES)
    client = MeteredClient(Counting(Reply("answered", tokens_in=200, tokens_out=30)), meter)
    ask(client, 3)
    assert (meter.calls, meter.calls_failed, meter.calls_without_usage) == (3, 0, 0)
    assert (meter.tokens_in, meter.tokens_out) == (600, 90)
    assert meter.cost == pytest.approx((600 + 900) / 1e6)


def test_where_the_endpoint_counts_nothing_the_estimate_stands_and_is_counted() -> None:
    meter = Meter(prices=PRICES)
    ask(MeteredClient(Counting(Reply("answered")), meter), 2)
    assert meter.calls_without_usage == 2
    assert meter.tokens_out == 200


def test_failed_calls_cost_nothing_but_count() -> None:
    meter = Meter(prices=PRICES)
    ask(MeteredClient(Counting(Reply("failed")), meter), 2)
    assert (meter.calls, meter.calls_failed, meter.cost) == (2, 2, 0.0)


def test_cost_without_prices_is_unknown() -> None:
    meter = Meter()
    ask(MeteredClient(Counting(Reply("answered")), meter), 1)
    assert math.isnan(meter.cost)


def test_no_call_beyond_the_most() -> None:
    inner = Counting(Reply("answered"))
    meter = Meter(max_calls=3)
    replies = ask(MeteredClient(inner, meter), 5)
    assert inner.calls == meter.calls == 3
    assert [reply.outcome for reply in replies] == ["answered"] * 3 + ["failed"] * 2
    assert "3 calls were made, the most allowed" in meter.stopped


@given(
    max_cost=st.floats(1e-5, 1e-2),
    used=st.lists(st.tuples(st.integers(0, 105), st.integers(0, 100)), min_size=1, max_size=30),
    at_once=st.integers(1, 8),
)
def test_the_most_cost_is_never_exceeded(
    max_cost: float, used: list[tuple[int, int]], at_once: int
) -> None:
    """Whatever replies use within what their requests allow, and however many run at once."""
    meter = Meter(prices=PRICES, max_cost=max_cost)
    under_way: list[tuple[Request, Reply]] = []
    for number, (tokens_in, tokens_out) in enumerate(used):
        asked = request(number)
        if not meter.begin(asked):
            break
        under_way.append((asked, Reply("answered", tokens_in=min(tokens_in, 104),
                                       tokens_out=tokens_out)))  # fmt: skip
        if len(under_way) == at_once:
            meter.end(*under_way.pop(0))
    for done in under_way:
        meter.end(*done)
    assert meter.cost <= max_cost


def test_the_name_is_the_models() -> None:
    assert MeteredClient(FakeClient(model="name"), Meter()).model == "name"
