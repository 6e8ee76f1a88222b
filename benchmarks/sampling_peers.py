"""The posterior of ``dirichlet`` in three samplers: effective draws a second, side by side.

    python -m benchmarks.sampling_peers run [DATA] [--sampler numpyro|nutpie|stan ...]
    python -m benchmarks.sampling_peers report

DATA is a folder with opinionqa_dev as a Parquet table, of which gpt-4, verbalized, sd is
taken; without it a simulated survey of the same size is. ``run`` writes
results/sampling_peers.json, ``report`` makes results/sampling_peers.md of it.

``numpyro`` is ``calib fit`` as shipped. ``nutpie`` and ``stan`` are the same priors and the
same likelihood as their users would write them, with their own number of warm-up draws. They
need pymc and nutpie, and pystan (with setuptools<80), best in an environment of their own that
``--python`` names; of this package it needs only numpy and jaxtyping:

    python -m venv peers
    peers/bin/pip install pymc nutpie pystan "setuptools<80" jaxtyping

A sampler that cannot be imported is skipped, and the results say why. Each runs in a process
of its own, with empty caches of compiled code. Before anything is sampled the log densities
of all must differ by one constant over ``N_POINTS`` random points; otherwise nothing is.
Run it on an idle machine: apart from the timings, ``httpstan`` allows Stan's translator a
second, and where that is too short the results name the sampler as skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.record import record, write_markdown
from benchmarks.samplers.child import SAMPLERS, Lengths
from benchmarks.samplers.compare import agreement, density_spread, summary_of
from benchmarks.samplers.ours import problem_of
from benchmarks.samplers.problem import random_point, save_points
from calib.files import atomic_file, write_table
from calib.paired import pair
from calib.simulate import SETTING, Truth, simulate_survey
from calib.survey import Group, Setting
from calib.table import read_table

REAL: Final = Setting("gpt-4", "verbalized", "sd")
RESULTS: Final = Path(__file__).parent / "results"
N_POINTS: Final = 20
TOLERANCE: Final = 1e-6
"""Of differences between log densities, nats."""


def table_of(data: Path | None, seed: int) -> tuple[Any, str]:
    """The paired table of one setting, and its name."""
    if data is not None:
        frame = read_table(data / "opinionqa_dev.parquet")
        for key, value in REAL._asdict().items():
            frame = frame[frame[key] == value]
        return frame.reset_index(drop=True), "opinionqa_dev " + "/".join(REAL)
    groups = [
        Group(attribute, f"group {number}")
        for attribute, size in (("A", 4), ("B", 5), ("C", 5))
        for number in range(size)
    ]
    simulated = simulate_survey(
        n_questions=60,
        groups=groups,
        n_options=(3, 4, 4, 5),
        truth=Truth(n_labels=40),
        seed=seed,
    )
    return simulated.table, "simulated " + "/".join(SETTING)


def run_child(name: str, folder: Path, python: str, spec: dict[str, Any]) -> dict[str, Any]:
    """What the sampler wrote; a failure is a reason to skip it, with its last words."""
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    (folder / f"{name}.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        # Compilation is measured: no cache of an earlier run may shorten it.
        environment = os.environ | {
            "XDG_CACHE_HOME": cache,
            "NUMBA_CACHE_DIR": cache,
            "PYTENSOR_FLAGS": f"base_compiledir={cache}",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        done = subprocess.run(
            [python, "-m", "benchmarks.samplers.child", name, str(folder)],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        click.echo(done.stderr, err=True)
        return {"skipped": f"it ended with {done.returncode}: {last[0]}"}
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


def compare(
    frame: Any, names: tuple[str, ...], python: str, lengths: Lengths, seed: int
) -> dict[str, Any]:
    """Densities, then draws, then what they say of each other."""
    paired = pair(frame)
    training = paired.take(paired.complete)
    problem = problem_of(training)
    rng = np.random.default_rng(seed)
    pythons = {name: sys.executable if name == "numpyro" else python for name in names}
    spec: dict[str, Any] = {"seed": seed, "lengths": lengths._asdict()}
    document: dict[str, Any] = {
        "questions": len(problem.shape),
        "groups": int(problem.n_groups),
        "cells": len(training),
        "lengths": spec["lengths"],
        "samplers": {},
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_table(frame, folder / "table.parquet")
        problem.save(folder / "problem.npz")
        save_points([random_point(problem, rng) for _ in range(N_POINTS)], folder / "points.npz")
        told = {}
        for name in names:
            click.echo(f"{name}: log densities", err=True)
            told[name] = run_child(name, folder, pythons[name], spec | {"only": "densities"})
        document["densities"] = list(
            density_spread({k: one["densities"] for k, one in told.items() if "densities" in one})
        )
        apart = [one for one in document["densities"] if not one["spread"] < TOLERANCE]
        if apart:
            raise click.ClickException(
                "the samplers have one posterior, whose log densities differ by a constant; "
                f"the differences vary by {apart}; nothing was sampled"
            )
        for name in names:
            if "skipped" in told[name]:
                document["samplers"][name] = told[name]
                click.echo(f"{name}: skipped, {told[name]['skipped']}", err=True)
                continue
            click.echo(f"{name}: draws", err=True)
            found = run_child(name, folder, pythons[name], spec | {"only": "draws"})
            if "skipped" not in found:
                with np.load(folder / f"{name}.npz", allow_pickle=False) as draws:
                    found["parameters"] = summary_of(dict(draws), problem.existing())
                found |= speed(found)
            document["samplers"][name] = found
    ran = {k: one["parameters"] for k, one in document["samplers"].items() if "parameters" in one}
    return document | {"agreement": list(agreement(ran))}


def speed(found: dict[str, Any]) -> dict[str, Any]:
    """Effective draws a second of the parameter that has fewest."""
    slowest = min(found["parameters"], key=lambda one: one["ess_bulk"])
    seconds = found["sample_seconds"]
    return {
        "slowest": slowest["name"],
        "ess_bulk_min": slowest["ess_bulk"],
        "r_hat_max": max(one["r_hat"] for one in found["parameters"]),
        "ess_per_second": slowest["ess_bulk"] / seconds,
        "ess_per_second_with_compilation": slowest["ess_bulk"]
        / (seconds + found["compile_seconds"]),
    }


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    """Ratios first: how many times as many effective draws a second as each peer."""
    ran = {name: one for name, one in document["samplers"].items() if "parameters" in one}
    yield "# The same posterior in other samplers"
    yield ""
    yield (
        f"{document['table']}: {document['questions']} questions, {document['groups']} groups, "
        f"{document['cells']} cells; {document['lengths']['n_chains']} chains of "
        f"{document['lengths']['n_draws']} kept draws."
    )
    yield ""
    if "numpyro" in ran and len(ran) > 1:
        yield "Effective draws a second of the slowest top-level parameter, over each peer's:"
        yield ""
        yield "| numpyro against | sampling | with compilation | peak memory |"
        yield "|---|---|---|---|"
        ours = ran["numpyro"]
        for name, one in ran.items():
            if name != "numpyro":
                ratios = [
                    ours[key] / one[key]
                    for key in ("ess_per_second", "ess_per_second_with_compilation")
                ]
                memory = ours["peak_mib"] / max(one["peak_mib"], one["peak_mib_of_largest_child"])
                yield f"| {name} | {ratios[0]:.1f} | {ratios[1]:.1f} | {memory:.2f} |"
        yield ""
    yield (
        "| sampler | compile s | warm-up + sampling s | warm-up | least bulk ESS | of | R-hat "
        "| ESS / s | with compilation | gradients a draw | divergences | peak MiB |"
    )
    yield "|---" * 12 + "|"
    for name, one in ran.items():
        yield (
            f"| {name} | {one['compile_seconds']:.1f} | {one['sample_seconds']:.1f} "
            f"| {one['n_warmup']} | {one['ess_bulk_min']:.0f} | `{one['slowest']}` "
            f"| {one['r_hat_max']:.3f} | {one['ess_per_second']:.2f} "
            f"| {one['ess_per_second_with_compilation']:.2f} | {one['n_steps']:.1f} "
            f"| {one['diverging']} "
            f"| {max(one['peak_mib'], one['peak_mib_of_largest_child']):.0f} |"
        )
    for name, one in document["samplers"].items():
        if "skipped" in one:
            yield f"\n{name} was skipped: {one['skipped']}."
    yield from ("", "Whether it is the same posterior:", "")
    yield (
        "| samplers | log densities vary by, nats | largest z of means | of sds | expected "
        "| one in a hundred |"
    )
    yield "|---" * 6 + "|"
    spread = {(one["a"], one["b"]): one["spread"] for one in document["densities"]}
    for one in document["agreement"]:
        yield (
            f"| {one['a']}, {one['b']} | {spread[one['a'], one['b']]:.1e} "
            f"| {one['z_mean']:.2f} (`{one['worst_mean']}`) | {one['z_sd']:.2f} "
            f"(`{one['worst_sd']}`) | {one['expected_largest_z']:.2f} | {one['limit_z']:.2f} |"
        )


@click.group()
def main() -> None:
    """One posterior, several samplers."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--sampler", "names", multiple=True, type=click.Choice(list(SAMPLERS)))
@click.option("--python", default=sys.executable, help="Of the environment with the peers.")
@click.option("--draws", default=1000, show_default=True, help="Kept draws of each chain.")
@click.option("--warmup", type=int, help="For trials; each sampler has its own number.")
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Another file of results.")
def run(
    data: Path | None,
    names: tuple[str, ...],
    python: str,
    draws: int,
    warmup: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Compare densities, sample, and keep the figures."""
    frame, table = table_of(data, seed)
    head = record(seed) | {"load_before": os.getloadavg()[0], "table": table}
    lengths = Lengths(n_chains=2, n_draws=draws, n_warmup=warmup)
    document = head | compare(frame, names or tuple(SAMPLERS), python, lengths, seed)
    path = output or RESULTS / "sampling_peers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    path = RESULTS / "sampling_peers.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    # What the samplers themselves are stands beside what they were compared with.
    for one in document["samplers"].values():
        document["versions"] |= one.get("versions", {})
    write_markdown(path.with_suffix(".md"), report_lines(document), [document])


if __name__ == "__main__":
    main()
