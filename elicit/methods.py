"""The ways of asking for a distribution: what each sends, and what it makes of the replies.

Both directions are pure: ``ask`` makes requests, ``read`` makes an answer of their replies,
and sending lies between. The same requests can so be sent now, found in a store, or put
into a batch file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Final

import numpy as np

from calib.errors import CalibError
from calib.survey import ELICITATIONS, Group, Question
from elicit.answers import Answer, Display
from elicit.parse import Reading, read_letter, read_letters_sequence, read_percentages
from elicit.prompt import (
    ORDER_SCHEMES,
    PERMUTATIONS,
    Example,
    Order,
    messages,
    one_line,
    option_orders,
    usable_examples,
)
from elicit.template import MIN_REWORDINGS, Template, fill, load_template
from elicit.types import Reply, Request

__all__ = ["Answer", "Asked", "Display", "Method", "make_method", "read_letters"]

TOP_LOGPROBS: Final = 20
"""First tokens asked for: the most that hosted endpoints give."""
SEQUENCE_LENGTH: Final = 30
"""Simulated answers in one reply."""
_AROUND_A_LETTER: Final = " \t\n\u2581\u0120().:*\"'`"  # \u2581, \u0120: a space, in raw tokens


@dataclass(frozen=True)
class Asked:
    """A request, and the order in which it displays the options."""

    request: Request
    order: Order


@dataclass(frozen=True)
class _Manner:
    """What is particular to one elicitation."""

    draws: int
    temperature: float
    tokens: int
    """Room for a reply in the form asked for, with some to spare."""
    tokens_per_option: int = 0
    read: Callable[[str, Sequence[str]], Reading] | None = None
    """From text and labels as displayed; None where the first token is read instead."""
    schema: Callable[[str], str] | None = None
    """JSON Schema of the reply, from the letters."""
    answers: int = 0
    """Simulated answers in one reply."""


def _shares_schema(letters: str) -> str:
    return _object_schema({letter: {"type": "number"} for letter in letters})


def _answers_schema(letters: str) -> str:
    answer = {"type": "string", "enum": list(letters)}
    return _object_schema({"answers": {"type": "array", "items": answer}})


def _object_schema(properties: Mapping[str, object]) -> str:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


_MANNERS: Final[Mapping[str, _Manner]] = {
    "logprob": _Manner(draws=1, temperature=0.0, tokens=1),
    "verbalized": _Manner(
        draws=3,
        temperature=1.0,
        tokens=64,
        tokens_per_option=32,
        read=read_percentages,
        schema=_shares_schema,
    ),
    "self_random": _Manner(draws=5, temperature=0.7, tokens=32, read=read_letter),
    "paraphrase": _Manner(draws=1, temperature=0.7, tokens=32, read=read_letter),
    "sequence": _Manner(
        draws=1,
        temperature=1.0,
        tokens=64 + 16 * SEQUENCE_LENGTH,
        read=read_letters_sequence,
        schema=_answers_schema,
        answers=SEQUENCE_LENGTH,
    ),
}


@dataclass(frozen=True)
class Method:
    """One way of asking one model with one template; made by ``make_method``."""

    elicitation: str
    template: Template
    model: str
    orders: str
    permuted: int
    seed: int
    draws: int
    """Replies asked for to each display of each wording."""
    temperature: float
    max_tokens: int | None
    top_logprobs: int
    wordings: Mapping[str, str]
    examples: tuple[Example, ...]
    paraphrases: Mapping[str, Sequence[str]]

    @property
    def prompt(self) -> str:
        """The prompt's name in tables."""
        return self.template.setting

    @property
    def needs(self) -> frozenset[str]:
        """What an endpoint must be able to do: ``logprobs``, or nothing."""
        return frozenset() if self._manner.read else frozenset({"logprobs"})

    def ask(self, question: Question, group: Group) -> tuple[Asked, ...]:
        """All requests for one cell: the orders, in each the wordings, of each the draws.

        Raises
        ------
        CalibError
            If the question cannot be put in this way; see ``prompt.messages``.
        """
        orders = option_orders(question, self.orders, permuted=self.permuted, seed=self.seed)
        return tuple(
            Asked(self._request(worded, group, order, draw), order)
            for order in orders
            for worded in self._worded(question)
            for draw in range(self.draws)
        )

    def examples_left_out(self, question: Question, group: Group) -> int:
        """Examples of the very question, which a few-shot prompt does not show with it."""
        if self.template.prompt != "fewshot":
            return 0
        return usable_examples(question, group, self.examples)[1]

    def read(
        self, question: Question, group: Group, asked: Sequence[Asked], replies: Sequence[Reply]
    ) -> Answer:
        """The answer in the replies to what ``ask`` made, in the same sequence."""
        displays = (
            self._display(question, one.order, reply)
            for one, reply in zip(asked, replies, strict=True)
        )
        return Answer(question, group, tuple(displays))

    @property
    def _manner(self) -> _Manner:
        return _MANNERS[self.elicitation]

    def _worded(self, question: Question) -> Sequence[Question]:
        if self.elicitation != "paraphrase":
            return (question,)
        texts = self.paraphrases.get(question.id) or [
            fill(frame, {"question": question.text}) for frame in self.template.rewordings
        ]
        return [replace(question, text=text) for text in texts]

    def _request(self, question: Question, group: Group, order: Order, draw: int) -> Request:
        manner = self._manner
        room = manner.tokens + manner.tokens_per_option * len(order)
        return Request(
            model=self.model,
            messages=messages(
                self.template,
                self.elicitation,
                question,
                group,
                order,
                wordings=self.wordings,
                examples=self.examples,
                answers=manner.answers,
            ),
            template=self.template.id,
            max_tokens=room if self.max_tokens is None else self.max_tokens,
            temperature=self.temperature,
            top_logprobs=None if manner.read else self.top_logprobs,
            draw=draw,
            json_schema=manner.schema(ascii_uppercase[: len(order)]) if manner.schema else None,
        )

    def _display(self, question: Question, order: Order, reply: Reply) -> Display:
        if self._manner.read is None:
            return read_letters(reply, order)
        unknown = np.full(len(order), math.nan)
        if reply.outcome != "answered":
            return Display(order, reply.outcome, unknown, detail=reply.detail)
        labels = [one_line(question.options[place].label) for place in order]
        reading = self._manner.read(reply.text, labels)
        if reading.outcome != "answered":
            cut = "; the reply was cut off: allow more tokens" if reply.finish == "length" else ""
            return Display(order, reading.outcome, unknown, detail=reading.detail + cut)
        shares = np.empty(len(order))
        shares[list(order)] = reading.shares
        return Display(
            order,
            "answered",
            shares,
            how=reading.how,
            renormalised=reading.renormalised,
            unread=reading.unread,
        )


