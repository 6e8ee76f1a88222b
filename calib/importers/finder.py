"""Which option of a question a text names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Final

from calib.survey import Option, Question

_BEFORE_LABEL: Final = re.compile(r"(-?\d{1,3}|[A-Za-z])\s*[:.)]\s*(?=\S)")


class Finder:
    """The options of a question by all that may name them.

    In this order: the label; the label in other case; the label behind a code (``3: Bad``);
    a number, which is a label where one of the labels is a number, else an option's value.
    """

    def __init__(self, question: Question) -> None:
        self._by_label = {option.label.strip(): option for option in question.options}
        folded = Counter(label.casefold() for label in self._by_label)
        self._by_folded = {
            label.casefold(): option
            for label, option in self._by_label.items()
            if folded[label.casefold()] == 1
        }
        numbered = {label: number_of(label) for label in self._by_label}
        # Codes stand for options only where no label is itself a number.
        coded = all(value is None for value in numbered.values())
        self._by_number_is = "rows_read_as_codes" if coded else "rows_read_as_numbers"
        by_number: defaultdict[float, list[Option]] = defaultdict(list)
        for label, option in self._by_label.items():
            value = option.value if coded else numbered[label]
            if value is not None:
                by_number[value].append(option)
        self._by_number = {value: those[0] for value, those in by_number.items() if len(those) == 1}

    def find(self, text: str) -> tuple[Option | None, str]:
        """The option, and the name under which the way to it is counted; empty if exact."""
        text = text.strip()
        if text in self._by_label:
            return self._by_label[text], ""
        if text.casefold() in self._by_folded:
            return self._by_folded[text.casefold()], "rows_read_without_case"
        without = _BEFORE_LABEL.sub("", text, count=1) if _BEFORE_LABEL.match(text) else ""
        if without in self._by_label:
            return self._by_label[without], "rows_read_without_code_before_label"
        number = number_of(text)
        if number is not None and number in self._by_number:
            return self._by_number[number], self._by_number_is
        return None, ""


def number_of(text: str) -> float | None:
    """The number that a text is, written plainly; words such as ``inf`` are none."""
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
