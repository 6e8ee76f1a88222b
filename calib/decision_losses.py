"""What one decision on predicted shares loses, paid in people's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd

from calib.rules import CELL_KEY, QUESTION_KEY

Decision = Literal["mode", "side", "target"]
DECISIONS: Final[tuple[Decision, ...]] = get_args(Decision)
WHO: Final = ["sources", "calibrator"]
TIE: Final = 1e-9
"""Predictions that differ by less do not decide; the loss is then the mean over the choices."""

Losses = tuple[pd.DataFrame, dict[str, int]]
"""One row a decision, with ``regret`` and ``right``, the share of the tied choices that lose
nothing; and counts of what could not be decided on."""


def _mode(frame: pd.DataFrame) -> Losses:
    cell = frame.groupby([*WHO, *CELL_KEY], sort=False)
    chosen = frame["p_cal"] >= cell["p_cal"].transform("max") - TIE
    loss = cell["p_human"].transform("max") - frame["p_human"]
    return _mean(frame.assign(regret=loss)[chosen], CELL_KEY), {}


def _side(frame: pd.DataFrame) -> Losses:
    placed, counts = _placed(frame)
    upper = np.sign(placed["place"] - 0.5).where(abs(placed["place"] - 0.5) > TIE, 0.0)
    margins = placed.assign(human=upper * placed["p_human"], predicted=upper * placed["p_cal"])
    found = margins.groupby([*WHO, *CELL_KEY], sort=False)[["human", "predicted"]].sum()
    side = np.sign(found["predicted"]).where(found["predicted"].abs() > TIE, 0.0)
    # On the right side nothing, on the wrong one the margin, half of it where undecided.
    margin, agrees = found["human"].abs(), (1 + side * np.sign(found["human"])) / 2
    right = agrees.where(margin > TIE, 1.0)
    losses = pd.DataFrame({"regret": margin * (1 - agrees), "right": right})
    return losses.reset_index(), counts


def _target(frame: pd.DataFrame) -> Losses:
    placed, counts = _placed(frame)
    means = placed.assign(
        human=placed["place"] * placed["p_human"], predicted=placed["place"] * placed["p_cal"]
    )
    of_group = means.groupby([*WHO, *CELL_KEY], sort=False)[["human", "predicted"]].sum()
    of_group = of_group.reset_index()
    one = of_group.groupby([*WHO, *QUESTION_KEY, "attribute"], sort=False)
    several = one["group"].transform("size") > 1
    chosen = of_group["predicted"] >= one["predicted"].transform("max") - TIE
    loss = one["human"].transform("max") - of_group["human"]
    counts["cells_alone_in_their_attribute"] = n_cells(of_group[~several])
    kept = of_group.assign(regret=loss)[chosen & several]
    return _mean(kept, [*QUESTION_KEY, "attribute"]), counts


def _placed(frame: pd.DataFrame) -> Losses:
    """Rows of scales with values, their places in [0, 1]; the others counted."""
    nominal = frame["option_value"].isna()
    placed = frame[~nominal]
    value = placed.groupby([*WHO, *QUESTION_KEY], sort=False)["option_value"]
    low, high = value.transform("min"), value.transform("max")
    place = (placed["option_value"] - low) / (high - low)
    return placed.assign(place=place), {"cells_on_nominal_scales_left_out": n_cells(frame[nominal])}


def n_cells(frame: pd.DataFrame) -> int:
    """Cells, each once however many calibrators predicted it."""
    return len(frame[["sources", *CELL_KEY]].drop_duplicates())


def _mean(chosen: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """One decision a key: the mean over its choices, of which a tie leaves several."""
    right = (chosen["regret"] <= TIE).astype(float)
    decisions = chosen.assign(right=right).groupby([*WHO, *key], sort=False)
    return decisions[["regret", "right"]].mean().reset_index()


LOSS: Final[dict[Decision, Callable[[pd.DataFrame], Losses]]] = {
    "mode": _mode,
    "side": _side,
    "target": _target,
}
"""Each takes one row an option with ``p_cal`` and ``p_human``."""
