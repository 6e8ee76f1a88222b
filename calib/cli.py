"""The command line ``calib``; what each command needs is loaded when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calib.cli_card import card
from calib.cli_decide import decide
from calib.cli_import import import_table
from calib.cli_population import combine, design, poststratify
from calib.cli_study import study
from calib.cli_survey import pair as pair_tables
from calib.cli_survey import survey
from calib.errors import DataError
from calib.options import DATA, INTERVAL, JSON, SEED, SOURCES, Main, print_json

if TYPE_CHECKING:
    import pandas as pd

    from calib.acts import Act
    from calib.prior import Learnt
    from calib.survey import Setting


def _calibrator_name(_: click.Context, __: click.Parameter, value: str) -> str:
    from calib.base import REGISTRY

    if value not in REGISTRY:
        raise click.BadParameter(f"{value!r} is not one of {', '.join(REGISTRY)}")
    return value


def _calibrator_names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    if value is None:
        from calib.evaluate import DEFAULT_CALIBRATORS

        return list(DEFAULT_CALIBRATORS)
    return [_calibrator_name(ctx, param, name.strip()) for name in value.split(",")]


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opinion-calibration", prog_name="calib")
def main() -> None:
    """Calibrate the opinion distributions that an LLM gives against human surveys.

    Exit codes: 0 ok, 1 failure, 2 usage, 5 bad data, 130 interrupted.
    """


@main.command()
@click.option(
    "--out", default="calib-demo", show_default=True, type=DATA, help="Folder for the results."
)
@SEED
def demo(out: Path, seed: int) -> None:
    """Run the whole path offline: real answers, a real local LLM, a simulated check."""
    from calib.demo import run_demo
    from calib.progress import progress_bar

    with progress_bar() as progress:
        found = run_demo(out, seed, progress)
    for finding in (*found.gss_findings, *found.simulated_findings):
        click.echo(finding)
    for path in (found.gss_report, found.simulated_report):
        click.echo(f"report: {path}")


@main.command()
@click.argument("table", type=DATA)
@JSON
def validate(table: Path, as_json: bool) -> None:
    """Check a paired table; all its faults at once."""
    from calib.describe import describe
    from calib.show import console, show_pairs
    from calib.table import read_table

    try:
        found = describe(read_table(table))
    except DataError as error:
        if as_json:
            faults = [fault.as_dict() for fault in error.faults]
            print_json({"table": str(table), "valid": False, "faults": faults})
        raise
    if as_json:
        print_json({"table": str(table), "valid": True, "faults": [], **found})
    else:
        show_pairs(f"{table} is a valid paired table", found, console())


@main.command()
@click.argument("table", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Model folder to write.")
@click.option(
    "--calibrator", default="dirichlet", show_default=True, callback=_calibrator_name,
    help="Which calibrator, e.g. dirichlet, ridge or forest.",
)  # fmt: skip
@click.option(
    "--inference", type=click.Choice(["nuts", "laplace", "svi"]),
    help="dirichlet: sample the posterior (the default, nuts), or approximate it: laplace in "
    "seconds, svi for very large tables.",
)  # fmt: skip
@click.option(
    "--prior", type=DATA, metavar="MODEL",
    help="dirichlet: a model of another survey or LLM, to begin from what it learnt.",
)  # fmt: skip
@SOURCES
@SEED
def fit(
    table: Path,
    output: Path,
    calibrator: str,
    inference: str | None,
    prior: Path | None,
    sources: str | None,
    seed: int,
) -> None:
    """Learn the LLM's error from the cells of TABLE that people answered.

    All selected settings are sources of the one fit.
    """
    from calib.base import make_calibrator
    from calib.dirichlet import Dirichlet
    from calib.exaggeration import exaggeration
    from calib.modelfile import save_model, table_hash
    from calib.paired import pair
    from calib.show import console, show_pairs
    from calib.sources import sources_label

    frame, [selection] = _read(table, sources, join=True)
    paired = pair(frame, selection)
    settings: dict[str, Any] = {} if inference is None else {"inference": inference}
    if prior is not None:
        settings["prior"] = _learnt(prior)
    fitted = make_calibrator(calibrator, **settings).fit(paired, seed=seed)
    save_model(
        fitted,
        output,
        paired=paired,
        seed=seed,
        table_name=table.name,
        data_hash=table_hash(frame),
    )
    training = paired.take(paired.complete)
    summary = {
        "calibrator": calibrator,
        "sources": sources_label(selection),
        "questions": len(training.index.questions),
        "cells learnt from": len(training),
        "cells left out": len(paired) - len(training),
        **{name: count for name, count in paired.counts.items() if count},
        **{name: count for name, count in getattr(fitted, "prior_counts_", {}).items() if count},
    }
    show_pairs(f"model {output}", summary, console())
    if isinstance(fitted, Dirichlet):
        from calib.diagnostics import diagnose

        for factor in exaggeration(fitted.posterior_, fitted.groups_, attributes_only=True):
            click.echo(str(factor))
        diagnosis = diagnose(fitted.posterior_, with_loo=False)
        if not diagnosis.trusted:
            problems = "; ".join(diagnosis.problems)
            click.echo(f"warning: this fit is not to be trusted: {problems}", err=True)
        elif diagnosis.inference != "nuts":
            click.echo(diagnosis.verdict)


@main.command()
@click.argument("model", type=DATA)
@click.argument("table", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Table of predictions to write.")
@INTERVAL
@click.option(
    "--act", default="mean", show_default=True,
    type=click.Choice(["mean", "median", "median_cumulative"]),
    help="Point prediction: best for KL, for TV, for W1.",
)  # fmt: skip
@click.option(
    "--anchor", metavar="TOPLINES", type=DATA,
    help="Table of what all respondents answered: survey, question_id, option_index, p_human, "
    "n_human. Groups of these questions are predicted so that they add up to it.",
)  # fmt: skip
@click.option(
    "--draws", metavar="DRAWS.nc", type=DATA,
    help="Also write the joint posterior draws, for poststratify, combine and design.",
)  # fmt: skip
def predict(
    model: Path,
    table: Path,
    output: Path,
    interval: float,
    act: Act,
    anchor: Path | None,
    draws: Path | None,
) -> None:
    """Calibrate the LLM's answers in TABLE, human answers there or not."""
    from calib.draws import write_draws
    from calib.files import write_table
    from calib.modelfile import load_model
    from calib.predictions import predict_table
    from calib.show import console, show_pairs
    from calib.table import read_table
    from calib.toplines import read_toplines

    saved = load_model(model)
    frame = read_table(table)
    try:
        toplines = None if anchor is None else read_toplines(anchor, frame, saved.settings)
        predicted = predict_table(
            saved,
            frame,
            level=interval,
            act=act,
            toplines=toplines,
            keep_draws=draws is not None,
        )
    except DataError as error:
        raise (error if error.file else error.in_file(table)) from None
    if draws is not None:
        write_draws(predicted, draws)
    write_table(predicted.table, output)
    known = predicted.counts["questions_in_training"]
    if known:
        click.echo(
            f"warning: {known} questions were in the model's training; their predictions are "
            "marked in_training and must not be scored",
            err=True,
        )
    shown = {name: count for name, count in predicted.counts.items() if count}
    show_pairs(f"{output}: {len(predicted.table)} rows", shown, console())


