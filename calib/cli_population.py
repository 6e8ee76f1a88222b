"""Commands from predictions to populations: ``calib poststratify``, ``combine``, ``design``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calib.errors import DataError
from calib.options import DATA, INTERVAL, JSON, SEED, print_json

if TYPE_CHECKING:
    import pandas as pd

    from calib.population.poststratify import MissingGroups

MISSING = click.option(
    "--missing-groups", "missing", default="error", show_default=True,
    type=click.Choice(["error", "redistribute"]),
    help="What becomes of groups that only one of FRAME and PREDICTIONS has: an error, or "
    "they are left out, as if their people answered like the rest.",
)  # fmt: skip


@click.command()
@click.argument("predictions", type=DATA)
@click.argument("frame", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Table of estimates to write.")
@INTERVAL
@MISSING
@JSON
def poststratify(
    predictions: Path,
    frame: Path,
    output: Path,
    interval: float,
    missing: MissingGroups,
    as_json: bool,
) -> None:
    """Estimate shares of a population from those of its groups.

    PREDICTIONS is a file of draws (calib predict --draws), or a table of predictions, whose
    estimates have no intervals. FRAME is a table of attribute, group and size, or of crossed
    cells: a column for each attribute, and size.
    """
    from calib.draws import read_group_shares
    from calib.population.frame import read_frame_file
    from calib.population.poststratify import poststratify as run

    predicted = read_group_shares(predictions)
    population = read_frame_file(frame, set(predicted.keys["attribute"]))
    try:
        estimates = run(predicted, population, level=interval, missing=missing)
    except DataError as error:
        raise error.in_file(f"{predictions} with {frame}") from None
    said = {"predictions": str(predictions), "frame": str(frame), "interval": interval}
    _tell(estimates.table, estimates.counts, output, said, as_json)


@click.command()
@click.argument("predictions", type=DATA)
@click.argument("human", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Table of combined shares to write.")
@click.option(
    "--method", type=click.Choice(["update", "ppi"]), default="update", show_default=True,
    help="update: shares of groups, trusting the prediction's account of its errors; ppi: "
    "shares of the population, for a random sample, trusting nothing.",
)  # fmt: skip
@click.option("--frame", type=DATA, help="ppi: the population's groups, as for poststratify.")
@click.option(
    "--draws", metavar="DRAWS.nc", type=DATA,
    help="update: also write joint draws of the combined shares, e.g. for poststratify.",
)  # fmt: skip
@click.option(
    "--widen", is_flag=True,
    help="update: widen the prediction's errors until the answers are as near as they expect.",
)  # fmt: skip
@INTERVAL
@MISSING
@SEED
@JSON
def combine(
    predictions: Path,
    human: Path,
    output: Path,
    method: str,
    frame: Path | None,
    draws: Path | None,
    widen: bool,
    interval: float,
    missing: MissingGroups,
    seed: int,
    as_json: bool,
) -> None:
    """Combine PREDICTIONS with HUMAN answers of some people to some questions.

    PREDICTIONS is a file of draws (calib predict --draws); for ppi a table will do. HUMAN is
    a table of survey, question_id, attribute, group, option_index, p_human and n_human. Says
    how many human respondents the prediction was worth.
    """
    if (method == "ppi") != (frame is not None):
        raise click.UsageError("--method ppi needs --frame, and --frame is for it only")
    if method == "ppi" and (draws is not None or widen):
        raise click.UsageError("--draws and --widen are for --method update, not for ppi")
    from calib.draws import read_group_shares
    from calib.population.human import read_human

    predicted = read_group_shares(predictions)
    answers = read_human(human, predicted)
    said = {"predictions": str(predictions), "human": str(human), "interval": interval}
    said |= {"method": method}
    table: pd.DataFrame
    try:
        if frame is None:
            from calib.draws import write_group_shares
            from calib.population.mixed import combine as run
            from calib.rules import CELL_KEY

            found = run(predicted, answers, level=interval, widen=widen, seed=seed)
            table, counts = found.table, found.counts
            said |= {"surprise": found.surprise, "too_sure": found.too_sure}
            said |= {"errors_widened": found.widened}
            worth = table.drop_duplicates(CELL_KEY)["n_llm"].median()
            said |= {"n_llm_median": float(worth)}
            if not as_json:
                click.echo(f"the LLM was worth {worth:.0f} respondents a cell (median)")
            if widen and not as_json:
                click.echo(f"variance of the prediction's errors: times {found.widened:.2f}")
            if found.too_sure and not widen:
                click.echo(
                    f"warning: the answers lie {found.surprise:.1f} times as far from the "
                    "predictions (squared) as these expect; the combined shares trust them too "
                    "much and their intervals are too narrow; try --widen or --method ppi",
                    err=True,
                )
            if draws is not None:
                write_group_shares(found.shares, draws)
        else:
            from calib.population.frame import read_frame_file
            from calib.population.ppi import prediction_powered

            population = read_frame_file(frame, set(predicted.keys["attribute"]))
            table, counts = prediction_powered(
                predicted, answers, population, level=interval, missing=missing
            )
    except DataError as error:
        raise (error if error.file else error.in_file(predictions)) from None
    known = counts["human_cells_in_training"] + counts["human_cells_anchored"]
    if known:
        click.echo(
            f"warning: predictions of {known} cells may have learnt from the same answers (in "
            "training or anchored), which would then count twice",
            err=True,
        )
    _tell(table, counts, output, said, as_json)


@click.command()
@click.argument("draws", type=DATA)
@click.option("-o", "--output", required=True, type=DATA, help="Table of the plan to write.")
@click.option(
    "--answers", required=True, type=click.IntRange(min=1),
    help="Answers to collect in all; one is a person's to a question.",
)  # fmt: skip
@click.option(
    "--block", default=25, show_default=True, type=click.IntRange(min=1),
    help="Answers at a time from one group to one question.",
)  # fmt: skip
@JSON
def design(draws: Path, output: Path, answers: int, block: int, as_json: bool) -> None:
    """Plan which questions to ask next, and how many people of which groups.

    DRAWS is a file of calib predict --draws, or of calib combine --draws where some have
    answered. The plan makes the expected variance of all its shares as small as it can.
    """
    from calib.draws import read_group_shares
    from calib.population.design import design as run

    try:
        found = run(read_group_shares(draws), answers=answers, block=block)
    except DataError as error:
        raise (error if error.file else error.in_file(draws)) from None
    said = {"draws": str(draws), "variance": found.variance}
    if not as_json:
        now = found.variance["now"]
        planned, even = (found.variance[name] / now for name in ("planned", "even"))
        click.echo(
            f"variance left: {planned:.0%} as planned, {even:.0%} with as many blocks dealt to "
            "all questions in turn"
        )
    _tell(found.table, found.counts, output, said, as_json)


def _tell(
    table: pd.DataFrame, counts: dict[str, int], output: Path, said: dict[str, Any], as_json: bool
) -> None:
    """Write a table and say what is in it."""
    from calib.files import write_table
    from calib.show import console, show_pairs
    from calib.summary import plain

    write_table(table, output)
    if as_json:
        print_json(plain({**said, "output": str(output), "rows": len(table), "counts": counts}))
    else:
        shown = {name: count for name, count in counts.items() if count}
        show_pairs(f"{output}: {len(table)} rows", shown, console())
