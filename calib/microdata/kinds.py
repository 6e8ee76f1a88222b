"""Labels that stand for no answer, by a named list of patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

NO_ANSWER_PATTERNS: Final[Mapping[str, tuple[str, ...]]] = {
    "dont_know": (
        r"(i )?don['’´`]?t know", r"(i )?do not know", r"d\.?k\.?",
        r"(can['’´`]?t|can ?not) (choose|say)",
    ),
    "refused": (
        r"refused?", r"refusal", r"refused? to (answer|say)", r"no answer",
        r"declined( to answer)?", r"(i )?(would )?prefer(red)? not to (say|answer)",
        r"(i )?(would )?rather not (say|answer)", r"web blank", r"skipped( on web)?",
    ),
    "missing": (
        r"not applicable", r"inapplicable", r"not asked.*", r"n/a", r"iap",
        r"(system )?missing.*", r"not available", r"not in universe", r"not ascertained",
        r"no data",
    ),
}  # fmt: skip
"""Whole labels, case apart, also in brackets, behind ``vol.`` and joined by a slash."""

Patterns = Sequence[tuple[str, re.Pattern[str]]]


def compiled(more: Mapping[str, Iterable[str]]) -> Patterns:
    """The patterns by kind, a user's own first.

    >>> kind_of("(VOL.) Don't know/Refused", compiled({}))
    'dont_know'
    >>> kind_of("Know nothing", compiled({"dont_know": ["know nothing"]}))
    'dont_know'
    """
    own = [(kind, re.compile(one, re.IGNORECASE)) for kind, those in more.items() for one in those]
    shipped = [
        (kind, re.compile(rf"\W*(vol\W+)?({'|'.join(those)})(\W+({_JOINED}))?\W*", re.IGNORECASE))
        for kind, those in NO_ANSWER_PATTERNS.items()
    ]
    return [*own, *shipped]


def kind_of(label: str, patterns: Patterns) -> str:
    """``missing``, ``dont_know``, ``refused`` or, where nothing matches, ``substantive``."""
    for kind, pattern in patterns:
        if pattern.fullmatch(label.strip()):
            return kind
    return "substantive"


_JOINED: Final = r"refused|refusal|no answer|don['’´`]?t know|dk|na"
