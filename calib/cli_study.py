"""The commands ``calib study``: grids of evaluations that can be ended and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from calib.options import DATA, JSON, print_json


def _workers(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        JSON,
        click.option(
            "--scheduler", metavar="ADDRESS",
            help="Compute on a Dask cluster, e.g. tcp://10.0.0.1:8786.",
        ),
        click.option(
            "--jobs", "n_jobs", default=1, show_default=True, type=click.IntRange(min=1),
            help="Processes on this machine.",
        ),
        click.option(
            "--data", type=DATA, metavar="FOLDER",
            help="Folder of the tables, where it is not that of the study file.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def study() -> None:
    """Run a grid: tables, sources, calibrators, splits, training sizes, seeds."""


@study.command()
@click.argument("plan", metavar="STUDY.toml", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Folder for the results.")
@_workers
def run(
    plan: Path,
    output: Path,
    data: Path | None,
    n_jobs: int,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Run the study that STUDY.toml describes; its seeds stand in the file.

    Every cell is checked before the first runs. A folder that holds a part of this study is
    gone on with.
    """
    from calib.progress import progress_bar
    from calib.study.run import run_study

    with progress_bar() as progress:
        run_study(plan, output, data=data, n_jobs=n_jobs, scheduler=scheduler, progress=progress)
    _tell(output, as_json)


@study.command()
@click.argument("folder", metavar="DIR", type=DATA)
@click.option("--again", is_flag=True, help="Compute failed cells once more.")
@_workers
def resume(
    folder: Path,
    again: bool,
    data: Path | None,
    n_jobs: int,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Go on with the study in DIR where it was ended."""
    from calib.progress import progress_bar
    from calib.study.run import resume_study

    with progress_bar() as progress:
        resume_study(
            folder, data=data, again=again, n_jobs=n_jobs, scheduler=scheduler, progress=progress
        )
    _tell(folder, as_json)


@study.command()
@click.argument("folder", metavar="DIR", type=DATA)
@JSON
def status(folder: Path, as_json: bool) -> None:
    """Say how far the study in DIR is; a summary of a finished one lies in DIR/summary.json."""
    _tell(folder, as_json)


def _tell(folder: Path, as_json: bool) -> None:
    from calib.show import console, show_pairs
    from calib.study.status import status as find
    from calib.study.store import Store
    from calib.summary import plain

    found: dict[str, Any] = plain(find(Store(folder)))
    if as_json:
        print_json({"folder": str(folder), **found})
        return
    shown = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in found.items()
        if name != "calibrators"
    }
    for one in found["calibrators"]:
        shown[one["calibrator"]] = f"{one['done']} done, {one['failed']} failed, {one['left']} left"
    show_pairs(f"study {folder}", shown, console())
    if found["failed"]:
        click.echo(
            f"warning: {found['failed']} cells failed; see {folder / 'summary.json'}", err=True
        )
