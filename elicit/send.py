"""Sending requests: several at once, each reply kept before anything else is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

from calib.errors import CalibError
from elicit.types import Client, Reply, Request

MOST_FAILURES: Final = 20
"""So many say that an endpoint is gone, or that nothing of it can be had in this way."""

NO_LOGPROBS: Final = (
    "log-probabilities were asked for and the reply carries none; ask an endpoint that gives "
    "them, or use the elicitation verbalized"
)


@runtime_checkable
class Keeper(Protocol):
    """Where replies are kept, by their request's key; ``elicit.store.Store`` is one."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Reply]:
        """Final replies of those keys that have one."""

    def put(self, request: Request, reply: Reply) -> None:
        """Keep a reply for good, before returning."""


class Memory:
    """A keeper that lasts as long as its process."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Reply]:
        """Final replies of those keys that have one."""
        return {key: self.replies[key] for key in keys if key in self.replies}

    def put(self, request: Request, reply: Reply) -> None:
        """Keep a reply, unless it failed."""
        if reply.outcome != "failed":
            self.replies[request.key] = reply


class StoppedError(CalibError):
    """A run ended before its last call; what was answered is kept, and a next run goes on."""


class Sender:
    """Sends requests and keeps their replies; counts what happened.

    Parameters
    ----------
    keeper
        Every reply goes there as soon as it is here.
    at_once
        Most calls under way at a time, by client.
    stopped
        Says why no further call may be made; empty while calls may.
    progress
        Called after each reply.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        at_once: int,
        stopped: Callable[[], str] = str,
        progress: Callable[[Reply], None] = lambda _reply: None,
    ) -> None:
        self.keeper = keeper
        self.at_once = at_once
        self.replies: dict[str, Reply] = {}
        """Of this run, failed ones included, by the request's key."""
        self._stopped = stopped
        self._progress = progress
        self._lost_in_a_row = 0
        self._failures_at_first = 0
        self._succeeded = False
        self._last_failure = ""

    async def send(
        self, queues: Sequence[Sequence[Request]], clients: Sequence[Client]
    ) -> Mapping[str, Reply]:
        """Send each queue to its client, in order.

        Returns
        -------
        The replies by key.

        Raises
        ------
        StoppedError
                Where calls may no longer be made
        """
        before = len(self.replies)
        workers = []
        for queue, client in zip(queues, clients, strict=True):
            waiting = iter(queue)
            count = min(self.at_once, len(queue))
            workers += [self._work(waiting, client) for _ in range(count)]
        await asyncio.gather(*workers)
        left = sum(len(queue) for queue in queues) - (len(self.replies) - before)
        if left:
            raise StoppedError(
                f"the run stopped before its end: {self._reason()}; {len(self.replies)} requests "
                f"were made, {left} were not; every answer is in the store: run again to go on, "
                "or write what is there with elicit export"
            )
        return self.replies

    async def _work(self, waiting: Iterator[Request], client: Client) -> None:
        for request in waiting:
            if self._reason():
                return
            reply = _checked(request, await client.complete(request))
            if self._stopped() and reply.outcome == "failed":
                return  # the limit's word, not the endpoint's
            self.keeper.put(request, reply)
            self.replies[request.key] = reply
            self._note(reply)
            self._progress(reply)

    def _note(self, reply: Reply) -> None:
        failed = reply.outcome == "failed"
        self._succeeded |= not failed
        self._lost_in_a_row = self._lost_in_a_row + 1 if failed and reply.transient else 0
        self._failures_at_first += failed and not self._succeeded
        self._last_failure = reply.detail if failed else self._last_failure

    def _reason(self) -> str:
        if not self._succeeded and self._failures_at_first >= MOST_FAILURES:
            return f"the first {MOST_FAILURES} calls failed, the last with: {self._last_failure}"
        if self._lost_in_a_row >= MOST_FAILURES:
            return (
                f"{MOST_FAILURES} calls in a row failed after all repetitions, the last with: "
                f"{self._last_failure}"
            )
        return self._stopped()


def _checked(request: Request, reply: Reply) -> Reply:
    """A reply without the log-probabilities asked for failed: it is to be asked again.

    Kept as answered, it would stand in the store for ever.
    """
    if request.top_logprobs and reply.outcome == "answered" and not reply.first_token:
        return replace(reply, outcome="failed", detail=NO_LOGPROBS)
    return reply
