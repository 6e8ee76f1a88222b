"""A client that keeps to an endpoint's limits and tries again what may succeed later."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from calib.errors import CalibError
from elicit.types import Client, Reply, Request

CHARACTERS_A_TOKEN: Final = 4
"""Bytes of UTF-8 that make up a token, roughly, for estimates before a call."""
_MESSAGE_TOKENS: Final = 4  # role and delimiters
_REPLY_TOKENS: Final = 16  # where a request does not say its most

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]


def estimate_tokens(request: Request) -> tuple[int, int]:
    """About how many tokens a request sends, and how many it may get back.

    The first from the length of its text; the second is its ``max_tokens``, where it says.
    """
    length = sum(
        len(message.content.encode(errors="replace")) // CHARACTERS_A_TOKEN + _MESSAGE_TOKENS
        for message in request.messages
    )
    return length, _REPLY_TOKENS if request.max_tokens is None else request.max_tokens


class Pace:
    """Lets amounts pass evenly, so many a minute: no minute sees more.

    Who comes first goes first; an amount is booked when asked for, so that callers at the
    same moment queue up.
    """

    def __init__(self, per_minute: float | int, *, clock: Clock, sleep: Sleep) -> None:
        self._seconds_each = 60.0 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    async def spend(self, amount: float | int) -> None:
        """Wait until this amount may pass."""
        now = self._clock()
        start = max(self._free_at, now)
        self._free_at = start + amount * self._seconds_each
        if start > now:
            await self._sleep(start - now)

    def correct(self, amount: float | int) -> None:
        """Book more (or, negative, less) after the fact."""
        self._free_at += amount * self._seconds_each


class PatientClient:
    """Another client, asked within limits and again after failures that may pass.

    - At most ``at_once`` calls at a time; a call that waits to be repeated keeps its place,
      so that an endpoint in trouble is asked less.
    - Requests and tokens pass evenly at their rates. Tokens are estimated before a call and
      corrected by what the endpoint counted.
    - A transient failure is repeated after a wait that doubles from ``first_wait`` up to
      ``longest_wait`` seconds, less a random part of up to half. Where the endpoint says how
      long to wait, no call begins before; longer than ``longest_wait`` is not waited for.
    - When a call has failed to the end and none succeeded since it began, the endpoint
      counts as down: further calls are tried once each until one succeeds.

    Parameters
    ----------
    client
        The one that is asked.
    requests_per_minute, tokens_per_minute
        No limit if None.
    retries
        Most repetitions of one call.
    seed
        Of the random part of the waits.
    clock, sleep
        Seconds that only go forward, and how to wait for some.

    Raises
    ------
    CalibError
        If a limit is not positive or ``retries`` negative.
    """

    def __init__(
        self,
        client: Client,
        *,
        requests_per_minute: float | int | None = None,
        tokens_per_minute: float | int | None = None,
        at_once: int = 8,
        retries: int = 6,
        first_wait: float | int = 1.0,
        longest_wait: float | int = 120.0,
        seed: int = 0,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        _positive(
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            at_once=at_once,
            first_wait=first_wait,
            longest_wait=longest_wait,
            retries=retries + 1,
        )
        self.client = client
        self.at_once = at_once
        self.retries = retries
        self.calls = 0
        """Calls made, repetitions too."""
        self.repeated = 0
        """Calls that were repetitions."""
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._clock = clock
        self._sleep = sleep
        self._random = random.Random(seed)
        self._requests = self._pace(requests_per_minute)
        self._tokens = self._pace(tokens_per_minute)
        self._places: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        self._not_before = clock()
        self._successes = 0
        self._down = False

    @property
    def model(self) -> str:
        """The name under which the model stands in tables."""
        return self.client.model

    async def complete(self, request: Request) -> Reply:
        """The client's reply; a failed one only after all repetitions."""
        async with self._semaphore():
            successes = self._successes
            for attempt in range(self.retries + 1):
                reply = await self._call(request)
                if reply.outcome != "failed":
                    self._successes += 1
                    self._down = False
                    return reply
                if not reply.transient:
                    return reply
                wait = self._wait(attempt, reply.retry_after)
                if wait is None:
                    detail = f"{reply.detail}; it asks to wait {reply.retry_after:g} s"
                    return replace(reply, detail=detail)
                if self._down or attempt == self.retries:
                    break
                self.repeated += 1
                await self._sleep(wait)
            if self._successes == successes:
                self._down = True
            return replace(reply, detail=f"{reply.detail} (tried {_times(attempt + 1)})")

    async def _call(self, request: Request) -> Reply:
        expected = sum(estimate_tokens(request))
        if self._requests is not None:
            await self._requests.spend(1)
        if self._tokens is not None:
            await self._tokens.spend(expected)
        while (ahead := self._not_before - self._clock()) > 0:
            await self._sleep(ahead)
        self.calls += 1
        reply = await self.client.complete(request)
        if self._tokens is not None and reply.tokens_in is not None:
            self._tokens.correct(reply.tokens_in + (reply.tokens_out or 0) - expected)
        return reply

    def _wait(self, attempt: int, asked: float | None) -> float | None:
        """Seconds until the next attempt; None where that is longer than we wait."""
        longest = min(self._first_wait * 2.0**attempt, self._longest_wait)
        wait = longest * self._random.uniform(0.5, 1.0)
        if asked is None:
            return wait
        if asked > self._longest_wait:
            return None
        # The endpoint means all calls with its key. The random part keeps those that wait
        # for the same moment apart.
        self._not_before = max(self._not_before, self._clock() + asked)
        return asked + 0.1 * wait

    def _pace(self, per_minute: float | int | None) -> Pace | None:
        return (
            None if per_minute is None else Pace(per_minute, clock=self._clock, sleep=self._sleep)
        )

    def _semaphore(self) -> asyncio.Semaphore:
        # A semaphore belongs to one event loop; a client may be used in several runs.
        loop = asyncio.get_running_loop()
        if self._places is None or self._places[0] is not loop:
            self._places = (loop, asyncio.Semaphore(self.at_once))
        return self._places[1]


def _positive(**limits: float | int | None) -> None:
    for name, value in limits.items():
        if value is not None and not value > 0:
            raise CalibError(
                f"the limits of a client are positive; got {name} = {value}; leave it out for none"
            )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