def make_method(
    elicitation: str,
    template: Template | str | Path,
    *,
    model: str,
    orders: str = "given",
    permuted: int = PERMUTATIONS,
    seed: int = 0,
    draws: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    top_logprobs: int = TOP_LOGPROBS,
    wordings: Mapping[str, str] | None = None,
    examples: Sequence[Example] = (),
    paraphrases: Mapping[str, Sequence[str]] | None = None,
) -> Method:
    """A way of asking; what is not given is as the elicitation's authors have it.

    - ``verbalized``: a JSON object of percentages; 3 draws at temperature 1 are averaged.
    - ``self_random``: one letter a draw; frequencies over 5 draws at 0.7.
    - ``paraphrase``: one letter of each of 5 rewordings, at 0.7; frequencies over them.
    - ``logprob``: the first token's log-probabilities, all spellings of a letter together.
    - ``sequence``: 30 simulated answers in one reply at 1; frequencies over them.

    Parameters
    ----------
    template
        A template, its name, or the path of a user's own.
    model
        The name by which requests call the model.
    orders, permuted, seed
        In which orders the options are displayed; see ``prompt.option_orders``.
    draws
        Replies asked for to each display of each wording.
    max_tokens
        Room for one reply; enough for the form asked for if None. A model that reasons
        before it answers needs more.
    top_logprobs
        First tokens asked for, with ``logprob``.
    wordings
        The question that asks for an attribute, by attribute, for personas.
    examples
        Known answers for few-shot prompts; those of the question asked are left out.
    paraphrases
        Rewordings by question id, in place of the template's frames.

    Raises
    ------
    CalibError
        If there is no such elicitation, the template cannot do it, or a number is too small.
    """
    if elicitation not in _MANNERS:
        raise CalibError(
            f"elicitation must be one of {', '.join(ELICITATIONS)}; got {elicitation!r}; "
            "use one of these words"
        )
    if orders not in ORDER_SCHEMES:
        raise CalibError(
            f"orders must be one of {', '.join(ORDER_SCHEMES)}; got {orders!r}; use one of these "
            "words"
        )
    template = template if isinstance(template, Template) else load_template(template)
    template.task(elicitation)
    manner = _MANNERS[elicitation]
    draws = manner.draws if draws is None else draws
    numbers = {"draws": draws, "max_tokens": max_tokens, "top_logprobs": top_logprobs}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise CalibError(f"{name} is a whole number from 1; got {number}; give one")
    for question_id, texts in (paraphrases or {}).items():
        if len(set(texts)) < MIN_REWORDINGS:
            raise CalibError(
                f"a question has at least {MIN_REWORDINGS} different paraphrases or none; "
                f"{question_id!r} has {len(set(texts))}; add some, or remove them to use the "
                "template's frames"
            )
    return Method(
        elicitation=elicitation,
        template=template,
        model=model,
        orders=orders,
        permuted=permuted,
        seed=seed,
        draws=draws,
        temperature=manner.temperature if temperature is None else temperature,
        max_tokens=max_tokens,
        top_logprobs=top_logprobs,
        wordings=dict(wordings or {}),
        examples=tuple(examples),
        paraphrases=dict(paraphrases or {}),
    )


def read_letters(reply: Reply, order: Order) -> Display:
    """The shares that a reply's first token gives to the options displayed in an order.

    The share of an option is the summed probability of all spellings of its letter
    (``A``, `` A``, ``(A)`` …, capitals only: ``a`` is a word) divided by that of all letters.
    """
    unknown = np.full(len(order), math.nan)
    if reply.outcome != "answered":
        return Display(order, reply.outcome, unknown, unseen=len(order), detail=reply.detail)
    if not reply.first_token:
        detail = "the reply carries no log-probabilities; ask a model or endpoint that gives them"
        return Display(order, "failed", unknown, unseen=len(order), detail=detail)
    mass = np.zeros(len(order))
    seen = np.zeros(len(order), dtype=bool)
    letters = ascii_uppercase[: len(order)]
    for candidate in reply.first_token:
        letter = candidate.token.strip(_AROUND_A_LETTER)
        if len(letter) == 1 and letter in letters:
            place = order[letters.index(letter)]
            mass[place] += math.exp(candidate.logprob)
            seen[place] = True
    captured = float(mass.sum())
    unseen = int((~seen).sum())
    if captured == 0:
        first = reply.first_token[0].token
        detail = f"no option letter among the first tokens; the likeliest is {first!r}"
        return Display(order, "unparsable", unknown, captured, unseen, detail)
    return Display(order, "answered", mass / captured, captured, unseen)
