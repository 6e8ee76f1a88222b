"""From a reply's text to shares of the options, or to the reason why there are none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final, Literal

from elicit.json_in_text import How, Pair, Pairs, UnreadableError, values_in
from elicit.prompt import one_line
from elicit.spelling import (
    begins_with,
    named,
    refuses,
    shortened,
    standing_letters,
    without_reasoning,
)

LEAST_SUM: Final = 0.9
MOST_SUM: Final = 1.1
"""Shares that sum to something within are divided by it; beyond, they are no distribution."""
LEAST_OF_SEQUENCE: Final = 2 / 3
MOST_OF_SEQUENCE: Final = 3 / 2
"""Of the answers asked for: with fewer or more, the reply did something else."""
LONGEST: Final = 20_000
"""Characters after any reasoning; a longer text is no answer to a survey question."""
_LONGEST_LINE: Final = 500
_NUMBER: Final = r"([-+\u2212]?\d*\.?\d+)\s*(%|percent\b|per cent\b)?"
_NUMBER_ALONE: Final = re.compile(rf"\s*{_NUMBER}\s*", re.IGNORECASE)
_PAIR: Final = re.compile(
    rf"[\s*•#>|-]*(\S.*?)(?:\s*[:=|][\s*_|]*|\s+[-\u2013\u2014]\s+|\s+(?=\S+\s*(?:%|per)))"
    rf"{_NUMBER}[\s.,;*_|)]*",
    re.IGNORECASE,
)
_BETWEEN_PAIRS: Final = re.compile(r"[,;|]\s+(?:and\s+)?|\s+and\s+", re.IGNORECASE)
_TOTALS: Final = ("total", "sum")
_NUMBERING: Final = re.compile(
    r"\s*[-*•]?\s*(?:(?:person|respondent|participant|answer)\s*#?)?\s*\(?\d+\s*[.):-]\s*",
    re.IGNORECASE,
)
_COMMA: Final = re.compile(r"[,;|]")
_END: Final = r"(?=[\"'`*_)\]}]*(?:$|[.,;:!)\]}]|\s+(?:because|since|as)\b|\s*[-\u2013\u2014(]))"
_LETTER: Final = rf"[\"'`*_(\[]*(?i:option\s+|letter\s+|answer\s+)?[\"'`*_(\[]*([A-Z]){_END}"
_SAID: Final = re.compile(
    rf"\b(?i:answer|choice|selection|response)\b\W{{0,3}}(?i:is|would be|:|=)\s*{_LETTER}"
    rf"|\b(?i:i|they|he|she|we|person|would|will|i'd|i'll)\s+"
    rf"(?i:choose|select|pick|go with|opt for|answer|say)\s+{_LETTER}"
    r"|\\boxed\{\s*(?:\\text\{)?([A-Z])\}"
)
_LINE_START: Final = re.compile(r"[\s*_`\"'(\[]*([A-Z])[*_]*[.):\]][\s*_]+(\S.*)")
_DENIED: Final = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|without|unless|if)\b|n['\u2019]t\b|\?", re.IGNORECASE
)
_OPENS: Final = re.compile(r"\W*[{\[]")
_ANSWER_FIELDS: Final = ("answer", "option", "choice", "letter", "response", "selection")


@dataclass(frozen=True)
class Reading:
    """What a text says about the options displayed."""

    outcome: Literal["answered", "refused", "unparsable"]
    shares: tuple[float, ...] = ()
    """By position, summing to one; empty unless answered."""
    how: How | Literal[""] = ""
    renormalised: bool = False
    """Whether shares did not sum to one as they came."""
    unread: int = 0
    """Parts of a sequence that name no option."""
    detail: str = ""
    """Why there is no answer."""


def read_percentages(text: str, labels: Sequence[str]) -> Reading:
    """A distribution: JSON first, JSON that can be repaired second, lines of text third.

    Objects are keyed by letter or label; lists go by position. Shares may be written as
    ``0.35``, ``35`` or ``"35%"``. A distribution that names an unknown option, one twice or
    not all, has a negative or undefined number, or sums to less than 90 or more than 110
    per cent is unparsable, and so are two different distributions in one reply.
    """
    try:
        text = _answer_in(text)
        return _shares_in_json(text, labels) or _shares_in_lines(text, labels)
    except UnreadableError as error:
        return _none(text, str(error))


def read_letter(text: str, labels: Sequence[str]) -> Reading:
    """One option, as a distribution that is one there and zero elsewhere.

    Understood are a letter, a label or both, alone, on a line of their own or announced as
    the answer, and a JSON object with an answer. Letters in running prose are not: ``A`` and
    ``I`` are words, and what is named may be what is rejected.
    """
    try:
        text = _answer_in(text)
        found, how = _options_in(text, labels)
        if len(found) > 1:
            letters = ", ".join(ascii_uppercase[place] for place in sorted(found))
            raise UnreadableError(f"several options are named: {letters}")
        if not found:
            raise UnreadableError(f"no option is named in {shortened(text)}")
    except UnreadableError as error:
        return _none(text, str(error))
    (place,) = found
    return Reading("answered", tuple(float(place == one) for one in range(len(labels))), how)


def read_letters_sequence(text: str, labels: Sequence[str], expected: int = 30) -> Reading:
    """Frequencies over many simulated answers: a JSON list, or letters one after another.

    Parts that name no option are left out and counted. Fewer than two thirds or more than
    one and a half times the answers expected are unparsable.
    """
    try:
        text = _answer_in(text)
        parts, how = _parts_in(text, labels)
        if len(parts) > MOST_OF_SEQUENCE * expected:
            raise UnreadableError(f"{len(parts)} answers where {expected} were asked for")
        places = [named(part, labels) for part in parts]
        counts = Counter(place for found in places if len(found) == 1 for place in found)
        read, unread = counts.total(), len(parts) - counts.total()
        if read < LEAST_OF_SEQUENCE * expected:
            raise UnreadableError(
                f"{read} answers and {unread} other parts where {expected} answers were asked for"
            )
    except UnreadableError as error:
        return _none(text, str(error))
    shares = tuple(counts[place] / read for place in range(len(labels)))
    return Reading("answered", shares, how, unread=unread)


def _answer_in(text: str) -> str:
    answer = without_reasoning(text)
    if answer is None:
        raise UnreadableError("the reply ends within its reasoning")
    if not answer.strip():
        raise UnreadableError("the reply is empty")
    if len(answer) > LONGEST:
        raise UnreadableError(f"the reply has {len(answer)} characters")
    return answer


def _none(text: str, detail: str) -> Reading:
    return Reading("refused" if refuses(text[:LONGEST]) else "unparsable", detail=detail)


# Distributions


def _shares_in_json(text: str, labels: Sequence[str]) -> Reading | None:
    """The one distribution in the text's objects and lists; None if they hold none at all."""
    found: dict[tuple[float, ...], Reading] = {}
    attempt = None
    for value, how in values_in(text, repair=True):
        pairs = _as_pairs(value, labels)
        if pairs is None:
            continue
        try:
            reading = _closed(pairs, labels, how)
            found.setdefault(reading.shares, reading)
        except UnreadableError as error:
            attempt = attempt or error
    if len(found) > 1:
        raise UnreadableError("several different distributions are given")
    if attempt is not None and not found:
        raise attempt
    return next(iter(found.values()), None)


