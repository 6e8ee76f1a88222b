"""Objects and lists in a text that may hold other things too, and JSON that is not quite JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, Literal

from calib.errors import MissingExtraError

How = Literal["json", "repaired", "pattern"]
"""How a text was understood: as JSON, as JSON after repair, or by patterns."""
Pair = tuple[str, object]

_LONGEST_REPAIR: Final = 4_000
_NUMERAL: Final = re.compile(r"\d*\.?\d+")


class UnreadableError(Exception):
    """Says why something is no answer; never leaves the parser."""


class Pairs(list[Pair]):
    """The pairs of an object in their order, so that a key that comes twice is seen."""


def values_in(text: str, *, repair: bool = False) -> Iterator[tuple[object, How]]:
    """Outermost objects and lists of a text, those that are not quite JSON repaired if asked.

    Raises
    ------
    UnreadableError
        If something with numbers in it is to be repaired and might lose some.
    """
    decoder = json.JSONDecoder(object_pairs_hook=Pairs, parse_int=float)
    place = 0
    while (start := _next_bracket(text, place)) is not None:
        try:
            value, place = decoder.raw_decode(text, start)
            yield value, "json"
        except (ValueError, RecursionError):
            place = _end_of_brackets(text, start)
            repaired = _repaired(text[start:place]) if repair else None
            if repaired is not None:
                yield repaired, "repaired"


def _next_bracket(text: str, place: int) -> int | None:
    starts = [found for found in (text.find("{", place), text.find("[", place)) if found >= 0]
    return min(starts, default=None)


def _end_of_brackets(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] in "{[") - (text[place] in "}]")
        if depth == 0:
            return place + 1
    return len(text)


def _repaired(fragment: str) -> object:
    """An object or a list out of something like JSON; None where no number is in it."""
    if not _NUMERAL.search(fragment):
        return None
    if len(fragment) > _LONGEST_REPAIR:
        raise UnreadableError("the reply is no JSON and too long to be repaired")
    if fragment[-1] not in "}]" and re.search(r"[\d.]\s*\Z", fragment):
        raise UnreadableError("the reply ends within a number, or after one that may go on")
    try:
        import json_repair
    except ImportError:
        raise MissingExtraError(
            "reading a reply that is not quite JSON", package="json_repair", extra="llm"
        ) from None
    try:
        value: object = json_repair.loads(fragment, skip_json_loads=True)
        # A repair keeps the last of two equal keys and may drop what it does not understand:
        # every numeral must be found again, once.
        if sorted(_numerals(value)) == sorted(map(float, _NUMERAL.findall(fragment))):
            return _paired(value)
    except (ValueError, ArithmeticError, LookupError, TypeError, RecursionError):
        pass
    raise UnreadableError("the reply is no JSON and cannot be repaired without losing numbers")


def _numerals(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numerals(key)
            yield from _numerals(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numerals(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield abs(float(value))
    elif isinstance(value, str):
        yield from map(float, _NUMERAL.findall(value))


def _paired(value: object) -> object:
    if isinstance(value, dict):
        return Pairs((str(key), _paired(inner)) for key, inner in value.items())
    return value
