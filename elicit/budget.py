"""What calls cost: prices, estimates before, a meter while they run, and its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from elicit import limits
from elicit.types import Client, Reply, Request

TOKENS_OUT_UNBOUNDED: Final = 500
"""Estimate for a reply whose length the request leaves open."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in the user's currency."""

    tokens_in: float
    tokens_out: float

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Money for so many tokens."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


def estimate_tokens(request: Request) -> tuple[int, int]:
    """Tokens of a prompt, by its length, and the most that its reply may have."""
    tokens_in, tokens_out = limits.estimate_tokens(request)
    return tokens_in, TOKENS_OUT_UNBOUNDED if request.max_tokens is None else tokens_out


class Meter:
    """Counts calls and tokens, and says when the next call would go beyond a limit.

    A call counts when it is sent, repetitions included: an endpoint may have answered and
    charged for a call whose reply was lost. The cost of calls in flight is reserved at its
    estimate, the longest reply included.

    Parameters
    ----------
    prices
        None: cost is unknown.
    max_calls, max_cost
        None: no limit. A limit of cost needs prices.
    """

    def __init__(
        self,
        *,
        prices: Prices | None = None,
        max_calls: int | None = None,
        max_cost: float | None = None,
    ) -> None:
        self.prices = prices
        self.max_calls = max_calls
        self.max_cost = math.inf if max_cost is None else max_cost
        self.calls = 0
        self.calls_failed = 0
        self.calls_without_usage = 0
        """Answered or refused calls whose tokens are estimated: the endpoint told none."""
        self.tokens_in = 0
        self.tokens_out = 0
        self.stopped = ""
        """Which limit was reached; empty while none is."""
        self._reserved = 0.0

    @property
    def cost(self) -> float:
        """Money spent; NaN without prices."""
        if self.prices is None:
            return math.nan
        return self.prices.cost(self.tokens_in, self.tokens_out)

    def begin(self, request: Request) -> bool:
        """Count a call that is about to be sent; False where it must not be."""
        if self.max_calls is not None and self.calls >= self.max_calls:
            self.stopped = f"{self.calls} calls were made, the most allowed"
            return False
        reserve = self._estimate(request)
        if self.prices is not None and self.cost + self._reserved + reserve > self.max_cost:
            self.stopped = (
                f"{self.cost:.4f} is spent and the next call could go beyond {self.max_cost:g}"
            )
            return False
        self.calls += 1
        self._reserved += reserve
        return True

    def end(self, request: Request, reply: Reply) -> None:
        """Count what a call used."""
        self._reserved -= self._estimate(request)
        tokens_in, tokens_out = reply.tokens_in, reply.tokens_out
        if reply.outcome == "failed":
            self.calls_failed += 1
        elif tokens_in is None or tokens_out is None:
            self.calls_without_usage += 1
            tokens_in, tokens_out = estimate_tokens(request)
        self.tokens_in += tokens_in or 0
        self.tokens_out += tokens_out or 0

    def _estimate(self, request: Request) -> float:
        return 0.0 if self.prices is None else self.prices.cost(*estimate_tokens(request))


class MeteredClient:
    """A client whose every call is counted, and not sent beyond the meter's limits.

    It stands below repetition, so that repeated calls count.
    """

    def __init__(self, client: Client, meter: Meter) -> None:
        self.client = client
        self.meter = meter

    @property
    def model(self) -> str:
        """The name of the client below."""
        return self.client.model

    async def complete(self, request: Request) -> Reply:
        """The reply of the client below, or a failed one where the limit is reached."""
        if not self.meter.begin(request):
            return Reply("failed", detail=self.meter.stopped)
        reply = await self.client.complete(request)
        self.meter.end(request, reply)
        return reply