def _as_pairs(value: object, labels: Sequence[str]) -> Sequence[Pair] | None:
    """A value as shares by letter or label; None if it is nothing of the kind."""
    if isinstance(value, Pairs) and len(value) == 1:
        name, inner = value[0]
        if isinstance(inner, list) and not named(name, labels):
            value = inner  # a distribution under a name of its own: {"percentages": {...}}
    if isinstance(value, Pairs):
        return value or None
    if isinstance(value, list) and len(value) == len(labels) and None not in map(_share, value):
        return list(zip(ascii_uppercase, value, strict=False))
    return None


def _shares_in_lines(text: str, labels: Sequence[str]) -> Reading:
    """The distribution in lines such as ``A: 30%``, or several such in one line."""
    pairs: list[Pair] = []
    for line in map(one_line, text.splitlines()):
        whole = _pair(line)
        if whole and named(whole[0], labels):
            pairs.append(whole)
        else:
            pairs += filter(None, map(_pair, _BETWEEN_PAIRS.split(line)))
    pairs = [pair for pair in pairs if not pair[0].strip(" *_").casefold().startswith(_TOTALS)]
    if not pairs:
        raise UnreadableError(f"no distribution is given in {shortened(text)}")
    reading = _closed(pairs, labels, "pattern")
    if reading.renormalised and text.rstrip(" \n.")[-1:].isdigit():
        raise UnreadableError("the reply ends with a number that may go on")
    return reading


def _pair(line: str) -> Pair | None:
    found = _PAIR.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    return (found[1], found[2] + (found[3] or "")) if found else None


