"""What folds and settings cost that share one compiled program, beside fits of their own.

    python -m benchmarks.fold_cost run             results/fold_cost.json
    python -m benchmarks.fold_cost report          results/fold_cost.md

Simulated surveys of 80 questions and 14 groups, ``dirichlet`` as shipped. Each measurement is
a process of its own, imports and compilation included: one fit of four fifths of the
questions; a cross-validation of five folds; a grid of 24 settings, one part each, predicted,
scored and diagnosed. The time of sampling alone is that of the compiled chains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click
import numpy as np

from benchmarks.record import record, write_markdown
from calib.paired import Paired

RESULTS: Final = Path(__file__).parent / "results"
FOLDS: Final = 5
SETTINGS: Final = 24
GOALS: Final = {"fold": 0.5, "grid": 1.5}
"""At most: a fold to a separate fit, a grid to its sampling."""


def simulated(seed: int) -> Paired:
    """A survey of 80 questions and 14 groups, as a paired table of one setting."""
    from calib.paired import pair, settings_of
    from calib.simulate import simulate_survey
    from calib.survey import Group

    sizes = {"SEX": 2, "PARTY": 3, "AGE": 4, "REGION": 5}
    groups = [Group(name, f"{name} {one}") for name, n in sizes.items() for one in range(n)]
    survey = simulate_survey(n_questions=80, groups=groups, n_options=(2, 3, 4, 5), seed=seed)
    return pair(survey.table, settings_of(survey.table))


def folds_of_rows(paired: Paired) -> np.ndarray:
    """The fold of each row, by question."""
    from calib.evaluate import folds_of_questions

    fold_of = folds_of_questions(paired.index.question_keys, FOLDS, 0)
    of_question = np.array([fold_of[key] for key in paired.index.question_keys])
    return np.asarray(of_question[paired.index.question_of_row])


def measured(kind: str, quick: bool) -> dict[str, float]:
    """Seconds of one kind of work in this process, and those of sampling within."""
    sampling = _timed_sampling()
    from calib.dirichlet import Dirichlet
    from calib.heldout import held_out_part
    from calib.sampling import Plan

    plan = Plan(n_warmup=50, n_draws=50) if quick else None
    parts = {"fit": (1, 1), "folds": (1, FOLDS), "grid": (2 if quick else SETTINGS, 1)}
    n_settings, n_folds = parts[kind]
    fit_seconds = 0.0
    for setting in range(n_settings):
        paired = simulated(setting)
        fold_of_row = folds_of_rows(paired)
        for fold in range(n_folds):
            training, test = paired.take(fold_of_row != fold), paired.take(fold_of_row == fold)
            part = held_out_part(Dirichlet(plan), training, test, seed=0, number=fold)
            fit_seconds += part.fit_seconds
    return {
        "fits": n_settings * n_folds,
        "fit_seconds": fit_seconds,
        "sampling_seconds": sum(sampling),
    }


def _timed_sampling() -> list[float]:
    """Seconds of each fit's chains from now on: what runs after compilation."""
    from calib import sampling

    seconds: list[float] = []
    compile_program = sampling.compiled

    def compiled(name: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
        program = compile_program(name, function, *arguments)

        def run(*data: Any) -> Any:
            import jax

            started = perf_counter()
            drawn = jax.block_until_ready(program(*data))
            # Chains run side by side: each counts for its part.
            seconds.append((perf_counter() - started) / sampling.Plan().n_chains)
            return drawn

        return run

    sampling.compiled = compiled
    return seconds


def run_apart(kind: str, quick: bool) -> dict[str, float]:
    """The same in a process of its own, with the seconds of the whole process."""
    started = perf_counter()
    words = [sys.executable, "-m", "benchmarks.fold_cost", "measure", kind]
    # Each compiles for itself: nothing is kept from one to the next.
    nothing_kept = os.environ | {"CALIB_CACHE": "off"}
    done = subprocess.run(
        words + ["--quick"] * quick,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=nothing_kept,
    )
    seconds = perf_counter() - started
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"seconds": seconds}


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """A fold to a separate fit, processes and fits alone; a grid to its sampling."""
    alone, folds, grid = found["fit"], found["folds"], found["grid"]
    return {
        "fold": folds["seconds"] / folds["fits"] / alone["seconds"],
        "fold_fit": folds["fit_seconds"] / folds["fits"] / alone["fit_seconds"],
        "grid": grid["seconds"] / grid["sampling_seconds"],
    }


def report_lines(document: dict[str, Any]) -> Iterator[str]:
    """The results as Markdown."""
    found, ratio = document["measured"], ratios(document["measured"])
    yield "# What folds and settings cost"
    yield ""
    yield (
        "Simulated surveys of 80 questions × 14 groups, `dirichlet` by its default sampler, each "
        "line a process of its own with imports and compilation."
    )
    yield ""
    yield "| work | fits | seconds | of fits | of sampling alone |"
    yield "|---" * 5 + "|"
    for kind, what in (
        ("fit", "one fit"), ("folds", "cross-validation"), ("grid", "grid of settings"),
    ):  # fmt: skip
        row = found[kind]
        yield (
            f"| {what} | {row['fits']} | {row['seconds']:.1f} | {row['fit_seconds']:.1f} | "
            f"{row['sampling_seconds']:.1f} |"
        )
    yield ""
    yield (
        f"A fold takes {ratio['fold']:.2f} of a separate fit (goal: at most {GOALS['fold']}; "
        f"without imports and scores {ratio['fold_fit']:.2f}); the grid {ratio['grid']:.2f} times "
        f"its sampling alone (goal: at most {GOALS['grid']})."
    )


@click.group()
def main() -> None:
    """Costs of folds and settings."""


@main.command()
@click.option("--quick", is_flag=True, help="Few draws and settings, to see that it works.")
def run(quick: bool) -> None:
    """Measure all three and keep the figures."""
    document = record(0) | {
        "load_before": os.getloadavg()[0],
        "measured": {kind: run_apart(kind, quick) for kind in ("fit", "folds", "grid")},
    }
    click.echo(json.dumps(document["measured"], indent=1))
    if not quick:
        text = json.dumps(document, indent=1)
        (RESULTS / "fold_cost.json").write_text(text + "\n", encoding="utf-8")


@main.command()
@click.argument("kind", type=click.Choice(["fit", "folds", "grid"]))
@click.option("--quick", is_flag=True)
def measure(kind: str, quick: bool) -> None:
    """Measure one in this process and print it as JSON."""
    click.echo(json.dumps(measured(kind, quick)))


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    document = json.loads((RESULTS / "fold_cost.json").read_text(encoding="utf-8"))
    write_markdown(RESULTS / "fold_cost.md", report_lines(document), [document])


if __name__ == "__main__":
    main()
