"""Speed of W1, KL and TV of many rows against a loop over scipy, against POT, and against memory.

    python -m benchmarks.score_speed [--cells 10000000] [--options 6] [--loop-rows 2000]

Simulates human and predicted shares on questions of 2 to so many options, a seventh of them
nominal. The loops score the first rows only, on which their values must be ours to 1e-10, and
their time is scaled to all rows. Beside each score stands how many bytes of its arguments it
reads in a second, and beside them what a plain copy of the shares moves (read and written) in
the same run: how far the score is from the speed of memory. Best of several repetitions, in
seconds of this process; prints one JSON document.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from importlib.util import find_spec

import click
import numpy as np
from scipy.stats import entropy, wasserstein_distance

from benchmarks.record import record
from calib.opinions import close
from calib.scores import KL_FLOOR, kl_1e3, tv, w1

AGREES = 1e-10


@click.command()
@click.option("--cells", default=10_000_000, show_default=True, help="Rows × options, padded.")
@click.option("--options", default=6, show_default=True, help="Most options of a question.")
@click.option("--loop-rows", default=2_000, show_default=True, help="Rows that the loops score.")
@click.option("--repetitions", default=5, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the simulated shares.")
def main(cells: int, options: int, loop_rows: int, repetitions: int, seed: int) -> None:
    """Simulate, compare, and print one JSON document."""
    rows = cells // options
    human, predicted, places, mask = simulated(rows, options, seed)
    some = min(rows, loop_rows)
    ours: dict[str, tuple[Callable[..., np.ndarray], tuple[np.ndarray, ...]]] = {
        "w1": (w1, (human, predicted, places, mask)),
        "kl_1e3": (kl_1e3, (human, predicted, mask)),
        "tv": (tv, (human, predicted)),
    }
    spare = np.empty_like(human)
    copying, _ = best(repetitions, lambda: np.copyto(spare, human))
    copied = 2 * human.nbytes / copying
    found = {}
    for name, (score, arguments) in ours.items():
        seconds, values = best(repetitions, lambda s=score, a=arguments: s(*a))
        read = sum(array.nbytes for array in arguments) / seconds
        peers = {}
        for peer, loop in loops(name).items():
            few = [array[:some] for array in (human, predicted, places, mask)]
            taken, theirs = best(1, lambda loop=loop, few=few: loop(*few))
            error = float(np.abs(theirs - values[:some]).max())
            if not error <= AGREES:
                raise SystemExit(f"{name} differs from {peer} by {error}")
            scaled = taken * rows / some
            peers[peer] = {
                "seconds_scaled": round(scaled, 1),
                "ratio": round(scaled / seconds, 1),
                "largest_difference": error,
            }
        found[name] = {
            "seconds": round(seconds, 4),
            "cells_per_second": round(rows * options / seconds),
            "gigabytes_read_per_second": round(read / 1e9, 2),
            "share_of_the_copy": round(read / copied, 3),
            "peers": peers,
        }
    document = {
        "rows": rows,
        "options": options,
        "loop_rows": some,
        "copy_gigabytes_per_second": round(copied / 1e9, 2),
        "scores": found,
        "pot": "compared" if find_spec("ot") else "skipped: the package POT is not installed",
        "load": round(os.getloadavg()[0], 2),
        "record": record(seed),
    }
    click.echo(json.dumps(document, indent=1))


def simulated(
    rows: int, options: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Human and predicted shares, places (NaN where nominal) and mask."""
    rng = np.random.default_rng(seed)
    n_options = rng.integers(2, options + 1, rows)
    mask = np.arange(options) < n_options[:, None]
    human, predicted = (
        close(rng.standard_gamma(0.5, size=mask.shape) + 1e-9, mask) for _ in range(2)
    )
    places = np.where(mask, np.arange(options) / (n_options - 1)[:, None], np.nan)
    places[::7] = np.nan
    return human, predicted, places, mask


def best(repetitions: int, run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Least seconds of this process, and what was computed."""
    least = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        values = run()
        least = min(least, time.process_time() - start)
    return least, values


Loop = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def loops(score: str) -> dict[str, Loop]:
    """Other implementations of a score, one row at a time."""
    found = {"scipy": over_rows(SCIPY[score])}
    if score == "w1" and find_spec("ot"):
        import ot

        def pot(p: np.ndarray, q: np.ndarray, places: np.ndarray) -> float:
            # On a nominal scale every option is equally far from every other.
            if np.isnan(places).any():
                return float(ot.emd2(p / p.sum(), q / q.sum(), 1.0 - np.eye(len(p))))
            return float(ot.wasserstein_1d(places, places, p, q, p=1))

        found["pot"] = over_rows(pot)
    return found


def over_rows(score: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> Loop:
    """A loop over rows, each given its own options only."""

    def loop(
        human: np.ndarray, predicted: np.ndarray, places: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        rows = zip(human, predicted, places, mask, strict=True)
        return np.array([score(p[on], q[on], place[on]) for p, q, place, on in rows])

    return loop


def scipy_w1(p: np.ndarray, q: np.ndarray, places: np.ndarray) -> float:
    """Total variation where there are no places."""
    if np.isnan(places).any():
        return scipy_tv(p, q, places)
    return float(wasserstein_distance(places, places, p, q))


def scipy_kl(p: np.ndarray, q: np.ndarray, _: np.ndarray) -> float:
    """``entropy`` closes both sides itself."""
    return float(entropy(p, np.maximum(q, KL_FLOOR)))


def scipy_tv(p: np.ndarray, q: np.ndarray, _: np.ndarray) -> float:
    """Wasserstein-1 on a line is no total variation: numpy's sum."""
    return float(0.5 * np.abs(p - q).sum())


SCIPY = {"w1": scipy_w1, "kl_1e3": scipy_kl, "tv": scipy_tv}

if __name__ == "__main__":
    main()
