"""How long commands take to begin: help, a check of a table, a first fit and a second.

    python -m benchmarks.start_up [--rows 100000] [--questions 60] [--repetitions 3]

Each command runs in a process of its own. The fits are of one table and one seed, with an
empty folder of compiled programs before the first (``CALIB_CACHE``); their models must be the
same to the last bit. ``to_sampling`` is the time from the start of the process to the first
draw, read from the moment at which the program is there. Wall-clock seconds beside those of
the processor, which a busy machine changes less; prints one JSON document.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.record import record
from calib.files import write_table
from calib.simulate import simulate_survey
from calib.survey import Group

# The child tells its own times: the parent is no part of them.
CHILD = """
import os, resource, sys, time
begun = float(sys.argv.pop(1))
if os.environ.pop("TELL_PROGRAMS", ""):
    import calib.programs as programs
    compile_one = programs.compiled
    def told(*function):
        program = compile_one(*function)
        if not told.times:
            told.times = [time.time() - begun, time.process_time()]
        return program
    told.times = []
    programs.compiled = told
else:
    told = None
from calib.cli import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    ready = told.times if told else []
    print("TIMES", time.time() - begun, used.ru_utime + used.ru_stime, *ready, file=sys.stderr)
"""
GROUPS = [Group("PARTY", name) for name in ("left", "right", "centre", "none")]


@click.command()
@click.option("--rows", default=100_000, show_default=True, help="Of the table to be checked.")
@click.option("--questions", default=60, show_default=True, help="Of the table that is fitted.")
@click.option("--repetitions", default=3, show_default=True, help="Of help and the check.")
@click.option("--inference", default="nuts", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the simulated survey and the fit.")
def main(rows: int, questions: int, repetitions: int, inference: str, seed: int) -> None:
    """Simulate, run, compare, and print one JSON document."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table = simulate_survey(
            n_questions=questions, groups=GROUPS, n_options=(3, 4, 5), seed=seed
        ).table
        write_table(table, folder / "fit.parquet")
        write_table(repeated(table, rows), folder / "check.parquet")
        cache = folder / "cache"
        found: dict[str, Any] = {
            "help": least([run(cache, "--help") for _ in range(repetitions)]),
            "validate": least(
                [run(cache, "validate", folder / "check.parquet") for _ in range(repetitions)]
            ),
        }
        for name in ("first_fit", "second_fit"):
            words = ("fit", folder / "fit.parquet", "-o", folder / name, "--seed", seed)
            found[name] = run(cache, *words, "--inference", inference, programs=True)
            found[name]["posterior"] = digest(folder / name)
        kept = [path.stat().st_size for path in cache.rglob("*.program")]
    if found["first_fit"]["posterior"] != found["second_fit"]["posterior"]:
        raise SystemExit("the second fit differs from the first")
    document = {
        **found,
        "rows_checked": rows,
        "questions": questions,
        "inference": inference,
        "programs_kept": len(kept),
        "programs_kib": round(sum(kept) / 2**10),
        "load": round(os.getloadavg()[0], 2),
        "record": record(seed),
    }
    click.echo(json.dumps(document, indent=1))


def repeated(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    """At least so many rows: the same questions again under other names."""
    copies = -(-rows // len(table))
    return pd.concat(
        [table.assign(question_id=table["question_id"] + f".{copy}") for copy in range(copies)],
        ignore_index=True,
    )


def run(cache: Path, *words: object, programs: bool = False) -> dict[str, Any]:
    """Seconds of one command, and until its first program was there."""
    import time

    environment = {**os.environ, "CALIB_CACHE": str(cache)}
    if programs:
        environment["TELL_PROGRAMS"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(time.time()), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr}")
    line = next(line for line in done.stderr.splitlines() if line.startswith("TIMES"))
    times = [round(float(word), 2) for word in line.split()[1:]]
    names = ("seconds", "cpu_seconds", "to_sampling", "to_sampling_cpu")
    return dict(zip(names, times, strict=False))


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The least of each time."""
    return {name: min(run[name] for run in runs) for name in runs[0]}


def digest(model: Path) -> str:
    """Of all posterior draws."""
    import xarray

    with xarray.open_datatree(model / "posterior.nc", engine="h5netcdf") as tree:
        draws = tree["posterior"].dataset.load()
    found = hashlib.sha256()
    for name in sorted(map(str, draws.data_vars)):
        found.update(draws[name].to_numpy().tobytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    main()
