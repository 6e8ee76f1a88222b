"""From a reply's text to shares of the options, or to the reason why there are none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final, Literal

How = Literal["", "json", "repaired", "pattern"]


@dataclass(frozen=True)
class Reading:
    """What a text says about the options displayed."""

    outcome: Literal["answered", "refused", "unparsable"]
    shares: tuple[float, ...] = ()
    """By position, summing to one; empty unless answered."""
    how: How = ""
    renormalised: bool = False
    unread: int = 0
    detail: str = ""


def read_percentages(text: str, labels: Sequence[str]) -> Reading:
    try:
        found = json.loads(text)
        shares = [float(found[letter]) for letter in ascii_uppercase[: len(labels)]]
        total = sum(shares)
    except Exception:
        return Reading("unparsable", detail="no JSON object")
    return Reading("answered", tuple(share / total for share in shares), "json")


def read_letter(text: str, labels: Sequence[str]) -> Reading:
    return Reading("unparsable", detail="not built")


def read_letters_sequence(text: str, labels: Sequence[str]) -> Reading:
    return Reading("unparsable", detail="not built")
