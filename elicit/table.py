"""Answers as rows: of the paired table, and as the model's side alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from elicit.answers import Answer

LLM_COLUMNS: Final = (
    "survey", "question_id", "option_index", "attribute", "group",
    "model", "elicitation", "prompt", "outcome", "p_llm",
)  # fmt: skip
PAIRED_COLUMNS: Final = (
    "survey", "question_id", "question", "scale", "option_index", "option", "option_value",
    "option_kind", "attribute", "group", "n_human", "p_human", "model", "elicitation",
    "prompt", "outcome", "p_llm",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Elicitation:
    """The answers of one setting, with what each was made from."""

    model: str
    elicitation: str
    prompt: str
    answers: tuple[Answer, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The LLM's columns of the paired table, one row per group, question and option."""
        return self.paired[list(LLM_COLUMNS)]

    @property
    def paired(self) -> pd.DataFrame:
        """The paired table with the human side null."""
        frame = pd.DataFrame(self._rows(), columns=list(PAIRED_COLUMNS))
        numbers = dict.fromkeys(("option_value", "n_human", "p_human", "p_llm"), float)
        return frame.astype(numbers)

    @property
    def counts(self) -> Mapping[str, int]:
        """Cells and their outcomes, replies, and all that was dropped or put right in them."""
        outcomes = Counter(answer.outcome for answer in self.answers)
        displays = [display for answer in self.answers for display in answer.displays]
        answered = [display for display in displays if display.outcome == "answered"]
        return {
            "cells": len(self.answers),
            **{f"cells_{outcome}": count for outcome, count in sorted(outcomes.items())},
            "displays": len(displays),
            "displays_dropped_in_answered_cells": sum(one.dropped for one in self.answers),
            "displays_renormalised": sum(display.renormalised for display in answered),
            "displays_repaired": sum(display.how == "repaired" for display in answered),
            "displays_read_by_pattern": sum(display.how == "pattern" for display in answered),
            "sequence_parts_unread": sum(display.unread for display in answered),
            "options_unseen_in_answered_displays": sum(display.unseen for display in answered),
        }

    @property
    def captured_mass(self) -> float:
        """Mean probability, over displays with a reply, that the first token was a letter."""
        captured = [display.captured for answer in self.answers for display in answer.displays]
        known = [mass for mass in captured if not np.isnan(mass)]
        return float(np.mean(known)) if known else float("nan")

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for answer in self.answers:
            question, group = answer.question, answer.group
            for option, share in zip(question.options, answer.shares, strict=True):
                yield (
                    question.survey, question.id, question.text, question.scale, option.index,
                    option.label, option.value, option.kind, group.attribute, group.name,
                    None, None, self.model, self.elicitation, self.prompt, answer.outcome,
                    float(share),
                )  # fmt: skip


def paired_table(elicitations: Iterable[Elicitation]) -> pd.DataFrame:
    """The paired table of several settings, one below the other; the human side is null."""
    return pd.concat([one.paired for one in elicitations], ignore_index=True)
