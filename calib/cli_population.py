"""Commands from predictions to populations: ``calib poststratify``, ``combine``, ``design``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calib.errors import DataError
from calib.options import DATA, JSON, print_json

if TYPE_CHECKING:
    from calib.population.poststratify import MissingGroups

INTERVAL = click.option(
    "--interval", default=0.9, show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Level of the intervals.",
)  # fmt: skip
MISSING = click.option(
    "--missing-groups", "missing", default="error", show_default=True,
    type=click.Choice(["error", "redistribute"]),
    help="What becomes of groups that only one of FRAME and PREDICTIONS has: an error, or "
    "their people count as the rest of their attribute.",
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


def _tell(
    table: Any, counts: dict[str, int], output: Path, said: dict[str, Any], as_json: bool
) -> None:
    """Write a table and say what is in it."""
    from calib.files import write_table
    from calib.show import console, show_pairs

    write_table(table, output)
    if as_json:
        print_json({**said, "output": str(output), "rows": len(table), "counts": counts})
    else:
        shown = {name: count for name, count in counts.items() if count}
        show_pairs(f"{output}: {len(table)} rows", shown, console())
