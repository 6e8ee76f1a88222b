"""Replies are kept for good: killed, shared between processes, or full of odd text."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import CalibError, DataError
from elicit.store import SCHEMA_VERSION, Store, read_request
from elicit.types import Message, Reply, Request, TokenLogprob

ANSWERED = Reply(
    "answered",
    text="A",
    first_token=(TokenLogprob("A", -0.1), TokenLogprob(" B", -2.5)),
    finish="stop",
    tokens_in=12,
    tokens_out=1,
)


def request(text: str = "Q", *, draw: int = 0, model: str = "m") -> Request:
    return Request(model, (Message("user", text),), "t/1", draw=draw)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replies.db"


def test_a_reply_comes_back_as_it_was(path: Path) -> None:
    with Store(path) as store:
        assert store.get(request().key) is None
        store.put(request(), ANSWERED)
        assert store.get(request().key) == ANSWERED
        assert store.get(request(draw=1).key) is None
    with Store(path) as store:
        assert store.get(request().key) == ANSWERED


def test_failures_are_kept_but_are_no_replies(path: Path) -> None:
    failed = Reply("failed", detail="down", transient=True, retry_after=1.5)
    with Store(path) as store:
        store.put(request(), failed)
        assert store.get(request().key) is None
        store.put(request(), Reply("refused", detail="no"))
        store.put(request(), replace(failed))
        assert store.get(request().key) == Reply("refused", detail="no")
        assert [record.reply.outcome for record in store.records()] == [
            "failed",
            "refused",
            "failed",
        ]


def test_the_last_final_reply_counts(path: Path) -> None:
    with Store(path) as store:
        store.put(request(), Reply("answered", text="first"))
        store.put(request(), Reply("answered", text="last"))
        found = store.get(request().key)
        assert found is not None and found.text == "last"


def test_records_hold_requests_with_their_keys(path: Path) -> None:
    asked = Request(
        "m",
        (Message("system", "S"), Message("user", 'é "{}"\n\u2028')),
        "t/2",
        max_tokens=5,
        temperature=1,
        top_logprobs=3,
        draw=2,
        json_schema='{"type":"object"}',
    )
    before = time.time()
    with Store(path) as store:
        store.put(asked, ANSWERED)
        (record,) = store.records()
    assert record.request == asked
    assert record.request.key == asked.key
    assert before - 1 <= record.at <= time.time() + 1
    assert read_request(asked.canonical()) == asked


@given(
    text=st.text(st.characters(), max_size=30) | st.just("\ud83d half a pair") | st.just("\x00"),
    logprob=st.floats(allow_nan=False) | st.just(-math.inf),
)
def test_any_text_is_kept(
    tmp_path_factory: pytest.TempPathFactory, text: str, logprob: float
) -> None:
    reply = Reply("answered", text=text, first_token=(TokenLogprob(text, logprob),), detail=text)
    with Store(tmp_path_factory.mktemp("store") / "s.db") as store:
        store.put(request(), reply)
        assert store.get(request().key) == reply


def test_stats_count_requests_once(path: Path) -> None:
    with Store(path) as store:
        assert store.stats().as_dict() == {
            "requests": 0,
            "replies": {},
            "models": {},
            "templates": {},
            "tokens_in": 0,
            "tokens_out": 0,
            "replies_without_tokens": 0,
            "first": None,
            "last": None,
        }
        store.put(request(), ANSWERED)
        store.put(request(), ANSWERED)
        store.put(request(draw=1), Reply("answered"))
        store.put(request(draw=2), Reply("failed"))
        store.put(request(model="n"), Reply("refused"))
        stats = store.stats()
    assert stats.requests == 3
    assert stats.replies == {"answered": 3, "failed": 1, "refused": 1}
    assert stats.models == {"m": 2, "n": 1}
    assert stats.templates == {"t/1": 3}
    assert (stats.tokens_in, stats.tokens_out, stats.replies_without_tokens) == (24, 2, 1)
    assert stats.first is not None and stats.last is not None
    assert stats.first <= stats.last


@pytest.mark.parametrize("statement", ["DELETE FROM replies", "UPDATE replies SET outcome = 'x'"])
def test_nothing_is_deleted_or_changed(path: Path, statement: str) -> None:
    with Store(path) as store:
        store.put(request(), ANSWERED)
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="replies are never"):
        database.execute(statement)
    database.close()


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "table.csv"
    text.write_text("a,b\n" * 100)
    with pytest.raises(DataError, match="a store is a SQLite file made by this package"):
        Store(text)
    assert text.read_text() == "a,b\n" * 100
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE replies (x)")
    database.close()
    before = other.read_bytes()
    with pytest.raises(DataError, match="found another SQLite database"):
        Store(other)
    assert other.read_bytes() == before
    with pytest.raises(CalibError, match="a file that can be read and written"):
        Store(tmp_path)


def test_another_version_says_so(path: Path) -> None:
    Store(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(DataError, match=f"found schema {SCHEMA_VERSION + 1}; remedy: use the"):
        Store(path)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with Store(path) as store:
        store.put(request(), ANSWERED)
    path.parent.joinpath("new").mkdir()
    Store(path.parent / "new" / "er" / "s.db").close()


def test_many_keys_at_once(path: Path) -> None:
    asked = [request(draw=draw) for draw in range(500)]
    with Store(path) as store:
        for one in asked[::2]:
            store.put(one, replace(ANSWERED, text=str(one.draw)))
        found = store.get_many([one.key for one in asked] * 2)
        assert store.get_many([]) == {}
    assert {reply.text for reply in found.values()} == {str(draw) for draw in range(0, 500, 2)}
    assert found[asked[8].key].text == "8"


WRITER = """
import sys
from elicit.store import Store
from elicit.types import Message, Reply, Request
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store(path) as store:
    for draw in range(count):
        store.put(Request(name, (Message("user", "Q"),), "t/1", draw=draw), Reply("answered", name))
        print(draw, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_open_and_write_one_new_file(path: Path) -> None:
    writers = [writer(path, name, 50) for name in "abcd"]
    assert [process.wait(timeout=60) for process in writers] == [0] * 4
    for process in writers:
        process.communicate()
    with Store(path) as store:
        assert store.stats().models == dict.fromkeys("abcd", 50)


def test_what_was_put_survives_a_kill_at_any_moment(path: Path) -> None:
    said = 0
    for attempt in range(5):
        process = writer(path, f"m{attempt}", 100_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(1 + 37 * attempt)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.communicate()[0].splitlines(keepends=True)
        said += sum(line.endswith("\n") for line in lines)
        with Store(path) as store:
            kept = store.stats().requests
            # What was said to be put is there; one more at most was under way at each kill.
            assert said <= kept <= said + attempt + 1
            said = kept
            first = request(model=f"m{attempt}")
            assert store.get(first.key) == Reply("answered", f"m{attempt}")
