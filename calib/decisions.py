"""What decisions made on predicted shares lose against those made on people's own.

The reference paper's second next step: a calibrator is worth what is decided better with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from calib.errors import DataError, Fault
from calib.evaluate import MARKER
from calib.rules import CELL_KEY, QUESTION_KEY
from calib.summary import clustered_difference

Decision = Literal["mode", "side", "target"]
DECISIONS: Final[tuple[Decision, ...]] = get_args(Decision)
WHO: Final = ["sources", "calibrator"]
TIE: Final = 1e-9
"""Predictions that differ by less do not decide; the loss is then the mean over the choices."""


class Regret(NamedTuple):
    """Mean regret of the decisions on one calibrator's predictions."""

    sources: str
    calibrator: str
    attribute: str
    """Empty: of all attributes and groups."""
    group: str
    """Empty: of all groups of the attribute, as each decision of ``target`` is."""
    n_decisions: int
    n_questions: int
    regret: float
    """In shares of people for ``mode`` and ``side``, in lengths of the scale for ``target``;
    0 is what people's own shares give, higher is worse."""
    lo: float
    hi: float
    """95 % bootstrap interval, questions resampled."""
    agree: float
    """Share of the decisions without regret."""


def decision_regrets(
    folder: str | Path, decision: Decision, *, seed: int = 0
) -> tuple[list[Regret], dict[str, int]]:
    """Regret of held-out decisions, by calibrator and group, from what ``calib evaluate`` left.

    For each question, decided on the predicted shares and paid in the human ones:

    - ``mode``: which option do most of a group choose? Lost is the share of people that the
      true mode has more than the option decided on.
    - ``side``: is more of a group above or below the middle of the scale? On the wrong side,
      lost is the margin, |share above − share below|. Not on nominal scales.
    - ``target``: which group of an attribute stands highest on the scale? Lost is how far the
      group decided on lies below the highest, in means of places in [0, 1]. Not on nominal
      scales, nor for attributes of one group.

    Raw and persona-prompted LLMs are the calibrator ``identity`` of their settings.

    Returns
    -------
    One row for each selection of sources, calibrator and group, those of all groups first,
    and counts of what could not be decided on.

    Raises
    ------
    DataError
        Where the folder holds no evaluation, or nothing of it can be decided on.
    """
    frame = _predictions(Path(folder))
    losses, counts = _LOSS[decision](frame)
    if losses.empty:
        raise DataError(
            Fault(
                rule=f"a decision of the kind {decision} has something to choose from",
                value=", ".join(f"{name} {count}" for name, count in counts.items()),
                remedy="take --decision mode, which needs no scale",
            )
        )
    rows = []
    for (sources, calibrator), own in losses.groupby(WHO, sort=False):
        parts = [("", "", own)]
        parts += [(key, "", part) for key, part in own.groupby("attribute")]
        if "group" in own:
            by_group = own.groupby(["attribute", "group"])
            parts += [(attribute, group, part) for (attribute, group), part in by_group]
        for attribute, group, part in parts:
            question = part.groupby(QUESTION_KEY).ngroup().to_numpy()
            values = part["regret"].to_numpy()
            mean, low, high = clustered_difference(values, question, seed=seed)
            rows.append(
                Regret(
                    sources=str(sources),
                    calibrator=str(calibrator),
                    attribute=str(attribute),
                    group=str(group),
                    n_decisions=len(part),
                    n_questions=len(np.unique(question)),
                    regret=mean,
                    lo=low,
                    hi=high,
                    agree=float((values <= TIE).mean()),
                )
            )
    return rows, counts


def _predictions(folder: Path) -> pd.DataFrame:
    try:
        if not (folder / MARKER).is_file():
            raise FileNotFoundError(f"no {MARKER}")
        return pd.read_parquet(folder / "predictions.parquet")
    except (OSError, ValueError) as error:
        raise DataError(
            Fault(
                rule="decisions are made on the predictions of an evaluation",
                value=" ".join(str(error).split())[:200],
                remedy="name a folder that calib evaluate wrote",
            ),
            file=folder,
        ) from None


def _mode(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    cell = frame.groupby([*WHO, *CELL_KEY], sort=False)
    chosen = frame["p_cal"] >= cell["p_cal"].transform("max") - TIE
    loss = cell["p_human"].transform("max") - frame["p_human"]
    return _mean(frame.assign(regret=loss)[chosen], CELL_KEY), {}


def _side(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    placed, counts = _placed(frame)
    upper = np.sign(placed["place"] - 0.5).where(abs(placed["place"] - 0.5) > TIE, 0.0)
    margins = placed.assign(human=upper * placed["p_human"], predicted=upper * placed["p_cal"])
    found = margins.groupby([*WHO, *CELL_KEY], sort=False)[["human", "predicted"]].sum()
    side = np.sign(found["predicted"]).where(found["predicted"].abs() > TIE, 0.0)
    # On the right side nothing, on the wrong one the margin, half of it where undecided.
    loss = found["human"].abs() * (1 - side * np.sign(found["human"])) / 2
    return loss.rename("regret").reset_index(), counts


def _target(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
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
    counts["cells_alone_in_their_attribute"] = _n_cells(of_group[~several])
    kept = of_group.assign(regret=loss)[chosen & several]
    return _mean(kept, [*QUESTION_KEY, "attribute"]), counts


_LOSS: Final[dict[Decision, Callable[[pd.DataFrame], tuple[pd.DataFrame, dict[str, int]]]]] = {
    "mode": _mode,
    "side": _side,
    "target": _target,
}


def _placed(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of scales with values, their places in [0, 1]; the others counted."""
    nominal = frame["option_value"].isna()
    placed = frame[~nominal]
    value = placed.groupby([*WHO, *QUESTION_KEY], sort=False)["option_value"]
    low, high = value.transform("min"), value.transform("max")
    place = (placed["option_value"] - low) / (high - low)
    return placed.assign(place=place), {
        "cells_on_nominal_scales_left_out": _n_cells(frame[nominal])
    }


def _n_cells(frame: pd.DataFrame) -> int:
    """Cells, each once however many calibrators predicted it."""
    return len(frame[["sources", *CELL_KEY]].drop_duplicates())


def _mean(chosen: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """One decision a key: the mean over its choices, of which a tie leaves several."""
    return chosen.groupby([*WHO, *key], sort=False)["regret"].mean().reset_index()
