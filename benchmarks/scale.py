"""How the cost of a fit and of a prediction grows with the table.

    python -m benchmarks.scale run [--vary rows|groups|options|sources] [--inference …] [--sizes …]
    python -m benchmarks.scale report                  results/scale.md from results/scale.json

A row is a cell: one question put to one group, with all its options; the table on disk has one
line for each source, cell and option. Each measurement simulates a survey (``calib.simulate``)
and runs the whole path (read and check the table, pair, fit, predict every cell with intervals,
draws not kept) in a process of its own, on two cores, and keeps its seconds and peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import pandas as pd
from jaxtyping import Float

from benchmarks.record import record, write_markdown
from calib.simulate import SETTING, simulate_survey
from calib.survey import Group

RESULTS: Final = Path(__file__).parent / "results"
SEED: Final = 0
CORES: Final = 2
DISAGREEMENT: Final = 0.5
"""Standard deviation of a further source's log shares around the first's."""
STEPS: Final = ("read", "pair", "fit", "predict")
CHILD: Final = """
import json, os, resource, sys, time
path, inference, seed, cores = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from calib.dirichlet import Dirichlet
from calib.modelfile import SavedModel
from calib.paired import pair
from calib.predictions import predict_table
from calib.table import read_table
from calib.trivial import TrainMean

found, began = {}, time.perf_counter()
def done(step):
    global began
    used = resource.getrusage(resource.RUSAGE_SELF)
    found[step] = {"seconds": time.perf_counter() - began, "peak_gib": used.ru_maxrss / 2**20}
    found["cpu_seconds"] = used.ru_utime + used.ru_stime
    began = time.perf_counter()

frame = read_table(path)
done("read")
paired = pair(frame)
done("pair")
model = Dirichlet(inference=inference).fit(paired, seed=seed)
done("fit")
train_mean = TrainMean().fit(paired)
saved = SavedModel(
    model, train_mean, frozenset(), model.settings_, seed, "", "", len(paired), {}, {}
)
del paired
table = predict_table(saved, frame, keep_draws=False).table
done("predict")
assert table["p_cal"].notna().all()
print(json.dumps(found))
"""


class Size(NamedTuple):
    """Of a simulated survey."""

    rows: int
    """Cells: questions times groups."""
    groups: int = 50
    options: int = 5
    sources: int = 1


class Sweep(NamedTuple):
    """What grows, from where, and by which inference."""

    base: Size
    sizes: Mapping[str, tuple[int, ...]]
    """Sizes by inference."""


SWEEPS: Final = {
    "rows": Sweep(
        Size(0),
        {
            "nuts": (1_000, 3_000, 10_000),
            "laplace": (1_000, 3_000, 10_000, 30_000),
            "svi": (10_000, 30_000, 100_000, 300_000, 1_000_000),
        },
    ),
    "groups": Sweep(Size(0), {"svi": (10, 30, 100, 300, 1_000)}),
    "options": Sweep(Size(10_000), {"svi": (2, 5, 10, 20)}),
    "sources": Sweep(Size(10_000), {"svi": (1, 3, 10, 30)}),
}
QUESTIONS: Final = 200
"""Of the surveys whose groups grow."""


def size_of(vary: str, value: int) -> Size:
    """The survey of a sweep at one value; with more groups it has more rows."""
    base = SWEEPS[vary].base._replace(**{vary: value})
    return base._replace(rows=QUESTIONS * value) if vary == "groups" else base


def write_survey(path: Path, size: Size, seed: int) -> dict[str, int]:
    """Simulate a survey into a Parquet file; what it holds."""
    names = [(f"attribute {number % 5}", f"group {number}") for number in range(size.groups)]
    n_questions = max(1, round(size.rows / size.groups))
    frame = simulate_survey(
        n_questions=n_questions,
        groups=[Group(*name) for name in names],
        n_options=(size.options,),
        seed=seed,
    ).table
    tables = [frame]
    rng = np.random.default_rng([seed, 1])
    # A cell's options follow one another.
    first = frame["p_llm"].to_numpy().reshape(-1, size.options)
    for number in range(1, size.sources):
        noise = DISAGREEMENT * rng.standard_normal(first.shape)
        shares = first * np.exp(noise)
        shares /= shares.sum(axis=1, keepdims=True)
        model = f"{SETTING.model}-{number + 1}"
        tables.append(frame.assign(model=model, p_llm=shares.ravel()))
    whole = pd.concat(tables, ignore_index=True)
    whole.to_parquet(path)
    return {
        "questions": n_questions,
        "cells": n_questions * size.groups,
        "table_lines": len(whole),
        "file_mib": round(path.stat().st_size / 2**20),
    }


def measure(size: Size, inference: str, seed: int) -> dict[str, Any]:
    """Seconds and peak memory of each step, in a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "survey.parquet"
        held = write_survey(path, size, seed)
        words = [sys.executable, "-c", CHILD, str(path), inference, str(seed), str(CORES)]
        before = os.getloadavg()[0]
        # Each compiles for itself: nothing is kept from one to the next.
        nothing_kept = os.environ | {"CALIB_CACHE": "off"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=nothing_kept)
        if done.returncode:
            raise click.ClickException(f"{inference} of {size} failed: {done.stderr[-2000:]}")
    return size._asdict() | held | json.loads(done.stdout) | {"load_before": round(before, 2)}


