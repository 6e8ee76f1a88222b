"""Putting every question to every group, and the answers as rows of the paired table."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from calib.errors import CalibError
from calib.survey import Group, Question
from elicit.methods import TOP_LOGPROBS, Answer, logprob
from elicit.prompt import OrderScheme, option_orders
from elicit.types import Client

LLM_COLUMNS: Final = (
    "survey", "question_id", "option_index", "attribute", "group",
    "model", "elicitation", "prompt", "outcome", "p_llm",
)  # fmt: skip
Progress = Callable[[int, int], None]
"""Called with the number of cells done and of all cells."""


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
        return pd.DataFrame(self._rows(), columns=list(LLM_COLUMNS))

    @property
    def counts(self) -> Mapping[str, int]:
        """Cells and their outcomes, displays, and letters that no reply contained."""
        outcomes = Counter(answer.outcome for answer in self.answers)
        displays = [display for answer in self.answers for display in answer.displays]
        return {
            "cells": len(self.answers),
            **{f"cells_{outcome}": count for outcome, count in sorted(outcomes.items())},
            "displays": len(displays),
            "options_unseen_in_answered_displays": sum(
                display.unseen for display in displays if display.outcome == "answered"
            ),
        }

    @property
    def captured_mass(self) -> float:
        """Mean probability, over displays with a reply, that the first token was a letter."""
        captured = [display.captured for answer in self.answers for display in answer.displays]
        known = [mass for mass in captured if not np.isnan(mass)]
        return float(np.mean(known)) if known else float("nan")

    def _rows(self) -> Iterable[tuple[object, ...]]:
        for answer in self.answers:
            question, group = answer.question, answer.group
            for option, share in zip(question.options, answer.shares, strict=True):
                yield (
                    question.survey, question.id, option.index, group.attribute, group.name,
                    self.model, self.elicitation, self.prompt, answer.outcome, float(share),
                )  # fmt: skip


def elicit_logprob(
    questions: Sequence[Question],
    groups: Sequence[Group],
    clients: Sequence[Client],
    *,
    orders: OrderScheme,
    wordings: Mapping[str, str] | None = None,
    top_logprobs: int = TOP_LOGPROBS,
    progress: Progress | None = None,
) -> Elicitation:
    """Ask every question of every group by log-probability, with the ``sd`` prompt.

    Where an event loop runs already (a notebook), await ``ask_logprob`` instead.

    Parameters
    ----------
    clients
        One or several clients of one model, which share the groups: of k clients the i-th
        asks groups i, i + k, …, one call at a time. Who asks what is thereby fixed.
    orders
        In which orders the options are displayed; see ``prompt.option_orders``.
    wordings
        The question that asks for an attribute, by attribute, for the persona.
    top_logprobs
        Tokens whose log-probabilities are asked for.

    Raises
    ------
    CalibError
        Before the first call, if a question cannot be asked in these orders, there is
        nothing or nobody to ask, or the clients are of different models.
    """
    return asyncio.run(
        ask_logprob(
            questions,
            groups,
            clients,
            orders=orders,
            wordings=wordings,
            top_logprobs=top_logprobs,
            progress=progress,
        )
    )


async def ask_logprob(
    questions: Sequence[Question],
    groups: Sequence[Group],
    clients: Sequence[Client],
    *,
    orders: OrderScheme,
    wordings: Mapping[str, str] | None = None,
    top_logprobs: int = TOP_LOGPROBS,
    progress: Progress | None = None,
) -> Elicitation:
    """As ``elicit_logprob``, to be awaited."""
    if not questions or not groups or not clients:
        raise CalibError(
            f"elicitation needs questions, groups and clients; got {len(questions)} questions, "
            f"{len(groups)} groups and {len(clients)} clients; name at least one of each"
        )
    models = sorted({client.model for client in clients})
    if len(models) > 1:
        raise CalibError(
            f"clients that share the groups are of one model; got {', '.join(models)}; "
            "elicit each model by itself"
        )
    orders_of = {question.key: option_orders(question, orders) for question in questions}
    answers: dict[tuple[int, int], Answer] = {}

    async def ask_share(first: int) -> None:
        # Group by group: calls in a row then share the longest beginning of their prompts.
        for group_number in range(first, len(groups), len(clients)):
            for question_number, question in enumerate(questions):
                answers[group_number, question_number] = await logprob(
                    question,
                    groups[group_number],
                    clients[first],
                    orders_of[question.key],
                    wordings=wordings or {},
                    top_logprobs=top_logprobs,
                )
                if progress is not None:
                    progress(len(answers), len(questions) * len(groups))

    await asyncio.gather(*(ask_share(first) for first in range(len(clients))))
    return Elicitation(models[0], "logprob", "sd", tuple(answers[key] for key in sorted(answers)))
