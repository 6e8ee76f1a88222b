"""Questions whose answers are known, and distances from them that chance alone would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calib.survey import Option, Question
from elicit.answers import Answer


@dataclass(frozen=True, eq=False)
class KnownQuestion:
    """A question about chance, whose distribution over people follows from its text."""

    question: Question
    truth: Float[np.ndarray, " option"]


def known_questions() -> tuple[KnownQuestion, ...]:
    """Two biased coins, a fair die and a loaded one, as questions to people who threw them.

    >>> for known in known_questions():
    ...     print(known.question.id, known.truth.tolist())
    coin-80 [0.8, 0.2]
    coin-30 [0.3, 0.7]
    die-loaded [0.1, 0.1, 0.1, 0.1, 0.1, 0.5]
    die-low [0.4, 0.2, 0.1, 0.1, 0.1, 0.1]
    """
    return (
        _coin("coin-80", 80),
        _coin("coin-30", 30),
        _die("die-loaded", (10, 10, 10, 10, 10, 50)),
        _die("die-low", (40, 20, 10, 10, 10, 10)),
    )


def _coin(name: str, heads: int) -> KnownQuestion:
    text = (
        "Each of the people asked tossed the same biased coin once. It lands heads up in "
        f"{heads} % of tosses and tails up in {100 - heads} % of tosses. Which side came up?"
    )
    options = (Option(0, "Heads", 0.0), Option(1, "Tails", 1.0))
    return KnownQuestion(
        Question("doctor", name, text, "binary", options), np.array([heads, 100 - heads]) / 100
    )


def _die(name: str, percent: Sequence[int]) -> KnownQuestion:
    faces = ", ".join(f"{face} in {share} %" for face, share in enumerate(percent, start=1))
    text = (
        f"Each of the people asked rolled the same loaded die once. It shows {faces} of rolls. "
        "Which number came up?"
    )
    names = ("one", "two", "three", "four", "five", "six")
    options = tuple(
        Option(place, f"{face} ({place + 1})", float(place + 1)) for place, face in enumerate(names)
    )
    return KnownQuestion(
        Question("doctor", name, text, "ordinal", options), np.array(percent) / 100
    )


def tv_by_chance(truth: Float[np.ndarray, " option"], draws: int | None) -> float:
    """Expected total variation between a distribution and ``draws`` draws from it.

    By the normal approximation: a share's mean absolute error is sd · √(2/π).
    """
    if draws is None:
        return 0.0
    sd = np.sqrt(truth * (1 - truth) / draws)
    return float(0.5 * np.sum(sd) * math.sqrt(2 / math.pi))


def reversal_by_chance(answer: Answer, draws: int | None) -> float:
    """Expected total variation between two halves of the draws, where nothing sets them apart.

    The spread is that of all draws together, freed of the bias of an estimate from as many.
    """
    if draws is None or draws < 2:
        return 0.0
    spread = answer.shares * (1 - answer.shares) * draws / (draws - 1)
    sd = np.sqrt(spread * 2 / (draws / 2))
    return float(0.5 * np.sum(sd) * math.sqrt(2 / math.pi))


def tv(one: Float[np.ndarray, " option"], other: Float[np.ndarray, " option"]) -> float:
    """Total variation."""
    return float(0.5 * np.abs(one - other).sum())


def w1(answer: Answer, truth: Float[np.ndarray, " option"]) -> float:
    """Wasserstein-1 distance of an answer from the truth, on a scale from 0 to 1."""
    gaps = np.diff(answer.question.places)
    return float(np.sum(np.abs(np.cumsum(answer.shares - truth))[:-1] * gaps))