class Exponent(NamedTuple):
    """Slope of a cost over a size, both on the log scale: 1 is linear."""

    slope: float
    low: float
    high: float
    """Ends of a 95 % interval (Student's t, least squares); NaN with two sizes."""


def exponent(size: Float[np.ndarray, " run"], cost: Float[np.ndarray, " run"]) -> Exponent:
    """The power of the size with which a cost grows; NaN with one size."""
    from scipy.stats import t

    if len(size) < 2:
        return Exponent(np.nan, np.nan, np.nan)
    x, y = (np.log(values) - np.log(values).mean() for values in (size, cost))
    slope = float(x @ y / (x @ x))
    degrees = len(size) - 2
    if not degrees:
        return Exponent(slope, np.nan, np.nan)
    error = np.sqrt(np.square(y - slope * x).sum() / degrees / (x @ x))
    half = float(t.ppf(0.975, degrees) * error)
    return Exponent(slope, slope - half, slope + half)


def report_lines(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The results as Markdown."""
    yield "# Cost as the table grows"
    yield ""
    yield (
        "A row is a cell: one question put to one group, with all its options. Seconds of each "
        "step, compilation in them; peak memory of the process up to the end of the fit and of "
        "the prediction (every cell, mean and 90 % interval). Exponents are slopes of log cost "
        "over log size with 95 % intervals over the sizes of a table, and between its last two "
        "sizes: at small sizes compilation, which does not grow, is most of the time."
    )
    for vary in SWEEPS:
        for inference in ("nuts", "laplace", "svi"):
            mine = [one for one in runs if (one["vary"], one["inference"]) == (vary, inference)]
            if mine:
                yield from _table(vary, inference, sorted(mine, key=lambda one: int(one[vary])))


def _table(vary: str, inference: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", f"## {vary}, {inference}", "")
    yield (
        "| rows | groups | options | sources | lines | read s | pair s | fit s | predict s | all s "
        "| GiB fit | GiB predict | load |"
    )
    yield "|---" * 13 + "|"
    for one in runs:
        seconds = [one[step]["seconds"] for step in STEPS]
        yield (
            f"| {one['cells']:,} | {one['groups']:,} | {one['options']} | {one['sources']} | "
            f"{one['table_lines']:,} | "
            + " | ".join(f"{value:.1f}" for value in (*seconds, sum(seconds)))
            + f" | {one['fit']['peak_gib']:.2f} | {one['predict']['peak_gib']:.2f} "
            f"| {one['load_before']} |"
        )
    size = np.array([float(one["cells" if vary == "rows" else vary]) for one in runs])
    costs = {
        "fit": [one["fit"]["seconds"] for one in runs],
        "predict": [one["predict"]["seconds"] for one in runs],
        "all seconds": [sum(one[step]["seconds"] for step in STEPS) for one in runs],
        "peak memory": [one["predict"]["peak_gib"] for one in runs],
    }
    if len(runs) > 1:
        told = []
        for name, values in costs.items():
            found = exponent(size, np.array(values))
            last = exponent(size[-2:], np.array(values[-2:])).slope
            told.append(f"{name} {found.slope:.2f} [{found.low:.2f}, {found.high:.2f}], {last:.2f}")
        yield from ("", f"Exponents in {vary}, over all and last: {'; '.join(told)}.")


@click.group()
def main() -> None:
    """Time and memory as rows, groups, options and sources grow."""


@main.command()
@click.option("--vary", multiple=True, type=click.Choice(list(SWEEPS)), help="What grows; all.")
@click.option("--inference", multiple=True, type=click.Choice(["nuts", "laplace", "svi"]))
@click.option("--sizes", help="Separated by commas, in place of those of the sweep.")
@click.option("--seed", default=SEED, show_default=True, help="Of the survey and the fit.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULTS / "scale.json")
def run(
    vary: tuple[str, ...], inference: tuple[str, ...], sizes: str | None, seed: int, output: Path
) -> None:
    """Measure, and keep the figures; those of other sizes stay."""
    kept = json.loads(output.read_text(encoding="utf-8"))["runs"] if output.exists() else []
    for name in vary or tuple(SWEEPS):
        for how, usual in SWEEPS[name].sizes.items():
            if inference and how not in inference:
                continue
            for value in [int(word) for word in sizes.split(",")] if sizes else usual:
                found = measure(size_of(name, value), how, seed)
                key = {"vary": name, "inference": how, "size": value}
                kept = [one for one in kept if {k: one[k] for k in key} != key]
                kept.append(key | found | {"record": record(seed)})
                output.write_text(json.dumps({"runs": kept}, indent=1) + "\n", encoding="utf-8")
                click.echo(f"{name} {value} {how}: {found['fit']['seconds']:.1f} s", err=True)


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    runs = json.loads((RESULTS / "scale.json").read_text(encoding="utf-8"))["runs"]
    write_markdown(RESULTS / "scale.md", report_lines(runs), [one["record"] for one in runs])


if __name__ == "__main__":
    main()
