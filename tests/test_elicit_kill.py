"""A run that is killed again and again ends with the table of an undisturbed one."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from stub_server import StubServer
from survey_files import command, elicit, write_survey

AT_ONCE = 32
DELAY = 0.02
DRAWS = 5
N_QUESTIONS = 5
ASKED = "How much of thing"


def a_survey(folder: Path, server: StubServer, n_calls: int) -> Path:
    """Cells of five draws in both orders: each call has a body of its own, by its seed."""
    return write_survey(
        folder / "survey.toml",
        model={"name": "stub", "base_url": server.url},
        ask={"elicitation": "self_random", "draws": DRAWS, "orders": "both", "at_once": AT_ONCE},
        n_questions=N_QUESTIONS,
        n_groups=n_calls // (2 * DRAWS * N_QUESTIONS),
    )


class Log:
    """The server's log, read on where it was left."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.read = 0

    def received(self) -> list[str]:
        """Bodies of the survey's calls that have come since the last look."""
        with self.file.open("rb") as file:
            file.seek(self.read)
            whole = file.read().rpartition(b"\n")[0]
        self.read += len(whole) + 1 if whole else 0
        events = [json.loads(line) for line in whole.splitlines()]
        return bodies(events)


def bodies(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of the survey's calls; those that find out what the endpoint can do are no part of it."""
    received = (event["body"] for event in events if event["event"] == "received")
    return [
        text for text in (json.dumps(body, sort_keys=True) for body in received) if ASKED in text
    ]


def run_and_kill(words: Sequence[object], log: Log, after: int, wait: float) -> list[str]:
    """Start a run, kill it some time after it made so many calls; the calls that it made."""
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    made: list[str] = []
    while len(made) < after:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.002)
        made += log.received()
    time.sleep(wait)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    time.sleep(2 * DELAY)  # until the server is done with what was under way
    return made + log.received()


def check_kills(folder: Path, *, n_calls: int, n_kills: int, seed: int) -> None:
    generator = random.Random(seed)
    with StubServer(folder / "log", delay=DELAY) as server:
        survey = a_survey(folder, server, n_calls)
        whole = elicit("run", survey, "-o", folder / "whole.parquet", "--store", folder / "w.db")
        assert whole.returncode == 0, whole.stderr
        undisturbed = bodies(server.events())
        assert len(undisturbed) == len(set(undisturbed)) == n_calls

        server.configure(delay=DELAY)
        log = Log(server.log_file)
        words = ("run", survey, "-o", folder / "killed.parquet", "--store", folder / "k.db")
        moments = sorted(generator.sample(range(1, n_calls), n_kills))
        sessions: list[list[str]] = []
        for moment in moments:
            so_far = len(set().union(*sessions)) if sessions else 0
            after = max(1, moment - so_far)
            sessions.append(run_and_kill(words, log, after, generator.uniform(0, DELAY)))
        last = elicit(*words)
        assert last.returncode == 0, last.stderr
        sessions.append(log.received())

    assert (folder / "killed.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    assert set().union(*sessions) == set(undisturbed)
    again = []
    for number, session in enumerate(sessions):
        assert len(session) == len(set(session))
        later = set().union(*sessions[number + 1 :])
        again.append(len(set(session) & later))
    # What was under way when a run was killed, and nothing else, is asked again.
    assert max(again) <= AT_ONCE
    assert again[-1] == 0
    print(f"asked again after each kill: {again}; {sum(map(len, sessions))} calls in all")


def test_three_kills(tmp_path: Path) -> None:
    check_kills(tmp_path, n_calls=200, n_kills=3, seed=1)


@pytest.mark.slow
def test_twenty_kills_in_two_thousand_calls(tmp_path: Path) -> None:
    check_kills(tmp_path, n_calls=2000, n_kills=20, seed=2)
