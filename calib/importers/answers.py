"""What a model's reply says about the shares of lettered options, and where it says nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from calib.importers.imported import broken, numbers

LEAST: Final = 0.90
MOST: Final = 1.10
"""Sums of shares from ``LEAST`` to ``MOST`` are slips and are divided out, with a count."""

_ROUNDING: Final = 1e-9
_PAIR: Final = re.compile(
    r"""['"]?\b([A-Z])\b['"]?\s*:\s*['"]?(-?\d*\.?\d+)\s*%?(?=['"]?\s*(?:[,;}\n]|$))"""
)
_SEPARATORS: Final = re.compile(r"""[\s,;.'"\[\](){}|-]+""")


class Reading(NamedTuple):
    """Shares by letter, summing to one; ``None`` where the reply cannot be read."""

    shares: dict[str, float] | None
    repairs: tuple[str, ...] = ()
    """Names of what was done to the reply."""


UNREADABLE: Final = Reading(None)


def closed(mass: Mapping[str, float]) -> Reading:
    """Shares divided by their sum, where that is from ``LEAST`` to ``MOST``; else unreadable.

    >>> closed({"A": 0.5, "B": 0.4})
    Reading(shares={'A': 0.5555555555555556, 'B': 0.4444444444444445}, repairs=('renormalised',))
    >>> closed({"A": 0.0, "B": 0.0}).shares is None
    True
    """
    total = sum(mass.values())
    if min(mass.values(), default=0.0) < 0 or not _near_one(total):
        return UNREADABLE
    if abs(total - 1) <= _ROUNDING:
        return Reading(dict(mass))
    return Reading({name: share / total for name, share in mass.items()}, ("renormalised",))


def verbalized(reply: str, letters: Sequence[str]) -> Reading:
    """Shares from a reply such as ``{'A': '35%', 'B': '65%'}``, quoted or not.

    The sum tells the unit: near 100, the numbers are per cent; near 1, they are shares
    whatever their sign (``0.35``, also ``'0.35%'``). Letters that the reply leaves out have
    share 0. Unreadable: two objects, a pair that is no letter and number, a letter twice or
    not offered, a sum that is near neither.

    >>> verbalized("{'A': 0.35, 'B': 0.65}", "AB")
    Reading(shares={'A': 0.35, 'B': 0.65}, repairs=('read_as_fractions',))
    """
    blocks = re.findall(r"\{[^{}]*\}", reply)
    if len(blocks) > 1:
        return UNREADABLE
    text = blocks[0] if blocks else reply
    pairs = _PAIR.findall(text)
    given = {letter: float(number) for letter, number in pairs}
    complete = len(pairs) == text.count(":") and len(given) == len(pairs)
    if not pairs or not complete or not set(given) <= set(letters):
        return UNREADABLE
    unit = 1.0 if _near_one(sum(given.values())) else 100.0
    reading = closed({letter: given.get(letter, 0.0) / unit for letter in letters})
    if reading.shares is None or unit != 1.0:
        return reading
    return Reading(reading.shares, ("read_as_fractions", *reading.repairs))


def sequence(reply: str, letters: Sequence[str]) -> Reading:
    """Shares of the letters in a run of simulated answers such as ``ABBAC``.

    Separators are skipped. Letters that were not offered are left out of the count, as long
    as no more than a tenth is; a reply with any other character (prose) is unreadable.

    >>> sequence("A, A, B, A", "AB")
    Reading(shares={'A': 0.75, 'B': 0.25}, repairs=())
    """
    run = _SEPARATORS.sub("", reply)
    if not re.fullmatch("[A-Z]+", run):
        return UNREADABLE
    return closed({letter: run.count(letter) / len(run) for letter in letters})


def logprob(stored: Mapping[str, Any], letters: Sequence[str], question_id: str) -> Reading:
    """First-token probabilities of the letters, stored as one list of draws a letter.

    Their sum is the mass that the letters captured; the rest went to other tokens.
    ``DataError`` where the letters are not those offered.
    """
    if not set(stored) <= set(letters):
        raise broken(
            f"the letters of {question_id} are {''.join(letters)}",
            "".join(stored),
            "fetch opinions_qa and results of the same version",
        )
    draws = {letter: stored.get(letter, [0.0]) for letter in letters}
    lengths = {len(draw) if isinstance(draw, list) else 0 for draw in draws.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise broken(
            f"actual_results of {question_id} hold one list of probabilities a letter",
            repr(stored)[:200],
            "fetch the file again",
        )
    return mean(
        [
            closed(numbers(dict(zip(letters, draw, strict=True)), where=f"{question_id}, log-prob"))
            for draw in zip(*draws.values(), strict=True)
        ]
    )


def mean(readings: Sequence[Reading]) -> Reading:
    """The plain mean of the readable ones, with all their repairs."""
    known = [reading.shares for reading in readings if reading.shares is not None]
    if not known:
        return UNREADABLE
    repairs = [repair for reading in readings for repair in reading.repairs]
    if len(known) < len(readings):
        repairs.append("averaged_without_unreadable_replies")
    shares = {name: sum(one[name] for one in known) / len(known) for name in known[0]}
    return Reading(shares, tuple(dict.fromkeys(repairs)))


def _near_one(total: float) -> bool:
    return LEAST - _ROUNDING <= total <= MOST + _ROUNDING
