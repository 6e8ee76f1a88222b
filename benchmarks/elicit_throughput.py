"""Calls a second of ``elicit run`` beside those of a bare loop around the ``openai`` client.

    python -m benchmarks.elicit_throughput

Both ask the tests' stub server, which answers after 50 ms, the same 2,000 questions with 32
calls at once, in turn and several times in one process; the ratio is that of the medians.
Of the run everything counts: laying out the requests, limits, the store, reading the
answers. What the bare loop does with its replies is nothing.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.record import record
from elicit.budget import Meter
from elicit.job import Job, read_job, run_job
from elicit.manifest import versions
from elicit.store import Store
from elicit.wire import body_of

TESTS = Path(__file__).parents[1] / "tests"
GROUPS, DRAWS, ORDERS = 10, 10, 2


@click.command()
@click.option("--calls", default=2000, show_default=True, help="Calls of each run.")
@click.option("--at-once", default=32, show_default=True, help="Calls under way at a time.")
@click.option("--delay", default=0.05, show_default=True, help="Seconds until the stub answers.")
@click.option("--repeats", default=3, show_default=True, help="Runs of each kind.")
def main(calls: int, at_once: int, delay: float, repeats: int) -> None:
    """Measure both in turn and print one JSON document."""
    sys.path.insert(0, str(TESTS))
    from stub_server import StubServer

    seconds: dict[str, list[float]] = {"bare": [], "run": []}
    with tempfile.TemporaryDirectory() as folder, StubServer(Path(folder) / "log") as server:
        survey = write_survey(Path(folder) / "survey.toml", server.url, calls, at_once)
        for number in range(repeats):
            server.configure(delay=delay)
            seconds["bare"].append(bare(read_job(survey), server.url, at_once))
            server.configure(delay=delay)
            seconds["run"].append(whole_run(survey, Path(folder) / f"{number}.sqlite"))
    rates = {name: [round(calls / one, 1) for one in taken] for name, taken in seconds.items()}
    middle = {name: statistics.median(values) for name, values in rates.items()}
    document = {
        "calls": calls,
        "at_once": at_once,
        "delay": delay,
        "at_most_a_second": round(at_once / delay, 1) if delay else None,
        "calls_a_second": rates,
        "ratio_of_medians": round(middle["run"] / middle["bare"], 3),
        "record": record(0) | {"versions": versions()},
    }
    click.echo(json.dumps(document, indent=1))


def write_survey(path: Path, url: str, calls: int, at_once: int) -> Path:
    """A survey of so many calls: one letter a call, ten draws of each order."""
    n_questions = max(1, calls // (GROUPS * DRAWS * ORDERS))
    questions = "".join(
        f'[[question]]\nid = "q{number}"\ntext = "How much of thing {number}?"\n'
        'scale = "ordinal"\noptions = ["None", "Some", "A lot"]\n'
        for number in range(n_questions)
    )
    groups = json.dumps([f"group {number}" for number in range(GROUPS)])
    path.write_text(
        f'survey = "throughput"\n{questions}[attributes.party]\ngroups = {groups}\n'
        f'[model]\nname = "stub"\nbase_url = "{url}"\n'
        f'[ask]\nelicitation = "self_random"\norders = "both"\ndraws = {DRAWS}\n'
        f"at_once = {at_once}\n",
        encoding="utf-8",
    )
    return path


def whole_run(survey: Path, store: Path) -> float:
    """Seconds of a run from the survey file to its answers, on an empty store."""
    start = time.perf_counter()
    job = read_job(survey)
    with Store(store) as keeper:
        outcome = asyncio.run(run_job(job, keeper, Meter(), known={}))
    seconds = time.perf_counter() - start
    assert all(answer.outcome == "answered" for one in outcome.results for answer in one.answers)
    return seconds


def bare(job: Job, url: str, at_once: int) -> float:
    """Seconds of the same calls by the ``openai`` client alone, their bodies made beforehand."""
    bodies = [body_of(request) for request in job.work.requests.values()]
    start = time.perf_counter()
    asyncio.run(_bare(bodies, url, at_once))
    return time.perf_counter() - start


async def _bare(bodies: Sequence[dict[str, Any]], url: str, at_once: int) -> None:
    from openai import AsyncOpenAI

    waiting: Iterator[dict[str, Any]] = iter(bodies)
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def work() -> None:
            for body in waiting:
                answer = await client.chat.completions.create(**body)
                assert answer.choices[0].message.content

        await asyncio.gather(*(work() for _ in range(at_once)))


if __name__ == "__main__":
    main()
