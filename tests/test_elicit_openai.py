"""The endpoint client against a stub that refuses, ignores, hangs and quotes keys."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_server import LETTER_MASS, StubServer, shares

from calib.errors import CalibError, MissingExtraError
from elicit.openai import OpenAIClient
from elicit.types import Capabilities, Client, Message, Reply, Request

PROMPT = "Question: More?\nA. less\nB. more\nC. same\nAnswer:"
SECRET = "sk-verysecret/0123456789+abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubServer]:
    with StubServer(tmp_path_factory.mktemp("stub") / "log.jsonl") as stub:
        yield stub


@pytest.fixture
def stub(server: StubServer) -> StubServer:
    server.configure()
    return server


def request(text: str = PROMPT, **fields: Any) -> Request:
    return Request("m", (Message("user", text),), "t/1", **fields)


def ask(client: OpenAIClient, *requests: Request) -> list[Reply]:
    async def all_of_them() -> list[Reply]:
        async with client:
            return [await client.complete(one) for one in requests]

    return asyncio.run(all_of_them())


def asked(stub: StubServer, one: Request, **settings: Any) -> Reply:
    (reply,) = ask(OpenAIClient("m", base_url=stub.url, **settings), one)
    return reply


def letter_shares(reply: Reply) -> dict[str, float]:
    found = dict.fromkeys("ABC", 0.0)
    for candidate in reply.first_token:
        letter = candidate.token.strip(" (")
        if letter in found:
            found[letter] += math.exp(candidate.logprob) / LETTER_MASS
    return found


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_reply_with_its_distribution(stub: StubServer, api: Any) -> None:
    reply = asked(stub, request(top_logprobs=20, temperature=0.0, max_tokens=1), api=api)
    assert (reply.outcome, reply.finish) == ("answered", "stop")
    truth = dict(zip("ABC", shares(PROMPT), strict=True))
    assert letter_shares(reply) == pytest.approx(truth)
    assert reply.text == max(truth, key=truth.__getitem__)
    assert (reply.tokens_in, reply.tokens_out) == (len(PROMPT.split()), 1)
    (body,) = stub.bodies()
    assert "n" not in body
    assert body["max_tokens"] == 1


def test_it_is_a_client_whose_repr_has_no_key(stub: StubServer) -> None:
    url = stub.url.replace("http://", "http://user:password@") + "?token=x"
    client = OpenAIClient("m", base_url=url, api_key=SECRET)
    assert isinstance(client, Client)
    assert repr(client) == f"OpenAIClient('m', base_url='{stub.url}')"


def test_the_token_limit_s_other_name_is_learned(stub: StubServer) -> None:
    stub.configure(refuses=["max_tokens"])
    client = OpenAIClient("m", base_url=stub.url)
    replies = ask(client, request(max_tokens=3), request("A. x\nB. y", max_tokens=3))
    assert [reply.outcome for reply in replies] == ["answered"] * 2
    names = [set(body) & {"max_tokens", "max_completion_tokens"} for body in stub.bodies()]
    assert names == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


@pytest.mark.parametrize("refused", ["temperature", "json_schema", "logprobs", "seed"])
def test_refused_parameters_fail_unless_known(stub: StubServer, refused: str) -> None:
    stub.configure(refuses=[refused])
    one = request(temperature=0.5, json_schema='{"properties":{"A":{}}}', top_logprobs=5)
    everything = Capabilities(top_logprobs=20, json_schema=True, seed=True)
    reply = asked(stub, one, capabilities=everything)
    assert reply.outcome == "failed" and not reply.transient
    assert "refused the request (400)" in reply.detail
    nothing = Capabilities(temperature=False)
    without = request(temperature=0.5, json_schema='{"properties":{"A":{}}}')
    assert asked(stub, without, capabilities=nothing).outcome == "answered"


def test_no_call_for_what_is_known_to_be_missing(stub: StubServer) -> None:
    reply = asked(stub, request(top_logprobs=5), capabilities=Capabilities())
    assert reply.outcome == "failed" and "verbalized" in reply.detail
    assert stub.bodies() == []


def test_without_chat_the_text_is_completed(stub: StubServer) -> None:
    stub.configure(paths=["completions"])
    can = Capabilities(chat=False)
    assert asked(stub, request(), capabilities=can).outcome == "answered"
    assert asked(stub, request()).detail.startswith("the endpoint does not know this model")


def test_log_probabilities_that_are_left_out(stub: StubServer) -> None:
    stub.configure(ignores=["logprobs"])
    reply = asked(stub, request(top_logprobs=5))
    assert (reply.outcome, reply.first_token) == ("answered", ())


@pytest.mark.parametrize(
    ("fault", "outcome", "transient", "says"),
    [
        ({"status": 429, "retry_after": "7"}, "failed", True, "rate limit"),
        ({"status": 500}, "failed", True, "the endpoint failed (500)"),
        ({"status": 400}, "failed", False, "scripted"),
        ({"body": "{not JSON"}, "failed", True, "not of the OpenAI form"),
        ({"body": ""}, "failed", True, "not of the OpenAI form"),
        ({"close": True}, "failed", True, "no connection to http://127.0.0.1"),
        ({"finish": "content_filter"}, "refused", False, "content filter"),
        ({"refusal": "No."}, "refused", False, "declined"),
        ({"answer": {"choices": []}}, "failed", True, "not of the OpenAI form"),
    ],
)
def test_faults(
    stub: StubServer, fault: dict[str, Any], outcome: str, transient: bool, says: str
) -> None:
    stub.configure(faults={"0": fault})
    first, second = ask(OpenAIClient("m", base_url=stub.url), request(), request())
    assert first.outcome == outcome
    assert first.transient is transient
    assert says in first.detail
    assert first.retry_after == (7.0 if "retry_after" in fault else None)
    assert second.outcome == "answered"


def test_a_server_that_hangs(stub: StubServer) -> None:
    stub.configure(faults={"0": {"hang": True}})
    client = OpenAIClient("m", base_url=stub.url, timeout=0.3)
    first, second = ask(client, request(), request())
    assert first.outcome == "failed" and first.transient
    assert "gave no reply within 0.3 s" in first.detail
    assert second.outcome == "answered"


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        (reply,) = ask(OpenAIClient("m", base_url=url), request())
    assert reply.outcome == "failed" and reply.transient
    assert f"no connection to {url} (ConnectError); check the base URL" in reply.detail


def test_an_unknown_model(stub: StubServer) -> None:
    stub.configure(models=["other"])
    reply = asked(stub, request())
    assert reply.outcome == "failed" and not reply.transient
    assert "`m` does not exist" in reply.detail and "check the model's name" in reply.detail


class TestKeys:
    def test_the_right_one_is_sent_and_a_wrong_one_said(self, stub: StubServer) -> None:
        stub.configure(api_key=SECRET)
        assert asked(stub, request(), api_key=f"{SECRET}\n").outcome == "answered"
        for wrong in ({"api_key": "sk-another-secret"}, {}):
            reply = asked(stub, request(), **wrong)
            assert reply.outcome == "failed" and not reply.transient
            assert "did not accept the API key (401)" in reply.detail
            assert "another" not in reply.detail

    def test_it_stands_in_no_reply(self, stub: StubServer) -> None:
        # Servers that quote the key, where possible so that cutting the text would halve it.
        long = "x" * 285 + SECRET
        faults: list[dict[str, Any]] = [
            {"status": 400, "message": f"bad request with {SECRET}"},
            {"status": 400, "message": long},
            {"status": 500, "message": long, "code": SECRET},
            {"body": f"not JSON {SECRET}"},
            {"answer": {"error": SECRET}},
            {"refusal": f"I won't tell {SECRET}"},
            {"text": f"Your key is {SECRET}"},
            {"body": '{"error": "' + SECRET.replace("/", "\\/") + '"}'},
        ]
        stub.configure(faults={str(place): fault for place, fault in enumerate(faults)})
        client = OpenAIClient("m", base_url=stub.url, api_key=SECRET)
        for reply in ask(client, *[request()] * len(faults)):
            assert "verysecret" not in repr(reply)
            assert "sk-" not in repr(reply)

    def test_from_a_variable(self, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        stub.configure(api_key=SECRET)
        monkeypatch.setenv("MY_KEY", SECRET)
        assert asked(stub, request(), key_variable="MY_KEY").outcome == "answered"
        monkeypatch.setenv("MY_KEY", " ")
        with pytest.raises(CalibError, match="variable MY_KEY; it is not set"):
            OpenAIClient("m", base_url=stub.url, key_variable="MY_KEY")

    def test_openai_s_key_goes_to_openai_only(
        self, stub: StubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub.configure(api_key=SECRET)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        assert "401" in asked(stub, request()).detail
        # Whoever sets both variables means them together.
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        (reply,) = ask(OpenAIClient("m"), request())
        assert reply.outcome == "answered"
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(CalibError, match="OPENAI_API_KEY"):
            OpenAIClient("m")

    def test_one_that_cannot_be_sent_is_refused_unquoted(self) -> None:
        for key in ("sk-ä-secret", "sk\x00secret"):
            with pytest.raises(CalibError, match="printable ASCII") as caught:
                OpenAIClient("m", base_url="http://localhost/v1", api_key=key)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:8080/v1", "ftp://x/v1", "http://", "http://[::1", "http://x:99999999/"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(CalibError, match="begins with http:// or https://"):
        OpenAIClient("m", base_url=url)


def test_openai_s_own_models_are_sent_the_newer_name() -> None:
    client = OpenAIClient("m", base_url="https://api.openai.com/v1/", api_key="none")
    assert client.body(request(max_tokens=1))["max_completion_tokens"] == 1


def test_one_client_in_several_event_loops(stub: StubServer) -> None:
    client = OpenAIClient("m", base_url=stub.url)
    for _ in range(3):
        (reply,) = ask(client, request())
        assert reply.outcome == "answered"


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[llm\]"):
        OpenAIClient("m", base_url="http://localhost/v1")


def test_calls_are_answered_side_by_side(stub: StubServer) -> None:
    stub.configure(delay=0.1)

    async def many() -> list[Reply]:
        async with OpenAIClient("m", base_url=stub.url) as client:
            calls = [client.complete(request(f"{PROMPT} {place}")) for place in range(32)]
            return await asyncio.gather(*calls)

    assert {reply.outcome for reply in asyncio.run(many())} == {"answered"}
    events = stub.events()
    received = [event["at"] for event in events if event["event"] == "received"]
    first_answer = min(event["at"] for event in events if event["event"] == "answered")
    # The first answer took 0.1 s: in a queue at most one call would have come before it.
    assert sum(moment < first_answer for moment in received) > 4


def test_the_log_says_what_was_received_and_answered(stub: StubServer, tmp_path: Path) -> None:
    asked(stub, request())
    received, answered = stub.events()
    assert (received["event"], received["number"], received["path"]) == (
        "received",
        0,
        "chat/completions",
    )
    assert (answered["event"], answered["number"], answered["status"]) == ("answered", 0, 200)
