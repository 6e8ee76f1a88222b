"""What replies say about a question: draw by draw, and the distribution made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float

from calib.survey import Group, Outcome, Question
from elicit.prompt import Order

_SEVERITY: Final[tuple[Outcome, ...]] = ("answered", "unparsable", "refused", "failed")


@dataclass(frozen=True, eq=False)
class Display:
    """What one reply says: one draw of one display of a question."""

    order: Order
    outcome: Outcome
    shares: Float[np.ndarray, " option"]
    """By the question's own order, summing to one; NaN unless answered."""
    captured: float = math.nan
    """Probability that the first token was an option letter, before dividing by it; NaN
    where there was no reply and where text is read."""
    unseen: int = 0
    """Options whose letter was not among the tokens returned; they count as 0."""
    detail: str = ""
    how: str = ""
    """How text was understood: ``json``, ``repaired`` or ``pattern``."""
    renormalised: bool = False
    """Whether percentages did not sum to 100 (but to 90 to 110) and were divided by their sum."""
    unread: int = 0
    """Parts of a sequence that are none of the options; left out of the shares."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A group's distribution over a question's options.

    The mean over the orders in which they were displayed of the mean over the answered draws.
    """

    question: Question
    group: Group
    displays: tuple[Display, ...]

    @property
    def outcome(self) -> Outcome:
        """``answered`` if at least half of the draws in every order were, else the worst outcome.

        The mean over the orders that happened to succeed would carry their position effect.
        """
        if all(2 * len(_answered(draws)) >= len(draws) for draws in self.by_order.values()):
            return "answered"
        return max((display.outcome for display in self.displays), key=_SEVERITY.index)

    @property
    def shares(self) -> Float[np.ndarray, " option"]:
        """By the question's own order, summing to one; NaN unless answered."""
        if self.outcome != "answered":
            return np.full(len(self.question.options), math.nan)
        mean: np.ndarray = np.mean([self.in_order(order) for order in self.by_order], axis=0)
        return mean

    @property
    def dropped(self) -> int:
        """Draws left out of an answered cell because they were not answered themselves."""
        if self.outcome != "answered":
            return 0
        return len(self.displays) - len(_answered(self.displays))

    @cached_property
    def by_order(self) -> Mapping[Order, tuple[Display, ...]]:
        """The draws of each order, in the order asked."""
        draws: dict[Order, tuple[Display, ...]] = {}
        for display in self.displays:
            draws[display.order] = (*draws.get(display.order, ()), display)
        return draws

    def in_order(self, order: Order) -> Float[np.ndarray, " option"]:
        """Mean shares over the answered draws of one order; NaN if there are none."""
        answered = _answered(self.by_order[order])
        if not answered:
            return np.full(len(order), math.nan)
        mean: np.ndarray = np.mean([display.shares for display in answered], axis=0)
        return mean


def _answered(displays: Sequence[Display]) -> list[Display]:
    return [display for display in displays if display.outcome == "answered"]
