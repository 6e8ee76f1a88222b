"""The ways of asking for a distribution; so far by log-probability of the option letters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

import numpy as np
from jaxtyping import Float

from calib.survey import Group, Question
from elicit.prompt import TEMPLATE, Order, persona_messages
from elicit.types import Client, Outcome, Reply, Request

TOP_LOGPROBS: Final = 20
"""First tokens asked for: the most that hosted endpoints give."""
_AROUND_A_LETTER: Final = " \t\n\u2581\u0120().:*\"'`"  # \u2581, \u0120: a space, in raw tokens
_SEVERITY: Final[tuple[Outcome, ...]] = ("answered", "unparsable", "refused", "failed")


@dataclass(frozen=True, eq=False)
class Display:
    """The answer to one display of a question: its options in one order."""

    order: Order
    outcome: Outcome
    shares: Float[np.ndarray, " option"]
    """By the question's own order, summing to one; NaN unless answered."""
    captured: float
    """Probability that the first token was an option letter, before dividing by it; NaN
    where there was no reply."""
    unseen: int
    """Options whose letter was not among the tokens returned; they count as 0."""
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """A group's distribution over a question's options, averaged over its displays."""

    question: Question
    group: Group
    displays: tuple[Display, ...]

    @property
    def outcome(self) -> Outcome:
        """``answered`` if every display was, else the worst of their outcomes.

        The mean over the orders that happened to succeed would carry their position effect.
        """
        return max((display.outcome for display in self.displays), key=_SEVERITY.index)

    @property
    def shares(self) -> Float[np.ndarray, " option"]:
        """Mean of the displays' shares, by the question's own order; NaN unless answered."""
        mean: np.ndarray = np.mean([display.shares for display in self.displays], axis=0)
        return mean


async def logprob(
    question: Question,
    group: Group,
    client: Client,
    orders: Sequence[Order],
    *,
    wordings: Mapping[str, str],
    top_logprobs: int = TOP_LOGPROBS,
) -> Answer:
    """Ask for one letter in each order and read off the first token's log-probabilities.

    The share of an option is the summed probability of all spellings of its letter
    (``A``, `` A``, ``(A)`` …, capitals only: ``a`` is a word) divided by that of all letters.

    Raises
    ------
    CalibError
        If a prompt cannot be built: more options than letters, or not a permutation.
    """
    displays = []
    for order in orders:
        request = Request(
            model=client.model,
            messages=persona_messages(question, group, order, wordings),
            template=TEMPLATE,
            max_tokens=1,
            temperature=0.0,
            top_logprobs=top_logprobs,
        )
        displays.append(read_letters(await client.complete(request), order))
    return Answer(question, group, tuple(displays))


def read_letters(reply: Reply, order: Order) -> Display:
    """The shares that a reply's first token gives to the options displayed in an order."""
    unknown = np.full(len(order), math.nan)
    if reply.outcome != "answered":
        return Display(order, reply.outcome, unknown, math.nan, len(order), reply.detail)
    if not reply.first_token:
        detail = "the reply carries no log-probabilities; ask a model or endpoint that gives them"
        return Display(order, "failed", unknown, math.nan, len(order), detail)
    mass = np.zeros(len(order))
    seen = np.zeros(len(order), dtype=bool)
    letters = ascii_uppercase[: len(order)]
    for candidate in reply.first_token:
        letter = candidate.token.strip(_AROUND_A_LETTER)
        if len(letter) == 1 and letter in letters:
            place = order[letters.index(letter)]
            mass[place] += math.exp(candidate.logprob)
            seen[place] = True
    captured = float(mass.sum())
    unseen = int((~seen).sum())
    if captured == 0:
        first = reply.first_token[0].token
        detail = f"no option letter among the first tokens; the likeliest is {first!r}"
        return Display(order, "unparsable", unknown, captured, unseen, detail)
    return Display(order, "answered", mass / captured, captured, unseen)
