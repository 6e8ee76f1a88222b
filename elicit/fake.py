"""A client whose opinions, bias and faults are known: for tests, examples and dry runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from elicit.types import Capabilities, Reply, Request, TokenLogprob

Preference = Callable[[str, str], float]
"""Log weight of an option, from the whole prompt and the option's label."""
DRAWN: Final = 30
"""Letters in a list whose length the schema leaves open."""
_OPTION: Final = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)
_SPELLINGS: Final = (("{}", 0.7), (" {}", 0.2), ("({}", 0.1))


def indifferent(_prompt: str, _label: str) -> float:
    """No preference."""
    return 0.0


class FakeClient:
    """A model that reads lettered options and answers in letters, never over a network.

    The share of the option in position p is proportional to
    exp(preference + position_bias[p] + noise · standard normal). It answers as asked:

    - by log-probabilities, or at temperature 0: ``mass`` of the first token falls on
      letters, spread over several spellings of each, the rest on words;
    - by a JSON Schema with a number for each letter: with the shares in percent;
    - by a JSON Schema with a list of letters: with as many drawn from the shares;
    - else with one letter drawn from the shares.

    Noise and draws depend on ``seed`` and the request only, not on the order of calls.

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
        self.capabilities: Capabilities | None = Capabilities(
            top_logprobs=20, json_schema=True, seed=True
        )
        self.requests: list[Request] = []
        """Every request received, in order."""

    async def complete(self, request: Request) -> Reply:
        """The scripted fault of this call, or letters with their log-probabilities."""
        number = len(self.requests)
        self.requests.append(request)
        if number in self.faults:
            return self.faults[number]
        prompt = "\n\n".join(message.content for message in request.messages)
        labels = [label for _, label in _OPTION.findall(prompt)]
        generator = np.random.default_rng([self.seed, int(request.key[:16], 16)])
        shares = self._shares(prompt, labels, generator)
        if request.top_logprobs or request.temperature == 0 or not labels:
            tokens = sorted(self._first_token(shares), key=lambda token: -token.logprob)
            shown = tuple(tokens[: request.top_logprobs or 0])
            return self._reply(prompt, tokens[0].token, shown)
        letters = ascii_uppercase[: len(labels)]
        if request.json_schema is not None:
            answer = _in_form(json.loads(request.json_schema), letters, shares, generator)
            return self._reply(prompt, json.dumps(answer))
        return self._reply(prompt, str(generator.choice(list(letters), p=shares)))

    def _shares(
        self, prompt: str, labels: Sequence[str], generator: np.random.Generator
    ) -> Float[np.ndarray, " option"]:
        bias = np.zeros(len(labels))
        known = min(len(labels), len(self.position_bias))
        bias[:known] = self.position_bias[:known]
        preferred = np.array([self.preference(prompt, label) for label in labels])
        noise = self.noise * generator.standard_normal(len(labels))
        weights = np.exp(preferred + bias + noise)
        shares: np.ndarray = weights / weights.sum()
        return shares

    def _first_token(self, shares: Float[np.ndarray, " option"]) -> list[TokenLogprob]:
        if not len(shares):
            return [TokenLogprob("The", 0.0)]
        tokens = [
            TokenLogprob(spelling.format(letter), math.log(self.mass * share * part))
            for letter, share in zip(ascii_uppercase, shares, strict=False)
            for spelling, part in _SPELLINGS
        ]
        if self.mass < 1:
            tokens.append(TokenLogprob("The", math.log(1 - self.mass)))
        return tokens

    def _reply(self, prompt: str, text: str, first_token: tuple[TokenLogprob, ...] = ()) -> Reply:
        """An answer with its words counted as tokens."""
        return Reply(
            "answered",
            text=text,
            first_token=first_token,
            finish="stop",
            tokens_in=len(prompt.split()),
            tokens_out=len(text.split()),
        )


def _in_form(
    schema: Mapping[str, Any],
    letters: str,
    shares: Float[np.ndarray, " option"],
    generator: np.random.Generator,
) -> dict[str, object]:
    """What a JSON Schema asks for: a share for each letter, or lists of drawn letters."""
    percent = dict(zip(letters, (100 * shares).round(6).tolist(), strict=True))
    return {
        name: generator.choice(list(letters), size=part.get("minItems", DRAWN), p=shares).tolist()
        if part.get("type") == "array"
        else percent.get(name, 0.0)
        for name, part in schema["properties"].items()
    }
