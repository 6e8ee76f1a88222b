"""From the plan of a model to clients that can be asked, and what they can do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from calib.errors import CalibError
from elicit.budget import Meter, MeteredClient
from elicit.plan import BUNDLED, AskPlan, ModelPlan
from elicit.send import Keeper
from elicit.types import Capabilities, Client, Message, Reply, Request

if TYPE_CHECKING:
    from elicit.openai import OpenAIClient

FAKE: Final = "fake"
CAPABILITIES: Final = "capabilities/1"
"""Stands as template in the store's record of what an endpoint can do."""


@dataclass(frozen=True)
class Connection:
    """A model, ready to be asked."""

    clients: Sequence[Client]
    """They share the groups."""
    at_once: int
    """Calls that each takes at a time."""
    capabilities: Capabilities


def model_name(model: ModelPlan) -> str:
    """The model's name in tables; nothing is loaded."""
    if model.name is not None:
        return model.name
    if model.kind == "fake":
        return FAKE
    from elicit.local import BUNDLED_WEIGHTS

    return Path(BUNDLED_WEIGHTS if model.gguf == BUNDLED else model.gguf).stem


@asynccontextmanager
async def connected(
    model: ModelPlan,
    ask: AskPlan,
    meter: Meter,
    keeper: Keeper,
    *,
    seed: int,
) -> AsyncIterator[Connection]:
    """Clients of the model, until the block ends.

    An endpoint is one client, with patience and rate limits; a model in this process is one
    client a processor, each asked one request at a time. What an endpoint can do is found
    out once, by a few short calls that the meter does not count, and kept.

    Raises
    ------
    CalibError
        Without the key, the packages or the weights that are needed, or if the endpoint
        cannot be asked.
    """
    from elicit.capabilities import probe

    if model.kind == "http":
        from elicit.limits import PatientClient

        async with endpoint(model) as bare:
            client, able = await knowing(bare, model, keeper)
            patient = PatientClient(
                MeteredClient(client, meter),
                requests_per_minute=ask.requests_per_minute,
                tokens_per_minute=ask.tokens_per_minute,
                at_once=ask.at_once,
                seed=seed,
            )
            yield Connection([patient], ask.at_once, able)
        return
    inside: Sequence[Client]
    if model.kind == "fake":
        inside, at_once = [_fake(model)], ask.at_once
    else:
        from elicit.local import bundled_weights, local_clients

        inside = local_clients(bundled_weights() if model.gguf == BUNDLED else model.gguf)
        at_once = 1
    able = await probe(inside[0])
    yield Connection([MeteredClient(one, meter) for one in inside], at_once, able)


async def knowing(
    client: OpenAIClient, model: ModelPlan, keeper: Keeper
) -> tuple[OpenAIClient, Capabilities]:
    """The client with what its endpoint can do: as kept, else found out and kept."""
    from elicit.capabilities import probe

    able = _known(model, keeper)
    if able is None:
        able = await probe(client)
        keeper.put(_record(model), Reply("answered", text=json.dumps(asdict(able))))
    return client.with_capabilities(able), able


def endpoint(model: ModelPlan) -> OpenAIClient:
    """The bare client of an endpoint, its key from the environment."""
    from elicit.openai import OpenAIClient

    if model.name is None:
        raise CalibError(
            "an endpoint is asked for a model by its name; the survey gives none; add name to "
            "[model]"
        )
    return OpenAIClient(
        model.name,
        base_url=model.base_url,
        key_variable=model.api_key_env,
        api=model.api,
        timeout=model.timeout,
    )


def without_secrets(url: str | None) -> str | None:
    """An address without user, password, query and fragment, any of which may be a secret.

    >>> without_secrets("https://user:secret@host:8000/v1?key=secret")
    'https://host:8000/v1'
    """
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _known(model: ModelPlan, keeper: Keeper) -> Capabilities | None:
    key = _record(model).key
    kept = keeper.get_many([key]).get(key)
    return None if kept is None else Capabilities(**json.loads(kept.text))


def _record(model: ModelPlan) -> Request:
    """Under which the capabilities of an endpoint are kept; it is never sent."""
    address = f"{without_secrets(model.base_url)} {model.api}"
    return Request(model_name(model), (Message("system", address),), CAPABILITIES)


def _fake(model: ModelPlan) -> Client:
    from elicit.fake import FakeClient

    return FakeClient(model=model_name(model), **(model.fake or {}))