@main.command()
@click.argument("predictions", type=DATA)
@click.argument("table", type=DATA)
@JSON
def score(predictions: Path, table: Path, as_json: bool) -> None:
    """Score PREDICTIONS against the human shares in TABLE."""
    from calib.predictions import read_predictions
    from calib.score_predictions import score_predictions
    from calib.show import console, show_scores
    from calib.table import read_table

    predicted, frame = read_predictions(predictions), read_table(table)
    try:
        document = score_predictions(predicted, frame)
    except DataError as error:
        raise error.in_file(predictions) from None
    if as_json:
        print_json({"predictions": str(predictions), "table": str(table), **document})
    else:
        show_scores(document, console())


@main.command()
@click.argument("table", type=DATA)
@click.option("-o", "--output", type=DATA, help="Folder for the results; calib report reads it.")
@click.option(
    "--calibrators", metavar="NAMES", callback=_calibrator_names,
    help="Names separated by commas; identity, uniform and train-mean are always there.",
)  # fmt: skip
@SOURCES
@click.option("--folds", default=5, show_default=True, help="Folds, by question.")
@SEED
@JSON
def evaluate(
    table: Path,
    output: Path | None,
    calibrators: list[str],
    sources: str | None,
    folds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare calibrators on questions that they did not see.

    Each setting is evaluated on its own, unless --sources joins them with the word all.
    """
    from calib.evaluate import evaluate as run
    from calib.evaluate import write_evaluation
    from calib.progress import progress_bar
    from calib.show import console, show_evaluation

    frame, selections = _read(table, sources, join=False)
    with progress_bar() as progress:
        try:
            result = run(
                frame,
                selections=selections,
                calibrators=calibrators,
                folds=folds,
                seed=seed,
                table_name=table.name,
                progress=progress,
            )
        except DataError as error:
            raise error.in_file(table) from None
    if output is not None:
        write_evaluation(result, output)
    if as_json:
        print_json(result.as_dict())
    else:
        show_evaluation(result.as_dict(), console())


@main.command()
@click.argument("model", type=DATA)
@JSON
def diagnose(model: Path, as_json: bool) -> None:
    """Say whether the sampling behind MODEL is to be trusted; exit 1 where it is not."""
    from calib.dirichlet import Dirichlet
    from calib.errors import Fault
    from calib.modelfile import load_model
    from calib.show import console, show_diagnosis
    from calib.summary import plain

    calibrator = load_model(model).calibrator
    if not isinstance(calibrator, Dirichlet):
        raise DataError(
            Fault(
                rule="only models with a posterior have diagnostics",
                value=f"a model of {calibrator.name}",
                remedy="fit with --calibrator dirichlet",
            ),
            file=model,
        )
    from calib.diagnostics import diagnose as run
    from calib.exaggeration import exaggeration

    diagnosis = run(calibrator.posterior_)
    factors = exaggeration(calibrator.posterior_, calibrator.groups_)
    if as_json:
        document = diagnosis.as_dict() | {"exaggeration": [one._asdict() for one in factors]}
        print_json(plain(document))
    else:
        show_diagnosis(str(model), diagnosis, console())
        for factor in factors:
            click.echo(str(factor))
        for problem in diagnosis.problems:
            click.echo(problem)
        click.echo(diagnosis.verdict)
    if not diagnosis.trusted:
        click.get_current_context().exit(1)


@main.command()
@click.argument("folder", metavar="DIR", type=DATA)
@click.option(
    "-o", "--output", required=True, type=DATA,
    help="HTML file to write; of a study also Markdown (.md).",
)  # fmt: skip
def report(folder: Path, output: Path) -> None:
    """Write what calib evaluate or calib study left in DIR as one self-contained file."""
    from calib.report import write_report

    write_report(folder, output)
    click.echo(f"the report is in {output}")


def _learnt(model: Path) -> Learnt:
    """What a saved model learnt, to be another's prior."""
    from calib.errors import Fault
    from calib.modelfile import load_model

    learnt = getattr(load_model(model).calibrator, "learnt", None)
    if learnt is None:
        raise DataError(
            Fault(
                rule="only a model with a posterior can be a prior",
                value=str(model),
                remedy="fit the prior's model with --calibrator dirichlet",
            ),
            file=model,
        )
    found: Learnt = learnt(str(model.name))
    return found


def _read(
    table: Path, sources: str | None, *, join: bool
) -> tuple[pd.DataFrame, Sequence[tuple[Setting, ...]]]:
    """A table and the selections of its settings."""
    from calib.paired import settings_of
    from calib.sources import parse_sources
    from calib.table import read_table

    frame = read_table(table)
    try:
        return frame, parse_sources(sources, settings_of(frame), default_join=join)
    except DataError as error:
        raise error.in_file(table) from None


main.add_command(card)
main.add_command(decide)
main.add_command(import_table)
main.add_command(survey)
main.add_command(pair_tables)
main.add_command(study)
main.add_command(poststratify)
main.add_command(combine)
main.add_command(design)
