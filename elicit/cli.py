"""The command line ``elicit``; what each command needs is loaded when it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calib.errors import CalibError, DataError, Fault
from calib.options import DATA, JSON, SEED, Main, print_json
from elicit.cli_batch import batch
from elicit.options import MAX_CALLS, MAX_COST, STORE, SURVEY, existing, store_of, tell

if TYPE_CHECKING:
    from elicit.budget import Meter
    from elicit.job import Job
    from elicit.types import Reply


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opinion-calibration", prog_name="elicit")
def main() -> None:
    """Ask a language model for the opinion distributions of groups of people.

    Exit codes: 0 ok, 1 failure, 2 usage, 5 bad data, 130 interrupted.
    """


@main.command()
@click.argument("survey", type=DATA, default=Path("survey.toml"))
def init(survey: Path) -> None:
    """Write an example of a survey file, to be edited."""
    from calib.files import atomic_file
    from elicit.plan import example_plan
    from elicit.questionnaire import example_questionnaire

    if survey.exists():
        raise click.UsageError(f"{survey} exists; name another file")
    with atomic_file(survey) as draft:
        draft.write_text(example_questionnaire() + example_plan(), encoding="utf-8")
    click.echo(f"an example is in {survey}; elicit run {survey} --dry-run says what it asks")


@main.command()
@SURVEY
@click.option("-o", "--output", type=DATA, help="Table to write: .parquet, .csv or .jsonl.")
@STORE
@click.option("--dry-run", is_flag=True, help="Say how many calls and tokens; send nothing.")
@MAX_CALLS
@MAX_COST
@JSON
@SEED
def run(
    survey: Path,
    output: Path | None,
    store: Path | None,
    dry_run: bool,
    max_calls: int | None,
    max_cost: float | None,
    as_json: bool,
    seed: int,
) -> None:
    """Ask everything that SURVEY says and write the paired table.

    Every reply is kept as it comes: a run that was ended in any way goes on where it was,
    and no answered call is made again. Beside the table stands OUTPUT.manifest.json.
    """
    from calib.files import table_format, write_table
    from elicit.job import forecast, read_job, run_job
    from elicit.manifest import describe_run, manifest_path, write_manifest
    from elicit.progress import progress_bar
    from elicit.show import show_run
    from elicit.store import Store
    from elicit.table import paired_table

    if output is None and not dry_run:
        raise click.UsageError("name the table to write with -o, or ask with --dry-run")
    if output is not None:
        table_format(output)
    job = read_job(survey, seed=seed)
    place = store_of(survey, store)
    if dry_run:
        tell(f"{survey}: what a run would do", forecast(job, _peek(place, job)), as_json)
        return
    assert output is not None
    meter = _meter(job, max_calls, max_cost)
    with Store(place) as keeper:
        known = keeper.get_many(job.work.requests)
        todo = len(job.work.requests) - len(known)
        with progress_bar(f"asking {job.work.model}", todo, len(known)) as progress:
            finished = asyncio.run(run_job(job, keeper, meter, known=known, progress=progress))
    write_table(paired_table(finished.results), output)
    document = describe_run(job, finished, meter)
    write_manifest(document, manifest_path(output))
    if as_json:
        print_json({"table": str(output), "store": str(place), **document})
    else:
        show_run(output, document)
    if finished.n_failed:
        again = "a next run asks them again"
        click.echo(f"warning: {finished.n_failed} calls have no answer; {again}", err=True)
        if finished.n_failed == finished.n_sent:
            raise CalibError(
                f"a run must get an answer to some call; all {finished.n_sent} failed, the last "
                f"with: {finished.last_failure}"
            )


@main.command()
@SURVEY
@MAX_CALLS
@MAX_COST
@JSON
@SEED
def doctor(
    survey: Path, max_calls: int | None, max_cost: float | None, as_json: bool, seed: int
) -> None:
    """Examine the model of SURVEY: what it can do, and how far to trust its answers.

    Asks about biased coins and dice, whose distribution is known, and some questions of the
    survey without a persona, by every elicitation that the endpoint can do. Ends with 1
    where an elicitation of the survey should not be used.
    """
    from elicit.doctor import examine_job, lay_out_checks
    from elicit.job import read_job
    from elicit.progress import progress_bar
    from elicit.show import show_diagnosis

    job = read_job(survey, seed=seed)
    meter = _meter(job, max_calls, max_cost)
    todo = len(lay_out_checks(job).requests)
    with progress_bar(f"examining {job.work.model}", todo, 0) as progress:
        diagnosis = asyncio.run(examine_job(job, meter, progress=progress))
    if as_json:
        from elicit.manifest import describe_calls

        print_json({"survey": str(survey), **diagnosis.as_dict(), "calls": describe_calls(meter)})
    else:
        show_diagnosis(diagnosis)
    if diagnosis.problems:
        click.get_current_context().exit(1)


@main.command()
@click.argument("survey", type=DATA, required=False)
@click.option("-o", "--output", required=True, type=DATA, help="Table to write.")
@STORE
@JSON
@SEED
def export(survey: Path | None, output: Path, store: Path | None, as_json: bool, seed: int) -> None:
    """Write what is in the store; nothing is asked.

    With SURVEY: the paired table of its cells whose replies are all there. Without: every
    reply with its request, one row each.
    """
    from calib.files import table_format, write_table
    from elicit.job import read_job
    from elicit.run import answers
    from elicit.store import Store
    from elicit.table import paired_table

    table_format(output)
    if survey is None:
        if store is None:
            raise click.UsageError("name a SURVEY or a --store")
        from elicit.rows import reply_rows

        with Store(existing(store)) as keeper:
            frame = reply_rows(keeper.records())
        counts = {"replies": len(frame)}
    else:
        job = read_job(survey, seed=seed)
        with Store(existing(store_of(survey, store))) as keeper:
            results = answers(job.work, keeper.get_many(job.work.requests))
        cells = sum(len(result.answers) for result in results)
        counts = {"cells": cells, "cells_left_out": len(job.work.cells) - cells}
        if not cells:
            raise CalibError(
                f"a table has at least one cell; the store has all replies to none of the "
                f"{len(job.work.cells)} cells of {survey}; run elicit run first"
            )
        frame = paired_table(results)
    write_table(frame, output)
    tell(f"{output}: {len(frame)} rows", {"table": str(output), **counts}, as_json)


@main.command()
@click.argument("store", type=DATA)
@JSON
def cache(store: Path, as_json: bool) -> None:
    """Say what a store of replies holds."""
    from elicit.store import Store

    with Store(existing(store)) as keeper:
        stats = keeper.stats()
    moments = {
        name: None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        for name, at in (("first", stats.first), ("last", stats.last))
    }
    tell(str(store), stats.as_dict() | moments, as_json)


def _peek(store: Path, job: Job) -> Mapping[str, Reply]:
    """What a store has of a job's replies; a store that is not there is not made."""
    from elicit.store import Store

    if not store.exists():
        return {}
    with Store(store) as keeper:
        return keeper.get_many(job.work.requests)


def _meter(job: Job, max_calls: int | None, max_cost: float | None) -> Meter:
    from elicit.budget import Meter

    if max_cost is not None and job.ask.prices is None:
        raise DataError(
            Fault(
                rule="--max-cost needs the prices of tokens",
                value="no prices in [ask]",
                remedy="add prices = { in = 0.15, out = 0.60 } to [ask], for a million tokens",
            ),
            file=job.path,
        )
    return Meter(prices=job.ask.prices, max_calls=max_calls, max_cost=max_cost)


main.add_command(batch)
