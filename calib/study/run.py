"""Running a study: the cells that are left, in this process, in several, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError, MissingExtraError
from calib.study.cells import Done, run_batch, run_cells
from calib.study.grid import Batch, Grid, expand
from calib.study.plan import read_study
from calib.study.store import PLAN_FILE, Store, cell_label
from calib.study.tables import write_tables

MOST_AT_ONCE: Final = 10
"""Cells of a batch at most: what one worker may lose when it is ended."""

Progress = Callable[[str, int, int], None]
"""Called with what was done, cells done and cells in all."""


def run_study(
    plan: Path,
    folder: Path,
    *,
    data: Path | None = None,
    n_jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Compute what ``folder`` lacks of a study, then write its tables.

    The results do not depend on how often a run was ended before, nor on ``n_jobs`` and
    ``scheduler``.

    Parameters
    ----------
    plan
        The study's TOML file.
    folder
        New, empty, or holding results of this very study.
    data
        Folder of the tables; that of the plan if None.
    n_jobs
        Processes on this machine; 1 computes in this one.
    scheduler
        Address of a Dask cluster that computes instead.

    Raises
    ------
    DataError
        On a plan with an impossible cell, or a folder of another study; nothing has run then.
    CalibError
        Where another run works on the folder, or a cluster lost cells; what it computed is kept.
    """
    found = plan.parent if data is None else data
    _run(plan, Store(folder), found, False, n_jobs, scheduler, progress)


def resume_study(
    folder: Path,
    *,
    data: Path | None = None,
    again: bool = False,
    n_jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Go on with the study in ``folder``, from the plan that was copied into it.

    ``again`` computes failed cells once more. Other parameters and errors as of ``run_study``.
    """
    store = Store(folder)
    found = Path(store.read()["data"]) if data is None else data
    _run(folder / PLAN_FILE, store, found, again, n_jobs, scheduler, progress)


def _run(
    plan: Path,
    store: Store,
    data: Path,
    again: bool,
    n_jobs: int,
    scheduler: str | None,
    progress: Progress | None,
) -> None:
    grid = expand(read_study(plan), data)
    store.check(grid)
    with store.alone():
        store.begin(grid, plan.read_text(encoding="utf-8"), data)
        if again:
            store.forget_failed()
        _compute(grid, store, n_jobs, scheduler, progress)
        write_tables(store)


def _compute(
    grid: Grid, store: Store, n_jobs: int, scheduler: str | None, progress: Progress | None
) -> None:
    there = store.done()
    total = len(grid.cells)
    batches = list(_left(grid, there))
    n_done = total - sum(len(batch.jobs) for batch in batches)
    if progress is not None:
        progress("begin", n_done, total)
    for done in _results(batches, n_jobs, scheduler):
        store.put(done.key, done.result, done.times)
        n_done += 1
        if progress is not None:
            progress(cell_label(done.result["cell"]), n_done, total)


def _left(grid: Grid, there: set[str]) -> Iterator[Batch]:
    for batch in grid.batches:
        jobs = tuple(job for job in batch.jobs if job.cell.key not in there)
        for start in range(0, len(jobs), MOST_AT_ONCE):
            yield replace(batch, jobs=jobs[start : start + MOST_AT_ONCE])


def _results(batches: Sequence[Batch], n_jobs: int, scheduler: str | None) -> Iterator[Done]:
    if scheduler is not None:
        yield from _on_cluster(batches, scheduler)
    elif n_jobs == 1:
        for batch in batches:
            yield from run_cells(batch)
    else:
        import warnings

        from joblib import Parallel, delayed

        # Workers whose parent was killed go when they have been idle for so many seconds.
        parallel = Parallel(
            n_jobs=n_jobs, return_as="generator_unordered", batch_size=1, idle_worker_timeout=30
        )
        with warnings.catch_warnings():
            # Its workers are replaced as their memory grows, which is as it should be.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            for done in parallel(delayed(run_batch)(batch) for batch in batches):
                yield from done


def _on_cluster(batches: Sequence[Batch], scheduler: str) -> Iterator[Done]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise MissingExtraError("a Dask cluster", package="distributed", extra="cluster") from None
    try:
        client: Any = Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise CalibError(
            f"--scheduler is the address of a Dask scheduler that answers; got {scheduler!r} "
            f"({error}); start one with dask scheduler, or leave --scheduler out"
        ) from None
    lost: list[str] = []
    with client:
        # pure=False: a batch is known by its name on the cluster, not by hashing its arrays.
        futures = [client.submit(run_batch, batch, pure=False) for batch in batches]
        for future in as_completed(futures):
            if future.status == "finished":
                yield from future.result()
            else:
                lost.append(" ".join(str(future.exception()).split())[:200])
            future.release()
    if lost:
        raise CalibError(
            f"a cluster's workers end no batch early; {len(lost)} of {len(batches)} were lost "
            f"({lost[0]}); go on with calib study resume"
        )
