"""``elicit batch``: the calls of a survey as files that a provider works off overnight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calib.errors import CalibError
from calib.options import DATA, JSON, SEED
from elicit.options import STORE, SURVEY, store_of, tell

if TYPE_CHECKING:
    from elicit.batch import Part
    from elicit.job import Job
    from elicit.openai import OpenAIClient
    from elicit.store import Store

FOLDER = click.argument("folder", type=DATA)


@click.group()
def batch() -> None:
    """Ask by a provider's batch files: mostly half the price, an answer within a day.

    Write, submit, fetch until all is there; then elicit run finds every reply in the store.
    """


@batch.command()
@SURVEY
@FOLDER
@STORE
@JSON
@SEED
def write(survey: Path, folder: Path, store: Path | None, as_json: bool, seed: int) -> None:
    """Write into FOLDER the files of all calls that the store has no reply to.

    What the endpoint can do is found out first, by a few short calls.
    """
    from elicit.batch import write_batch
    from elicit.job import check_job, read_job
    from elicit.store import Store

    job = read_job(survey, seed=seed)

    async def written(keeper: Store) -> Sequence[Part]:
        async with _client(job, keeper) as client:
            assert client.capabilities is not None
            check_job(job, client.capabilities)
            return write_batch(job.work.requests.values(), folder, client=client, store=keeper)

    with Store(store_of(survey, store)) as keeper:
        parts = asyncio.run(written(keeper))
    _tell_parts(folder, parts, as_json)


@batch.command()
@SURVEY
@FOLDER
@STORE
@JSON
def submit(survey: Path, folder: Path, store: Path | None, as_json: bool) -> None:
    """Send the files of FOLDER that were not sent yet."""
    from elicit import batch as batches
    from elicit.job import read_job
    from elicit.store import Store

    job = read_job(survey)

    async def submitted(keeper: Store) -> Sequence[Part]:
        async with _client(job, keeper) as client:
            return await batches.submit(folder, client)

    with Store(store_of(survey, store)) as keeper:
        parts = asyncio.run(submitted(keeper))
    _tell_parts(folder, parts, as_json)


@batch.command()
@SURVEY
@FOLDER
@STORE
@JSON
def fetch(survey: Path, folder: Path, store: Path | None, as_json: bool) -> None:
    """Get what came back for FOLDER and put it into the store."""
    from elicit import batch as batches
    from elicit.job import read_job
    from elicit.store import Store

    job = read_job(survey)

    async def fetched(keeper: Store) -> Sequence[Part]:
        async with _client(job, keeper) as client:
            return await batches.fetch(folder, client)

    with Store(store_of(survey, store)) as keeper:
        parts = asyncio.run(fetched(keeper))
        collected = batches.collect(folder, keeper)
    counts = {"parts": len(parts), "parts_fetched": sum(part.fetched for part in parts)}
    tell(f"{folder}: what came back", counts | asdict(collected), as_json)
    for problem in (f"{part.name}: {part.detail}" for part in parts if part.detail):
        click.echo(f"warning: {problem}", err=True)


@asynccontextmanager
async def _client(job: Job, keeper: Store) -> AsyncIterator[OpenAIClient]:
    """The survey's endpoint, with what it can do."""
    from elicit.connect import endpoint, knowing

    if job.model.kind != "http":
        raise CalibError(
            f"batch files are for endpoints; the survey's model is {job.model.kind}; give [model] "
            "a name, and ask other models with elicit run"
        )
    async with endpoint(job.model) as bare:
        client, _ = await knowing(bare, job.model, keeper)
        yield client


def _tell_parts(folder: Path, parts: Sequence[Part], as_json: bool) -> None:
    counts = {
        "requests": sum(part.requests for part in parts),
        "parts": {part.name: part.status for part in parts},
    }
    tell(str(folder), counts, as_json)
