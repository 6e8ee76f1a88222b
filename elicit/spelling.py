"""Which option a piece of text names, and other small questions about replies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase
from typing import Final

from elicit.prompt import one_line

_AROUND: Final = " \t\n*_`\"'\u201c\u201d\u2018\u2019()[].,;:!|#"
_END_OF_REASONING: Final = re.compile(r"</(think|thinking|reasoning|thought)>", re.IGNORECASE)
_START_OF_REASONING: Final = re.compile(r"<(think|thinking|reasoning|thought)>", re.IGNORECASE)
_LETTER_FIRST: Final = re.compile(r"[\W_]*([A-Za-z])([\W_]+?(?:[-\u2013\u2014]\s+)?)(\S.*)")
_SMALL: Final = re.compile(
    r"(?:[\s*_.:(\[]*|\W*(?i:answer|option|choice)\W*[(\[])([a-z])[\s*_.:)\]]*"
)
_ANNOUNCED: Final = re.compile(
    r"[\W_]*(?:(?:so|the|my|your|final|correct|best)\s+)*"
    r"(?:answer|option|choice|response|letter|selection)\b\W*(?:(?:is|would be)\b)?\W*(.*\S)",
    re.IGNORECASE,
)
_REFUSAL: Final = re.compile(
    r"\b(as|i am|i'm) an? (ai|artificial intelligence|(large )?language model)\b"
    r"|\b(i|we)( am|'m| are|'re)? (sorry|unable|not able|not comfortable)\b"
    r"|\b(i|we) (must|have to|need to|would like to|respectfully )?\s*decline\b"
    r"|\b(i|we) (can't|can not|cannot|won't|will not|would rather not|couldn't|could not)\b"
    r"|\b(i|we) (don't|do not) (have|hold|possess)( any)?( personal| political)* "
    r"(opinions?|beliefs?|views?|preferences?|feelings?|experiences?)\b",
    re.IGNORECASE,
)
# "A" before a word is an article and "I" a pronoun, unless what follows makes it a letter.
_STANDING: Final = re.compile(
    r"(?<![\w'\u2019])(?:[B-HJ-Z](?![\w'\u2019])|A(?![\w'\u2019])"
    r"(?!\s+(?!(?:or|and|is|because|since|as|would|seems)\b)[a-z])"
    r"|I(?![\w'\u2019]|\s+[a-z]))"
)
_SHOWN: Final = 80
_BESIDE_A_LABEL: Final = 200
"""Most characters that a text which names an option has beside its label."""


def without_reasoning(text: str) -> str | None:
    """What follows a model's reasoning in tags; None where the reasoning has no end."""
    for end in reversed(list(_END_OF_REASONING.finditer(text))):
        text = text[end.end() :]
        break
    return None if _START_OF_REASONING.search(text) else text


def refuses(text: str) -> bool:
    """Whether a text says that no answer will be given."""
    return bool(_REFUSAL.search(one_line(text).replace("\u2019", "'")))


def shortened(text: str) -> str:
    """The beginning of a text, quoted, for a message."""
    return repr(one_line(text[: 4 * _SHOWN])[:_SHOWN])


def named(text: str, labels: Sequence[str]) -> frozenset[int]:
    """Positions of the options that a text, as a whole, may name; more than one is ambiguous.

    A text names an option by its letter, its label or both (``B``, ``(b)``, ``**B.** Too
    much``, ``Too much``, ``Option B``, ``The answer is B``). A capital letter alone is
    always a letter, also where a label is one letter: letters are what is asked for.

    >>> sorted(named("B) More", ["Less", "More"])), sorted(named("A lot", ["Less", "A lot"]))
    ([1], [1])
    >>> sorted(named("A. More", ["Less", "More"]))
    [0, 1]
    """
    if len(text) > _BESIDE_A_LABEL + max(map(len, labels)):
        return frozenset()
    return _named(text, tuple(labels))


@lru_cache(maxsize=4096)  # the same letters and labels come back in reply after reply
def _named(text: str, labels: tuple[str, ...]) -> frozenset[int]:
    text = one_line(text)
    found = _lettered(text, labels)
    small = _SMALL.fullmatch(text)
    if small and small[1].upper() in ascii_uppercase[: len(labels)]:
        found |= {ascii_uppercase.index(small[1].upper())}
    announced = _ANNOUNCED.fullmatch(text)
    # "The answer i" is cut off, and names neither a letter nor a label.
    if announced and not (len(announced[1]) == 1 and announced[1].islower()):
        found |= _lettered(announced[1], labels)
    return found


def standing_letters(text: str, labels: Sequence[str]) -> frozenset[int]:
    """Positions whose capital letter stands alone in a text and is not a word of it."""
    letters = ascii_uppercase[: len(labels)]
    return frozenset(
        letters.index(found[0]) for found in _STANDING.finditer(text) if found[0] in letters
    )


def begins_with(text: str, labels: Sequence[str]) -> frozenset[int]:
    """Positions of the labels with which a text begins."""
    text = one_line(text).casefold()
    return frozenset(
        place
        for place, (whole, _) in enumerate(_spelt(tuple(labels)))
        if text.startswith(whole) and not text[len(whole) : len(whole) + 1].isalnum()
    )


def _lettered(text: str, labels: Sequence[str]) -> frozenset[int]:
    letters = ascii_uppercase[: len(labels)]
    bare = text.strip(_AROUND)
    if len(bare) == 1 and bare in letters:
        return frozenset({letters.index(bare)})
    found = _labelled(text, labels)
    beside = _LETTER_FIRST.fullmatch(text)
    if beside and beside[1].upper() in letters:
        rest = _labelled(beside[3], labels)
        place = letters.index(beside[1].upper())
        if rest:
            found |= {place} if place in rest else {place, *rest}
        bare = beside[3].strip(_AROUND)
        if rest and bare in letters and not set(beside[2]) & set(".):]"):
            found |= {letters.index(bare)}  # two letters, of which one is also a label
    return found


def _labelled(text: str, labels: Sequence[str]) -> frozenset[int]:
    """Positions of the labels that a text equals, but for case and punctuation around it."""
    whole = one_line(text).casefold()
    bare = whole.strip(_AROUND)
    spelt = list(enumerate(_spelt(tuple(labels))))
    exact = frozenset(place for place, (label, _) in spelt if label == whole)
    if exact or not bare:
        return exact
    return frozenset(place for place, (_, label) in spelt if label == bare)


@lru_cache(maxsize=256)
def _spelt(labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each label on one line without case, and without punctuation around it."""
    whole = [one_line(label).casefold() for label in labels]
    return tuple((label, label.strip(_AROUND)) for label in whole)
