"""Limits and repetitions in time that a test makes up."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from calib.errors import CalibError
from elicit.fake import FakeClient
from elicit.limits import Pace, PatientClient, estimate_tokens
from elicit.types import Client, Message, Reply, Request

DOWN = Reply("failed", detail="down", transient=True)


class Time:
    """A clock that goes on when nothing else can be done."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        await future

    def run(self, work: Awaitable[Any]) -> Any:
        async def driven() -> Any:
            task = asyncio.ensure_future(work)
            while not task.done():
                for _ in range(20):  # whatever can be done at this moment
                    await asyncio.sleep(0)
                if self._sleepers and not task.done():
                    self.now, _, future = heapq.heappop(self._sleepers)
                    future.set_result(None)
            return task.result()

        return asyncio.run(driven())


class Server:
    """Answers by script; notes when it was asked, and how many calls it had at a time."""

    model = "m"

    def __init__(
        self, time: Time, answer: Callable[[int], Reply] = lambda _: Reply("answered"),
        *, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        self.time = time
        self.answer = answer
        self.seconds = seconds
        self.moments: list[float] = []
        self.most = self.busy = 0

    async def complete(self, request: Request) -> Reply:
        number = len(self.moments)
        self.moments.append(self.time.now)
        self.busy += 1
        self.most = max(self.most, self.busy)
        if self.seconds:
            await self.time.sleep(self.seconds)
        self.busy -= 1
        return self.answer(number)


def request(number: int = 0, *, text: str = "Q", max_tokens: int | None = None) -> Request:
    return Request("m", (Message("user", text),), "t/1", draw=number, max_tokens=max_tokens)


def patient(server: Server, **settings: Any) -> PatientClient:
    return PatientClient(server, clock=server.time.clock, sleep=server.time.sleep, **settings)


def ask(client: PatientClient, server: Server, requests: list[Request]) -> list[Reply]:
    async def work() -> list[Reply]:
        return await asyncio.gather(*(client.complete(one) for one in requests))

    return server.time.run(work())


def most_in_a_minute(moments: list[float]) -> int:
    return max(sum(start <= other < start + 60 for other in moments) for start in moments)


def test_it_is_a_client() -> None:
    client = PatientClient(FakeClient(model="f"))
    assert isinstance(client, Client)
    assert client.model == "f"


def test_no_more_at_once_than_allowed() -> None:
    server = Server(Time(), seconds=1.0)
    ask(patient(server, at_once=3), server, [request(n) for n in range(10)])
    assert server.most == 3
    assert server.time.now == 4.0


@pytest.mark.parametrize("limit", [10, 60, 600])
def test_requests_a_minute(limit: int) -> None:
    server = Server(Time())
    client = patient(server, requests_per_minute=limit, at_once=100)
    ask(client, server, [request(n) for n in range(3 * limit)])
    assert most_in_a_minute(server.moments) <= limit + 1
    # And not slower than allowed either.
    assert server.time.now == pytest.approx(60 / limit * (3 * limit - 1))
    unlimited = Server(Time())
    ask(patient(unlimited), unlimited, [request(n) for n in range(3 * limit)])
    assert most_in_a_minute(unlimited.moments) == 3 * limit


def test_tokens_a_minute_as_counted_by_the_endpoint() -> None:
    # The estimate says 5 + 100 tokens; the endpoint counts 10 a call.
    reply = Reply("answered", tokens_in=8, tokens_out=2)
    server = Server(Time(), lambda _: reply)
    client = patient(server, tokens_per_minute=600, at_once=1)
    ask(client, server, [request(n, max_tokens=100) for n in range(61)])
    assert server.time.now == pytest.approx(60.0)
    # Without the endpoint's count the estimate stands.
    silent = Server(Time())
    client = patient(silent, tokens_per_minute=600, at_once=1)
    expected = sum(estimate_tokens(request(max_tokens=100)))
    ask(client, silent, [request(n, max_tokens=100) for n in range(61)])
    assert silent.time.now == pytest.approx(60 * expected / 10)


def test_idle_time_is_not_saved_up() -> None:
    time = Time()
    pace = Pace(60, clock=time.clock, sleep=time.sleep)

    async def work() -> list[float]:
        await pace.spend(1)
        await time.sleep(100.0)
        moments = []
        for _ in range(3):
            await pace.spend(1)
            moments.append(time.now)
        return moments

    assert time.run(work()) == [100.0, 101.0, 102.0]


def test_estimates_grow_with_the_text() -> None:
    assert estimate_tokens(request(text="x" * 400, max_tokens=7)) == (104, 7)
    assert estimate_tokens(request(text=""))[0] > 0


def test_transient_failures_are_repeated_with_doubling_waits() -> None:
    server = Server(Time(), lambda number: DOWN if number < 4 else Reply("answered", "A"))
    client = patient(server)
    (reply,) = ask(client, server, [request()])
    assert reply == Reply("answered", "A")
    assert (client.calls, client.repeated) == (5, 4)
    waits = [b - a for a, b in zip(server.moments, server.moments[1:], strict=False)]
    for attempt, wait in enumerate(waits):
        assert 0.5 * 2**attempt <= wait <= 2**attempt


def test_waits_are_the_same_for_the_same_seed() -> None:
    def moments(seed: int) -> list[float]:
        server = Server(Time(), lambda _: DOWN)
        ask(patient(server, seed=seed), server, [request()])
        return server.moments

    assert moments(1) == moments(1) != moments(2)


@pytest.mark.parametrize(
    "reply",
    [Reply("failed", detail="wrong key"), Reply("refused"), Reply("answered")],
)
def test_nothing_else_is_repeated(reply: Reply) -> None:
    server = Server(Time(), lambda _: reply)
    assert ask(patient(server), server, [request()]) == [reply]
    assert len(server.moments) == 1


def test_the_last_failure_says_how_often_it_was_tried() -> None:
    server = Server(Time(), lambda _: DOWN)
    (reply,) = ask(patient(server, retries=2), server, [request()])
    assert reply.outcome == "failed" and reply.transient
    assert reply.detail == "down (tried 3 times)"
    assert len(server.moments) == 3


def test_retry_after_holds_for_all_calls() -> None:
    limited = Reply("failed", transient=True, retry_after=30.0)
    server = Server(Time(), lambda number: limited if number == 0 else Reply("answered"))
    client = patient(server, at_once=1)

    async def work() -> None:
        first = asyncio.ensure_future(client.complete(request(0)))
        await asyncio.gather(first, *(client.complete(request(n)) for n in range(1, 4)))

    server.time.run(work())
    assert server.moments[0] == 0.0
    assert all(30.0 <= moment <= 30.2 for moment in server.moments[1:])


def test_others_wait_too_while_one_is_told_to() -> None:
    limited = Reply("failed", transient=True, retry_after=30.0)
    server = Server(Time(), lambda number: limited if number == 0 else Reply("answered"))
    client = patient(server, at_once=8, requests_per_minute=60)
    ask(client, server, [request(n) for n in range(5)])
    assert server.moments[0] == 0.0
    assert min(server.moments[1:]) >= 30.0


def test_too_long_is_not_waited_for() -> None:
    server = Server(
        Time(), lambda _: Reply("failed", "", (), "quota", "", None, None, True, 9000.0)
    )
    (reply,) = ask(patient(server), server, [request()])
    assert reply.detail == "quota; it asks to wait 9000 s"
    assert len(server.moments) == 1
    assert server.time.now == 0.0


def test_an_endpoint_that_is_down_is_not_asked_for_hours() -> None:
    server = Server(Time(), lambda _: DOWN)
    replies = ask(patient(server, at_once=2), server, [request(n) for n in range(1000)])
    assert {reply.outcome for reply in replies} == {"failed"}
    assert server.time.now < 64
    assert len(server.moments) < 1000 + 2 * 7


def test_when_it_is_back_calls_are_repeated_again() -> None:
    # Down for the first calls, then up but with a failure in every second call.
    server = Server(Time(), lambda number: DOWN if number < 8 or number % 2 else Reply("answered"))
    client = patient(server, at_once=1, retries=6)
    replies = ask(client, server, [request(n) for n in range(6)])
    # The first call is tried to its end, the second once; the third finds it up again.
    assert [reply.outcome for reply in replies] == ["failed", "failed"] + ["answered"] * 4


def test_a_failing_call_among_good_ones_is_no_sign_of_being_down() -> None:
    class Picky(Server):
        async def complete(self, request: Request) -> Reply:
            reply = await super().complete(request)
            return DOWN if request.draw == 0 or len(self.moments) < 3 else reply

    server = Picky(Time(), seconds=1.0)
    client = patient(server, at_once=2, retries=3)
    replies = ask(client, server, [request(n) for n in range(30)])
    assert [reply.outcome for reply in replies].count("failed") == 1


def test_one_client_in_several_event_loops() -> None:
    client = PatientClient(FakeClient(), at_once=1)

    async def work() -> None:
        await asyncio.gather(*(client.complete(request(n)) for n in range(3)))

    asyncio.run(work())
    asyncio.run(work())
    assert client.calls == 6


@pytest.mark.parametrize(
    "settings",
    [{"at_once": 0}, {"retries": -1}, {"requests_per_minute": 0}, {"tokens_per_minute": -5.0}],
)
def test_limits_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(CalibError, match="the limits of a client are positive; got"):
        PatientClient(FakeClient(), **settings)
