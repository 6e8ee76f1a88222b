"""One sampler in a process of its own: ``python -m benchmarks.samplers.child SAMPLER FOLDER``.

FOLDER holds what ``benchmarks.sampling_peers`` put there; the draws and what they took are
written into it, or the reason why there are none.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Lengths(NamedTuple):
    """How long to sample."""

    n_chains: int
    n_draws: int
    """Kept draws of each chain."""
    n_warmup: int | None
    """None: what the sampler takes where it is told nothing."""


class Drawn(NamedTuple):
    """Draws, and what they took."""

    draws: dict[str, np.ndarray]
    """Of ``benchmarks.samplers.problem.TOP_LEVEL``; [chain, draw, …]."""
    compile_seconds: float
    """From the arrays to a program that can be run, without any cache."""
    sample_seconds: float
    """Warm-up and kept draws of all chains, side by side where the sampler does so."""
    n_warmup: int
    diverging: int
    """Kept transitions that diverged."""
    n_steps: float
    """Mean number of gradients a kept draw."""


SAMPLERS = {
    "numpyro": "benchmarks.samplers.ours",
    "nutpie": "benchmarks.samplers.pymc_model",
    "stan": "benchmarks.samplers.stan_model",
}
"""Modules with ``PACKAGES``, ``densities(given, points)`` and ``draw(given, lengths, seed)``."""


def main() -> None:
    """Compare densities first, then sample."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    document: dict[str, Any]
    try:
        document = _run(name, folder, spec)
    except ImportError as error:
        document = {"skipped": f"{type(error).__name__}: {error}"}
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def _run(name: str, folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    from importlib import import_module

    from benchmarks.samplers.problem import load_points, load_problem

    module = import_module(SAMPLERS[name])
    given: Any
    if name == "numpyro":
        from calib.paired import pair
        from calib.table import read_table

        paired = pair(read_table(folder / "table.parquet"))
        given = paired.take(paired.complete)
    else:
        given = load_problem(folder / "problem.npz")
    document: dict[str, Any] = {"versions": {name: version(name) for name in module.PACKAGES}}
    if spec["only"] == "densities":
        points = load_points(folder / "points.npz")
        return document | {"densities": module.densities(given, points)}
    before = os.getloadavg()[0]
    found = module.draw(given, Lengths(**spec["lengths"]), spec["seed"])
    np.savez(folder / f"{name}.npz", **found.draws)
    used, children = (
        resource.getrusage(who).ru_maxrss / 2**10
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return document | {
        **{key: value for key, value in found._asdict().items() if key != "draws"},
        # Kibibytes on Linux.
        "peak_mib": used,
        "peak_mib_of_largest_child": children,
        "load_before": before,
    }


if __name__ == "__main__":
    main()
