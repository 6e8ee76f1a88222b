"""The command ``calib decide``: what decisions on predicted shares lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from calib.options import DATA, JSON, SEED, print_json

if TYPE_CHECKING:
    from calib.decisions import Decision


@click.command()
@click.argument("folder", metavar="DIR", type=DATA)
@click.option(
    "--decision", default="mode", show_default=True,
    type=click.Choice(["mode", "side", "target"]),
    help="Which option do most of a group choose; which side of the scale's middle are more "
    "of them on; which group of an attribute stands highest.",
)  # fmt: skip
@click.option(
    "--all-cells", is_flag=True,
    help="Decide on all cells of each setting, not only on those that all settings have.",
)  # fmt: skip
@SEED
@JSON
def decide(folder: Path, decision: Decision, all_cells: bool, seed: int, as_json: bool) -> None:
    """Say what is lost by deciding on predictions instead of people's answers.

    DIR is what calib evaluate left. Regret is 0 where the decision is that of the human
    shares; --json gives it for each group.
    """
    from calib.decisions import decision_regrets
    from calib.show import console, show_regrets
    from calib.summary import plain

    regrets, counts = decision_regrets(folder, decision, all_cells=all_cells, seed=seed)
    if as_json:
        rows = [one._asdict() for one in regrets]
        print_json(plain({"decision": decision, "counts": counts, "rows": rows}))
        return
    show_regrets(decision, regrets, counts, console())
