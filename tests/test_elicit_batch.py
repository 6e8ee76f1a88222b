"""Batch files: each request once, each reply under its key, whatever was killed between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stub_server import StubServer

from calib.errors import CalibError, DataError
from elicit import batch
from elicit.batch import Collected, Part, collect, fetch, read_parts, submit, write_batch
from elicit.openai import OpenAIClient
from elicit.store import Store
from elicit.types import Message, Reply, Request

SECRET = "sk-verysecret-0123456789"
REQUESTS = [
    Request(
        "m",
        (Message("user", f"Nr. {number} «é\u2028»\nA. less\nB. more"),),
        "t/1",
        max_tokens=1,
        temperature=0.0,
        top_logprobs=5,
    )
    for number in range(10)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubServer]:
    with StubServer(tmp_path_factory.mktemp("stub") / "log.jsonl") as stub:
        yield stub


@pytest.fixture
def stub(server: StubServer) -> StubServer:
    server.configure()
    return server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "replies.db") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "batch"


def endpoint(stub: StubServer) -> OpenAIClient:
    return OpenAIClient("m", base_url=stub.url, api_key=SECRET)


def write(stub: StubServer, folder: Path, store: Store, **settings: Any) -> tuple[Part, ...]:
    return write_batch(REQUESTS, folder, client=endpoint(stub), store=store, **settings)


def sent(
    step: Callable[[Path, OpenAIClient], Awaitable[tuple[Part, ...]]],
    stub: StubServer,
    folder: Path,
) -> tuple[Part, ...]:
    async def work() -> tuple[Part, ...]:
        async with endpoint(stub) as client:
            return await step(folder, client)

    return asyncio.run(work())


def calls(stub: StubServer, path: str) -> int:
    return sum(
        event["event"] == "received" and event["path"] == path and event["body"] is not None
        for event in stub.events()
    )


def uploads(stub: StubServer) -> int:
    return sum(e["event"] == "received" and e["path"] == "files" for e in stub.events())


def test_the_same_replies_under_the_same_keys_as_by_calls(
    stub: StubServer, folder: Path, store: Store
) -> None:
    write(stub, folder, store, most_lines=4)
    assert [part.status for part in sent(submit, stub, folder)] == ["validating"] * 3
    assert [part.fetched for part in sent(fetch, stub, folder)] == [True] * 3
    assert collect(folder, store) == Collected({"answered": 10}, {}, 0, 0, 0, 0)

    async def one_by_one() -> list[Reply]:
        async with endpoint(stub) as client:
            return [await client.complete(request) for request in REQUESTS]

    for request, reply in zip(REQUESTS, asyncio.run(one_by_one()), strict=True):
        assert store.get(request.key) == reply
        assert len(reply.first_token) == 5


def test_what_is_written(stub: StubServer, folder: Path, store: Store) -> None:
    store.put(REQUESTS[0], Reply("answered", text="A"))
    store.put(REQUESTS[1], Reply("failed"))
    twice = [*REQUESTS, *REQUESTS]
    parts = write_batch(twice, folder, client=endpoint(stub), store=store, most_lines=4)
    assert parts == (Part("part-001", 4), Part("part-002", 4), Part("part-003", 1))
    assert parts == read_parts(folder)
    lines = [
        json.loads(line)
        for part in parts
        for line in (folder / f"{part.name}.jsonl").read_text("utf-8").splitlines()
    ]
    assert [line["custom_id"] for line in lines] == [request.key for request in REQUESTS[1:]]
    assert max(len(line["custom_id"]) for line in lines) <= 64
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert lines[0]["body"]["messages"] == [
        {"role": "user", "content": REQUESTS[1].messages[0].content}
    ]
    assert stub.bodies() == []
    assert not any(SECRET in path.read_text("utf-8") for path in folder.iterdir())


def test_files_are_split_by_size_too(stub: StubServer, folder: Path, store: Store) -> None:
    parts = write(stub, folder, store, most_bytes=1000)
    sizes = [(folder / f"{part.name}.jsonl").stat().st_size for part in parts]
    assert max(sizes) <= 1000
    assert len(parts) > 1
    assert sum(part.requests for part in parts) == 10


def test_nothing_to_ask_writes_nothing(stub: StubServer, folder: Path, store: Store) -> None:
    for request in REQUESTS:
        store.put(request, Reply("refused"))
    assert write(stub, folder, store) == ()
    assert not folder.exists()


def test_a_sent_batch_is_not_written_over(stub: StubServer, folder: Path, store: Store) -> None:
    write(stub, folder, store, most_lines=4)
    assert len(write(stub, folder, store)) == 1
    assert len(read_parts(folder)) == 1
    sent(submit, stub, folder)
    with pytest.raises(DataError, match="holds something else"):
        write(stub, folder, store)
    with pytest.raises(DataError, match="a batch is a folder with files"):
        read_parts(folder.parent)


def test_every_step_can_be_repeated(stub: StubServer, folder: Path, store: Store) -> None:
    stub.configure(batch_polls=1)
    write(stub, folder, store, most_lines=6)
    first = sent(submit, stub, folder)
    assert sent(submit, stub, folder) == first
    assert (uploads(stub), calls(stub, "batches")) == (2, 2)
    assert collect(folder, store).not_fetched == 10
    assert [part.status for part in sent(fetch, stub, folder)] == ["in_progress"] * 2
    assert [part.status for part in sent(fetch, stub, folder)] == ["completed"] * 2
    before = len(stub.events())
    sent(fetch, stub, folder)
    assert len(stub.events()) == before
    assert collect(folder, store).outcomes == {"answered": 10}
    again = collect(folder, store)
    assert (again.outcomes, again.already_stored) == ({}, 10)
    assert store.stats().replies == {"answered": 10}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", range(4))
def test_killed_while_sending(
    stub: StubServer, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    # Before each note of what was sent: after an upload, after a batch was made.
    write(stub, folder, store, most_lines=6)
    known = _batches(stub)
    save, notes = batch._save, iter(range(100))

    def save_or_die(place: Path, part: Part) -> Part:
        if next(notes) == moment:
            raise Killed
        return save(place, part)

    monkeypatch.setattr(batch, "_save", save_or_die)
    with pytest.raises(Killed):
        sent(submit, stub, folder)
    monkeypatch.setattr(batch, "_save", save)
    parts = sent(submit, stub, folder)
    assert all(part.batch_id for part in parts)
    # At most a file is there twice, which costs nothing; a batch never is.
    assert uploads(stub) <= 3
    assert len(_batches(stub)) - len(known) == 2
    sent(fetch, stub, folder)
    assert collect(folder, store).outcomes == {"answered": 10}


def _batches(stub: StubServer) -> list[str]:
    async def listed() -> list[str]:
        async with endpoint(stub) as client:
            return [one.id async for one in client.connection().batches.list()]

    return asyncio.run(listed())


def test_failures_are_counted_and_asked_again(stub: StubServer, folder: Path, store: Store) -> None:
    faults = {
        "line-1": {"status": 429},
        "line-4": {"status": 500},
        "line-7": {"finish": "content_filter"},
    }
    stub.configure(faults=faults)
    write(stub, folder, store)
    sent(submit, stub, folder)
    sent(fetch, stub, folder)
    found = collect(folder, store)
    assert found.outcomes == {"answered": 7, "failed": 2, "refused": 1}
    assert sum(found.failures.values()) == 2
    assert any("rate limit" in detail for detail in found.failures)
    again = folder.with_name("again")
    write(stub, again, store)
    lines = (again / "part-001.jsonl").read_text("utf-8").splitlines()
    keys = [json.loads(line)["custom_id"] for line in lines]
    assert keys == [REQUESTS[1].key, REQUESTS[4].key]


def test_lines_that_answer_nothing(stub: StubServer, folder: Path, store: Store) -> None:
    write(stub, folder, store)
    sent(submit, stub, folder)
    sent(fetch, stub, folder)
    output = folder / "part-001.output.jsonl"
    lines = output.read_text("utf-8").splitlines()
    expired = {"custom_id": json.loads(lines[2])["custom_id"], "response": None,
               "error": {"code": "batch_expired", "message": "too late"}}  # fmt: skip
    bare = json.loads(lines[3])
    bare["response"]["body"]["choices"][0]["logprobs"] = None
    changed = [lines[0], lines[0], lines[1][:50], json.dumps(expired), json.dumps(bare), "[]",
               json.dumps({"custom_id": "another"})]  # fmt: skip
    output.write_text("\n".join(changed), "utf-8")
    found = collect(folder, store)
    assert found.outcomes == {"answered": 1, "failed": 2}
    assert found.unknown == 4
    assert found.missing == 7
    assert sorted(found.failures) == [
        "log-probabilities were asked for and the reply carries none",
        "the provider did not run it: too late",
    ]


def test_an_endpoint_without_batches(stub: StubServer, folder: Path, store: Store) -> None:
    write(stub, folder, store)
    stub.configure(faults={"0": {"status": 404, "message": f"no {SECRET} here"}})
    with pytest.raises(CalibError, match=r"takes batch files; .*\(404\).*'elicit run'") as caught:
        sent(submit, stub, folder)
    assert SECRET not in str(caught.value)
    assert read_parts(folder) == (Part("part-001", 10),)


def test_an_endpoint_that_is_away(stub: StubServer, folder: Path, store: Store) -> None:
    write(stub, folder, store)
    stub.configure(faults={"1": {"close": True}})
    with pytest.raises(CalibError, match="no connection to"):
        sent(submit, stub, folder)
    (part,) = read_parts(folder)
    assert part.file_id and not part.batch_id
    assert sent(submit, stub, folder)[0].batch_id


def test_completions_have_their_own_address(stub: StubServer, folder: Path, store: Store) -> None:
    client = OpenAIClient("m", base_url=stub.url, api="completions")
    write_batch(REQUESTS, folder, client=client, store=store)
    (first, *_) = (folder / "part-001.jsonl").read_text("utf-8").splitlines()
    assert json.loads(first)["url"] == "/v1/completions"
    assert replace(REQUESTS[0]).key == json.loads(first)["custom_id"]
