"""What was asked and of whom: questions with their options and scale, groups, settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

Scale = Literal["ordinal", "nominal", "binary"]
OptionKind = Literal["substantive", "dont_know", "refused", "other"]
Elicitation = Literal["verbalized", "self_random", "paraphrase", "logprob", "sequence"]
Outcome = Literal["answered", "refused", "unparsable", "failed"]

SCALES: tuple[str, ...] = get_args(Scale)
OPTION_KINDS: tuple[str, ...] = get_args(OptionKind)
ELICITATIONS: tuple[str, ...] = get_args(Elicitation)
OUTCOMES: tuple[str, ...] = get_args(Outcome)


class Group(NamedTuple):
    """Respondents who share one value of one attribute, e.g. ``POLPARTY``, ``Democrat``.

    A name may recur under two attributes, so the pair is the key.
    """

    attribute: str
    name: str

    def __str__(self) -> str:
        return f"{self.attribute}: {self.name}"


class Setting(NamedTuple):
    """How the LLM was asked: which model, by which elicitation, with which prompt."""

    model: str
    elicitation: str
    prompt: str

    def __str__(self) -> str:
        return f"{self.model}/{self.elicitation}/{self.prompt}"


class QuestionKey(NamedTuple):
    """A question's identity: its id is unique within its survey only."""

    survey: str
    id: str


class Shape(NamedTuple):
    """What two scales must share for their mean distribution to make sense."""

    ordered: bool
    n_options: int


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that can be given."""

    index: int
    """Place in the survey's own order, from 0."""
    label: str
    value: float | None = None
    """Numeric code; differences of codes are the ground distance of an ordinal scale."""
    kind: OptionKind = "substantive"


@dataclass(frozen=True)
class Question:
    """A survey question with its options in the survey's own order."""

    survey: str
    id: str
    text: str
    scale: Scale
    options: tuple[Option, ...]

    @property
    def key(self) -> QuestionKey:
        """Survey and id, the identity by which questions are split and matched."""
        return QuestionKey(self.survey, self.id)

    @property
    def ordered(self) -> bool:
        """Whether options have a place on a line (ordinal and binary scales)."""
        return self.scale != "nominal"

    @property
    def shape(self) -> Shape:
        """Ordered or not, and how many options."""
        return Shape(self.ordered, len(self.options))

    def substantive(self) -> Question:
        """The same question without don't-know, refused and other options."""
        kept = tuple(option for option in self.options if option.kind == "substantive")
        return replace(self, options=kept)

    @cached_property
    def places(self) -> Float[np.ndarray, " option"]:
        """Each option's value scaled to [0, 1] over the question; NaN on a nominal scale.

        A binary scale without values has its options at 0 and 1.
        """
        if not self.ordered:
            return np.full(len(self.options), np.nan)
        values = [option.value for option in self.options]
        if self.scale == "binary" and any(value is None for value in values):
            return np.linspace(0.0, 1.0, len(values))
        codes = np.asarray(values, dtype=float)
        low, high = codes.min(), codes.max()
        places: np.ndarray = (codes - low) / (high - low)
        return places
