"""A client whose opinions, bias and faults are known: for tests, examples and dry runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Final

import numpy as np

from elicit.types import Reply, Request, TokenLogprob

Preference = Callable[[str, str], float]
"""Log weight of an option, from the whole prompt and the option's label."""
_OPTION: Final = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)
_SPELLINGS: Final = (("{}", 0.7), (" {}", 0.2), ("({}", 0.1))


def indifferent(_prompt: str, _label: str) -> float:
    """No preference."""
    return 0.0


class FakeClient:
    """A model that reads lettered options and answers with letters, never over a network.

    The probability of the option in position p is proportional to
    exp(preference + position_bias[p] + noise · standard normal); ``mass`` of the first
    token falls on letters, spread over several spellings of each, the rest on words.
    Noise depends on ``seed`` and the request only, not on the order of calls.

    Parameters
    ----------
    preference
        Log weight of an option, from the whole prompt and the option's label.
    position_bias
        Log odds by position; 0 beyond its end.
    faults
        Replies to give instead, by the number of the call, from 0.
    """

    def __init__(
        self,
        preference: Preference = indifferent,
        *,
        model: str = "fake",
        position_bias: Sequence[float] = (),
        mass: float = 0.8,
        noise: float = 0.0,
        seed: int = 0,
        faults: Mapping[int, Reply] | None = None,
    ) -> None:
        self.model = model
        self.preference = preference
        self.position_bias = tuple(position_bias)
        self.mass = mass
        self.noise = noise
        self.seed = seed
        self.faults = dict(faults or {})
        self.requests: list[Request] = []
        """Every request received, in order."""

    async def complete(self, request: Request) -> Reply:
        """The scripted fault of this call, or letters with their log-probabilities."""
        number = len(self.requests)
        self.requests.append(request)
        if number in self.faults:
            return self.faults[number]
        tokens = self._first_token(request)
        tokens.sort(key=lambda candidate: -candidate.logprob)
        shown = tokens[: request.top_logprobs or 0]
        return Reply("answered", text=tokens[0].token, first_token=tuple(shown))

    def _first_token(self, request: Request) -> list[TokenLogprob]:
        prompt = "\n\n".join(message.content for message in request.messages)
        labels = [label for _, label in _OPTION.findall(prompt)]
        if not labels:
            return [TokenLogprob("The", 0.0)]
        weights = self._weights(request, prompt, labels)
        tokens = [
            TokenLogprob(spelling.format(letter), math.log(self.mass * share * part))
            for letter, share in zip(ascii_uppercase, weights / weights.sum(), strict=False)
            for spelling, part in _SPELLINGS
        ]
        if self.mass < 1:
            tokens.append(TokenLogprob("The", math.log(1 - self.mass)))
        return tokens

    def _weights(self, request: Request, prompt: str, labels: Sequence[str]) -> np.ndarray:
        generator = np.random.default_rng([self.seed, int(request.key[:16], 16)])
        bias = np.zeros(len(labels))
        known = min(len(labels), len(self.position_bias))
        bias[:known] = self.position_bias[:known]
        preferred = np.array([self.preference(prompt, label) for label in labels])
        noise = self.noise * generator.standard_normal(len(labels))
        weights: np.ndarray = np.exp(preferred + bias + noise)
        return weights