def _closed(pairs: Sequence[Pair], labels: Sequence[str], how: How) -> Reading:
    shares: dict[int, float] = {}
    per_cent = False
    for key, value in pairs:
        places = named(key, labels)
        if len(places) != 1:
            known = "several options" if places else "no option"
            raise UnreadableError(f"{shortened(key)} names {known}")
        (place,) = places
        if place in shares:
            raise UnreadableError(f"option {ascii_uppercase[place]} has two shares")
        share = _share(value)
        if share is None or not math.isfinite(share[0]) or share[0] < 0:
            raise UnreadableError(f"{shortened(str(value))} is no share")
        shares[place] = share[0]
        per_cent = per_cent or share[1]
    missing = [ascii_uppercase[place] for place in range(len(labels)) if place not in shares]
    if missing:
        raise UnreadableError(f"no share for {', '.join(missing)}")
    total = round(math.fsum(shares.values()), 9)
    whole = 1.0 if not per_cent and total <= MOST_SUM else 100.0
    if not LEAST_SUM <= round(total / whole, 9) <= MOST_SUM:
        raise UnreadableError(f"the shares sum to {total:g}")
    closed = tuple(shares[place] / math.fsum(shares.values()) for place in range(len(labels)))
    return Reading("answered", closed, how, renormalised=total != whole)


def _share(value: object) -> tuple[float, bool] | None:
    """A number and whether it is said to be per cent; None if it is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (math.inf if abs(value) > 1e9 else float(value)), False
    written = _NUMBER_ALONE.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        return None
    return float(written[1].replace("\u2212", "-")), bool(written[2])


# Options


def _options_in(text: str, labels: Sequence[str]) -> tuple[frozenset[int], How]:
    lines = [line for line in text.splitlines() if line.strip()]
    alone = frozenset().union(*(named(line, labels) for line in lines))
    # A label may look like JSON: what stands behind its letter is not looked into.
    open_lines = [line for line in lines if _OPENS.match(line) or not named(line, labels)]
    values = values_in("\n".join(open_lines))
    answers = [answer for value, _ in values for answer in _answers(value)]
    in_json = frozenset().union(*(named(answer, labels) for answer in answers))
    said = frozenset().union(*(_said(line, labels) for line in open_lines))
    found = alone | in_json | said
    if said and not alone | in_json:
        # Prose that also speaks of another option may mean that one.
        found |= standing_letters(text, labels)
    return found, "json" if in_json else "pattern"


def _answers(value: object) -> list[str]:
    """The texts of an object's answer, or of a list with one element."""
    if isinstance(value, Pairs):
        fields = [inner for key, inner in value if key.casefold() in _ANSWER_FIELDS]
    else:
        fields = value if isinstance(value, list) and len(value) == 1 else []
    return [text for text in fields if isinstance(text, str)]


def _said(line: str, labels: Sequence[str]) -> frozenset[int]:
    """Options that a line of prose announces; none where it denies or asks something."""
    letters = ascii_uppercase[: len(labels)]
    first = _LINE_START.match(line)
    if first and first[1] in letters:
        place = letters.index(first[1])
        others = begins_with(first[2], labels)
        return frozenset({place}) if place in others else others | {place}
    if _DENIED.search(line):
        return frozenset()
    found = (next(filter(None, groups)) for groups in _SAID.findall(line))
    return frozenset(letters.index(letter) for letter in found if letter in letters)


# Sequences


def _parts_in(text: str, labels: Sequence[str]) -> tuple[list[str], How]:
    lists = [parts for value, _ in values_in(text) if (parts := _listed(value)) is not None]
    if len(lists) > 1:
        raise UnreadableError(f"{len(lists)} lists are given")
    if lists:
        return lists[0], "json"
    # What is left of a list that was cut off begins at its bracket.
    body = text[text.find("[") + 1 :]
    return [part for line in body.splitlines() for part in _line_parts(line, labels)], "pattern"


def _listed(value: object) -> list[str] | None:
    """The answers of a list, of the one list in an object, or of an object by number."""
    if isinstance(value, Pairs):
        inner = [one for _, one in value if isinstance(one, list) and not isinstance(one, Pairs)]
        if len(inner) == 1:
            return _listed(inner[0])
        numbered = len(value) > 1 and all(key.strip().isdecimal() for key, _ in value)
        value = [one for _, one in value] if numbered else None
    if not isinstance(value, list) or len(value) < 2:
        return None
    return [one if isinstance(one, str) else "".join(_answers(one)) for one in value]


def _line_parts(line: str, labels: Sequence[str]) -> list[str]:
    """The answers in a line; parts that name nothing count where others do or it is numbered."""
    numbered = _NUMBERING.match(line)
    rest = line[numbered.end() :] if numbered else line
    if named(rest, labels):
        return [rest]
    words = rest.split()
    letters = ascii_uppercase[: len(labels)]
    if len(words) == 1 and len(words[0]) > len(labels) and set(words[0]) <= set(letters):
        return list(words[0])
    parts = words if all(len(word.strip(".,;|\"'")) == 1 for word in words) else _COMMA.split(rest)
    parts = [part for part in parts if part.strip(" \t,;|]}\"'")]
    return parts if numbered or any(named(part, labels) for part in parts) else []
