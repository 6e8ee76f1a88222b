"""What is sent to a language model and what comes back: the contract of every client."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, runtime_checkable

from calib.survey import Outcome

__all__ = ["Capabilities", "Client", "Message", "Outcome", "Reply", "Request", "TokenLogprob"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a model for one reply; its key identifies the call for ever.

    A field that is None is left out of the key, so that a field added later with default
    None leaves the keys of earlier requests as they were.
    """

    model: str
    messages: tuple[Message, ...]
    template: str
    """Name and version of the prompt template, e.g. ``sd-qa/1``."""
    max_tokens: int | None = None
    temperature: float | int | None = None
    """None where nothing is sampled or the model refuses to be told."""
    top_logprobs: int | None = None
    """How many of the likeliest first tokens to return with their log-probabilities."""
    draw: int = 0
    """Number of the draw, from 0: the same question asked again is another request."""
    json_schema: str | None = None
    """JSON Schema of the reply, as canonical JSON; endpoints that cannot hold a model to it
    are sent the prompt alone, which asks for the same."""

    def canonical(self) -> str:
        """JSON with sorted keys, no spaces and no None: the same for equal requests only."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        if self.temperature is not None:
            fields["temperature"] = float(self.temperature)  # 1 and 1.0 are one temperature
        return json.dumps(
            fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A candidate token and its log-probability (natural logarithm)."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model returned for one request.

    A client says ``answered``, ``refused`` (the provider withheld the answer) or
    ``failed``; whether an answer can be understood is for the method to say.
    """

    outcome: Outcome
    text: str = ""
    """The text as it came."""
    first_token: tuple[TokenLogprob, ...] = ()
    """The likeliest tokens in first place, likeliest first; empty if not asked for."""
    detail: str = ""
    """Why the call was refused or failed; never holds a key."""
    finish: str = ""
    """Why the text ends, in the endpoint's word: ``stop``, ``length``, ``content_filter``."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    """As the endpoint counted them; None where it did not say."""
    transient: bool = False
    """Of a failed call: whether the same call may succeed later."""
    retry_after: float | None = None
    """Seconds that the endpoint asked to wait before the next call."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an endpoint can do; what it cannot is known before money is spent."""

    chat: bool = True
    """Takes messages; else only a text to complete."""
    top_logprobs: int = 0
    """Most first tokens that it returns with log-probabilities; 0: none."""
    json_schema: bool = False
    """Can hold a reply to a JSON Schema."""
    temperature: bool = True
    """Can be told a temperature; reasoning models often cannot."""
    seed: bool = False
    """Takes a seed; without one, draws differ by chance only."""


@runtime_checkable
class Client(Protocol):
    """Anything that can be asked: an endpoint, a model in this process, a fake."""

    @property
    def model(self) -> str:
        """The name under which the model stands in tables."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request; a call that went wrong is a reply with outcome ``failed``."""
