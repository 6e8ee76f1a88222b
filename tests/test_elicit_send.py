"""Sending: who asks what, what is kept when, and when a run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from elicit.send import MOST_FAILURES, NO_LOGPROBS, Memory, Sender, StoppedError
from elicit.types import Message, Reply, Request


def requests(count: int) -> list[Request]:
    return [
        Request("m", (Message("user", f"question {number}"),), "test/1") for number in range(count)
    ]


class Scripted:
    """A client that answers by the number of the call and notes how many run at once."""

    model = "m"

    def __init__(self, answer: Callable[[int], Reply] = lambda _: Reply("answered", "A")) -> None:
        self.answer = answer
        self.received: list[Request] = []
        self.running = 0
        self.most_running = 0

    async def complete(self, request: Request) -> Reply:
        number = len(self.received)
        self.received.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return self.answer(number)


def send(
    sender: Sender, queues: Sequence[Sequence[Request]], clients: Sequence[Scripted]
) -> dict[str, Reply]:
    return dict(asyncio.run(sender.send(queues, clients)))


def test_every_request_is_sent_once_in_order_and_kept() -> None:
    keeper, client, todo = Memory(), Scripted(), requests(20)
    replies = send(Sender(keeper, at_once=1), [todo], [client])
    assert client.received == todo
    assert set(replies) == {request.key for request in todo} == set(keeper.replies)


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_no_more_run_at_once_than_allowed(at_once: int) -> None:
    client = Scripted()
    send(Sender(Memory(), at_once=at_once), [requests(20)], [client])
    assert client.most_running == min(at_once, 20)


def test_each_queue_goes_to_its_client() -> None:
    todo, clients = requests(10), [Scripted(), Scripted()]
    send(Sender(Memory(), at_once=1), [todo[:3], todo[3:]], clients)
    assert [client.received for client in clients] == [todo[:3], todo[3:]]


def test_a_reply_is_kept_before_anything_else_is_done_with_it() -> None:
    keeper = Memory()
    seen: list[int] = []
    sender = Sender(keeper, at_once=1, progress=lambda _: seen.append(len(keeper.replies)))
    send(sender, [requests(3)], [Scripted()])
    assert seen == [1, 2, 3]


def test_an_error_of_the_keeper_ends_the_run() -> None:
    class Full(Memory):
        def put(self, request: Request, reply: Reply) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        send(Sender(Full(), at_once=2), [requests(5)], [Scripted()])


def test_a_stop_waits_for_calls_under_way_and_counts_the_rest() -> None:
    keeper, client = Memory(), Scripted()
    sender = Sender(
        keeper, at_once=4, stopped=lambda: "enough" if len(client.received) >= 6 else ""
    )
    with pytest.raises(StoppedError, match=r"enough; 6 requests were made, 14 were not"):
        send(sender, [requests(20)], [client])
    # The last of the six were under way when it was enough.
    assert len(client.received) == len(keeper.replies) == 6


def test_an_endpoint_that_never_answers_is_given_up() -> None:
    client = Scripted(lambda _: Reply("failed", detail="wrong key"))
    with pytest.raises(StoppedError, match="the first 20 calls failed, the last with: wrong key"):
        send(Sender(Memory(), at_once=1), [requests(100)], [client])
    assert len(client.received) == MOST_FAILURES


def test_an_endpoint_that_is_gone_is_given_up() -> None:
    client = Scripted(
        lambda number: (
            Reply("answered", "A")
            if number < 10
            else Reply("failed", detail="down", transient=True)
        )
    )
    keeper = Memory()
    with pytest.raises(StoppedError, match="20 calls in a row failed after all repetitions"):
        send(Sender(keeper, at_once=1), [requests(100)], [client])
    assert len(client.received) == 10 + MOST_FAILURES
    assert len(keeper.replies) == 10


def test_requests_that_cannot_be_answered_do_not_stop_the_others() -> None:
    def half(number: int) -> Reply:
        return Reply("answered", "A") if number < 10 else Reply("failed", detail="too long")

    client, todo = Scripted(half), requests(100)
    replies = send(Sender(Memory(), at_once=1), [todo], [client])
    assert len(client.received) == len(replies) == 100


def test_a_reply_without_the_logprobs_asked_for_is_not_kept_as_an_answer() -> None:
    request = Request("m", (Message("user", "?"),), "test/1", max_tokens=1, top_logprobs=20)
    keeper = Memory()
    replies = send(Sender(keeper, at_once=1), [[request]], [Scripted()])
    assert replies[request.key].outcome == "failed"
    assert replies[request.key].detail == NO_LOGPROBS
    assert keeper.replies == {}
