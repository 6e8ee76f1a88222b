"""What servers of every dialect can do is found out, by their refusals and by their silence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from stub_server import StubServer

from calib.errors import CalibError
from elicit import capabilities
from elicit.capabilities import check_needs, probe
from elicit.fake import FakeClient
from elicit.openai import OpenAIClient
from elicit.types import Capabilities

EVERYTHING = Capabilities(top_logprobs=20, json_schema=True, seed=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubServer]:
    with StubServer(tmp_path_factory.mktemp("stub") / "log.jsonl") as stub:
        yield stub


def probed(stub: StubServer, *, client: dict[str, Any] | None = None, **settings: Any) -> Any:
    stub.configure(**settings)

    async def work() -> Capabilities:
        async with OpenAIClient("m", base_url=stub.url, **client or {}) as endpoint:
            return await probe(endpoint)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, EVERYTHING),
        ({"refuses": ["max_tokens", "n"]}, EVERYTHING),
        ({"refuses": ["json_schema"]}, Capabilities(top_logprobs=20, seed=True)),
        ({"ignores": ["json_schema"]}, Capabilities(top_logprobs=20, seed=True)),
        ({"ignores": ["seed"]}, Capabilities(top_logprobs=20, json_schema=True)),
        ({"refuses": ["logprobs"]}, Capabilities(json_schema=True, seed=True)),
        ({"ignores": ["logprobs"]}, Capabilities(json_schema=True, seed=True)),
        ({"most_logprobs": 5}, Capabilities(top_logprobs=5, json_schema=True, seed=True)),
        # A reasoning model: no temperature but 1, no log-probabilities, the other limit.
        (
            {"refuses": ["temperature", "logprobs", "max_tokens"]},
            Capabilities(temperature=False, json_schema=True, seed=True),
        ),
        # A model that only continues texts.
        ({"paths": ["completions"]}, Capabilities(chat=False, top_logprobs=20, seed=True)),
        (
            {"refuses": ["seed", "logprobs", "json_schema", "temperature"]},
            Capabilities(temperature=False),
        ),
    ],
)
def test_each_dialect(server: StubServer, settings: dict[str, Any], expected: Capabilities) -> None:
    # The stub's letters would be the same for all seeds; its open texts are not.
    assert probed(server, **settings) == expected
    bodies = server.bodies()
    assert len(bodies) <= 12
    assert not any("n" in body for body in bodies)
    limits = [body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies]
    assert max(limits) <= 64


def test_a_text_model_that_is_named_as_one(server: StubServer) -> None:
    expected = Capabilities(chat=False, top_logprobs=20, seed=True)
    assert probed(server, client={"api": "completions"}) == expected
    received = [event for event in server.events() if event["event"] == "received"]
    assert {event["path"] for event in received} == {"completions"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"api_key": "right"}, "did not accept the API key"),
        ({"models": ["other"]}, "check the model's name"),
        ({"paths": []}, "no such path"),
    ],
)
def test_an_endpoint_that_cannot_be_asked(
    server: StubServer, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(CalibError, match=f"the model 'm' cannot be asked: .*{says}"):
        probed(server, **settings)
    assert len(server.bodies()) == 2


def test_a_passing_fault_is_no_inability(
    server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = {"status": 429, "retry_after": "0.01"}
    monkeypatch.setattr(capabilities, "FIRST_WAIT", 0.01)
    assert probed(server, faults={"1": fault, "3": fault, "5": {"status": 500}}) == EVERYTHING


def test_a_lasting_fault_is_no_inability_either(
    server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "FIRST_WAIT", 0.01)
    down = {str(number): {"status": 503} for number in range(1, 100)}
    with pytest.raises(CalibError, match="what 'm' can do could not be found out"):
        probed(server, faults=down)


def test_clients_that_know_are_not_asked() -> None:
    fake = FakeClient()
    assert asyncio.run(probe(fake)).json_schema
    assert fake.requests == []
    known = OpenAIClient("m", base_url="http://localhost:1/v1", capabilities=Capabilities())
    assert asyncio.run(probe(known)) == Capabilities()
    fake.capabilities = None
    with pytest.raises(CalibError, match="give it an attribute 'capabilities'"):
        asyncio.run(probe(fake))


def test_needs() -> None:
    check_needs(frozenset(), Capabilities())
    check_needs({"logprobs"}, Capabilities(top_logprobs=1))
    with pytest.raises(CalibError, match=r"endpoint of 'm' gives none; .* 'verbalized'"):
        check_needs({"logprobs"}, Capabilities(), model="m")
