"""What an endpoint can do: found out by asking it, before the questions are."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from calib.errors import CalibError
from elicit.limits import PatientClient
from elicit.openai import OpenAIClient
from elicit.types import Capabilities, Client, Message, Reply, Request

TOP_LOGPROBS: Final = (20, 5)
"""Numbers of first tokens that are tried; hosted endpoints give 20, others 5."""
FIRST_WAIT: Final = 1.0
"""Seconds before a failed probe is repeated, see ``limits.PatientClient``."""
_PATIENCE: Final = 3
_WORD: Final = "kiwi"
_SCHEMA: Final = json.dumps(
    {
        "additionalProperties": False,
        "properties": {"word": {"enum": [_WORD], "type": "string"}},
        "required": ["word"],
        "type": "object",
    },
    sort_keys=True,
    separators=(",", ":"),
)
_PLAIN: Final = "Reply with one word: yes."
_OPEN: Final = "Write one short sentence about anything at all."
# Reasoning models need some room even for one word, and fail with less.
_ROOM: Final = 64


@runtime_checkable
class Knowing(Client, Protocol):
    """A client that says what it can do; None if it has yet to be found out."""

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do."""


async def probe(client: Client) -> Capabilities:
    """What a client can do; an endpoint of which that is not known is asked up to 9 times.

    The first call shows that address, key and model are right. Each further one asks for
    one thing that endpoints refuse or silently leave out, and looks at the answer: whether
    log-probabilities came, whether a reply that should have one form had it, whether the
    same seed gave the same text twice. Prompts are of a few words, replies of at most 64
    tokens.

    Raises
    ------
    CalibError
        If the endpoint cannot be asked at all, or not now.
    """
    known = client.capabilities if isinstance(client, Knowing) else None
    if known is not None:
        return known
    if not isinstance(client, OpenAIClient):
        raise CalibError(
            f"a client that is not an endpoint says itself what it can do; {client.model!r} does "
            "not; give it an attribute 'capabilities'"
        )
    bare = Capabilities(temperature=False, chat=client.api == "chat")
    bare = await _reached(client, bare)
    found = replace(bare, top_logprobs=await _top_logprobs(client, bare))
    warm = replace(bare, temperature=True)
    # 1 is the one temperature that reasoning models are content with.
    if await _taken(client, warm, _asked(client, _PLAIN, temperature=0.7)):
        found = replace(found, temperature=True)
    if bare.chat and await _holds_schema(client, bare):
        found = replace(found, json_schema=True)
    if await _repeats(client, replace(found, top_logprobs=0, json_schema=False, seed=True)):
        found = replace(found, seed=True)
    return found


@dataclass(frozen=True, slots=True)
class _Need:
    attribute: str
    what: str
    instead: str


_NEEDS: Final = {
    "logprobs": _Need("top_logprobs", "log-probabilities of the first token", "verbalized"),
}


def check_needs(needs: Collection[str], capabilities: Capabilities, *, model: str = "") -> None:
    """Refuse a method whose needs an endpoint does not meet, naming one that it can do.

    Parameters
    ----------
    needs
        What the method cannot do without: ``logprobs``.
    model
        For the message.

    Raises
    ------
    CalibError
        If a need is not met.
    """
    for name in sorted(needs):
        need = _NEEDS[name]
        if not getattr(capabilities, need.attribute):
            raise CalibError(
                f"this elicitation needs {need.what}; the endpoint of {model or 'this model'!r} "
                f"gives none; ask with the elicitation {need.instead!r} instead, or use an "
                "endpoint that gives them"
            )


async def _reached(client: OpenAIClient, bare: Capabilities) -> Capabilities:
    """Show that the model can be asked, with messages or else with a text to complete."""
    reply = await _ask(client, bare, _asked(client, _PLAIN))
    if reply.outcome != "failed":
        return bare
    if bare.chat:
        text_only = replace(bare, chat=False)
        if (await _ask(client, text_only, _asked(client, _PLAIN))).outcome != "failed":
            return text_only
    raise CalibError(f"the model {client.model!r} cannot be asked: {reply.detail}")


async def _top_logprobs(client: OpenAIClient, bare: Capabilities) -> int:
    """How many log-probabilities come back; 0 where none do, refused or left out."""
    for most in TOP_LOGPROBS:
        can = replace(bare, top_logprobs=most)
        reply = await _ask(client, can, _asked(client, _PLAIN, top_logprobs=most))
        if reply.outcome != "failed":
            # A refusal carries none either way, but is no sign that there are none.
            return min(len(reply.first_token), most)
    return 0


async def _holds_schema(client: OpenAIClient, bare: Capabilities) -> bool:
    """Whether a word comes back that only the schema speaks of."""
    can = replace(bare, json_schema=True)
    reply = await _ask(client, can, _asked(client, _PLAIN, json_schema=_SCHEMA))
    try:
        return reply.outcome == "answered" and json.loads(reply.text) == {"word": _WORD}
    except ValueError:
        return False


async def _repeats(client: OpenAIClient, can: Capabilities) -> bool:
    """Whether the same seed gives the same text, and another seed another."""
    requests = [_asked(client, _OPEN, temperature=1.0, draw=draw) for draw in (7, 7, 8)]
    texts = []
    for request in requests:
        reply = await _ask(client, can, request)
        if reply.outcome != "answered":
            return False
        texts.append(reply.text)
    return texts[0] == texts[1] != texts[2]


async def _taken(client: OpenAIClient, can: Capabilities, request: Request) -> bool:
    return (await _ask(client, can, request)).outcome != "failed"


async def _ask(client: OpenAIClient, can: Capabilities, request: Request) -> Reply:
    """The reply; one that failed says no for good.

    Raises
    ------
    CalibError
        If it failed in a way that says nothing of what the endpoint can do.
    """
    patient = PatientClient(client.with_capabilities(can), retries=_PATIENCE, first_wait=FIRST_WAIT)
    reply = await patient.complete(request)
    if reply.outcome == "failed" and reply.transient:
        raise CalibError(f"what {client.model!r} can do could not be found out: {reply.detail}")
    return reply


def _asked(
    client: OpenAIClient,
    text: str,
    *,
    temperature: float | None = None,
    top_logprobs: int | None = None,
    json_schema: str | None = None,
    draw: int = 0,
) -> Request:
    return Request(
        client.model,
        (Message("user", text),),
        "probe/1",
        max_tokens=_ROOM,
        temperature=temperature,
        top_logprobs=top_logprobs,
        json_schema=json_schema,
        draw=draw,
    )
