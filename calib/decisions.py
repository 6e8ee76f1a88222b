"""What decisions made on predicted shares lose against those made on people's own.

The reference paper's second next step: a calibrator is worth what is decided better with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from calib.decision_losses import DECISIONS, LOSS, WHO, Decision, n_cells
from calib.errors import DataError, Fault
from calib.evaluate import MARKER
from calib.rules import CELL_KEY, QUESTION_KEY
from calib.summary import clustered_difference

__all__ = ["DECISIONS", "FRESH", "Decision", "Regret", "decision_regrets"]

FRESH: Final = "fresh sample"
"""Stands among the calibrators for as many other people, asked again."""
DRAWS: Final = 50
"""Fresh samples that are drawn."""


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
    """Share of the decisions without regret, tied choices taken by lot."""
    saved: float
    """Regret of the raw predictions less this one; positive is better than raw. NaN where
    there are none."""
    saved_lo: float
    saved_hi: float
    """95 % bootstrap interval, paired, questions resampled."""


def decision_regrets(
    folder: str | Path, decision: Decision, *, all_cells: bool = False, seed: int = 0
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

    Raw and persona-prompted LLMs are the calibrator ``identity`` of their settings. Beside
    the calibrators stands ``FRESH``: multinomial samples of ``n_human`` from the human
    shares, whose regret is what sampling alone costs; not where some n is unknown.

    Parameters
    ----------
    folder
        What ``calib evaluate`` left.
    all_cells
        Whether each selection of sources decides on all of its cells, which cannot then be
        compared with another's; otherwise on those that every selection has.
    seed
        Of intervals and fresh samples.

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
    left_out: dict[str, int] = {}
    if not all_cells:
        frame, left_out = _common(frame)
    losses, counts = LOSS[decision](frame)
    if losses.empty:
        raise DataError(
            Fault(
                rule=f"a decision of the kind {decision} has something to choose from",
                value=", ".join(f"{name} {count}" for name, count in counts.items()),
                remedy="take --decision mode, which needs no scale",
            )
        )
    unknown = frame["n_human"].isna()
    if unknown.any():
        left_out["cells_of_unknown_n_hence_no_fresh_sample"] = n_cells(frame[unknown])
    else:
        losses = pd.concat([losses, _fresh(frame, decision, seed)], ignore_index=True)
    return list(_summaries(losses, seed)), counts | left_out


def _summaries(losses: pd.DataFrame, seed: int) -> Iterator[Regret]:
    key = [name for name in (*CELL_KEY, "sources") if name in losses]
    raw = losses[losses["calibrator"] == "identity"][[*key, "regret"]]
    losses = losses.merge(raw.rename(columns={"regret": "raw"}), on=key, how="left")
    for (sources, calibrator), own in losses.groupby(WHO, sort=False):
        parts = [("", "", own)]
        parts += [(name, "", part) for name, part in own.groupby("attribute")]
        if "group" in own:
            by_group = own.groupby(["attribute", "group"])
            parts += [(attribute, group, part) for (attribute, group), part in by_group]
        for attribute, group, part in parts:
            question = part.groupby(QUESTION_KEY).ngroup().to_numpy()
            values, saved = part["regret"].to_numpy(), (part["raw"] - part["regret"]).to_numpy()
            mean, low, high = clustered_difference(values, question, seed=seed)
            gain = (
                (np.nan, np.nan, np.nan)
                if np.isnan(saved).any()
                else clustered_difference(saved, question, seed=seed)
            )
            yield Regret(
                sources=str(sources),
                calibrator=str(calibrator),
                attribute=str(attribute),
                group=str(group),
                n_decisions=len(part),
                n_questions=len(np.unique(question)),
                regret=mean,
                lo=low,
                hi=high,
                agree=float(part["right"].mean()),
                saved=gain[0],
                saved_lo=gain[1],
                saved_hi=gain[2],
            )


def _common(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The cells that every selection of sources has; the others counted."""
    cells = frame[["sources", *CELL_KEY]].drop_duplicates()
    often = cells.groupby(CELL_KEY, sort=False).size().rename("often")
    shared = frame[CELL_KEY].merge(often.reset_index(), on=CELL_KEY, how="left")["often"]
    common = (shared == cells["sources"].nunique()).to_numpy()
    if not common.any():
        raise DataError(
            Fault(
                rule="settings are compared on cells that all of them have",
                value=f"no such cell of {cells['sources'].nunique()} settings",
                remedy="take --all-cells, each setting on its own",
            )
        )
    return frame[common], {"cells_not_of_every_setting_left_out": n_cells(frame[~common])}


def _fresh(frame: pd.DataFrame, decision: Decision, seed: int) -> pd.DataFrame:
    """Mean losses of decisions on samples of n_human from the human shares."""
    rng = np.random.default_rng(seed)
    first = frame.groupby("sources", sort=False)["calibrator"].transform("first")
    human = frame[frame["calibrator"] == first].assign(calibrator=FRESH)
    place = human.groupby(["sources", *CELL_KEY], sort=False).ngroup().to_numpy()
    column = human.groupby(place).cumcount().to_numpy()
    shares = np.zeros((place.max() + 1, column.max() + 1))
    shares[place, column] = human["p_human"]
    shares /= shares.sum(axis=1, keepdims=True)
    size = np.ones(len(shares), dtype=int)
    size[place] = np.maximum(1, human["n_human"].round())
    drawn = []
    for _ in range(DRAWS):
        sample = rng.multinomial(size, shares) / size[:, None]
        drawn.append(LOSS[decision](human.assign(p_cal=sample[place, column]))[0])
    every = pd.concat(drawn, ignore_index=True)
    key = [name for name in (*WHO, *CELL_KEY) if name in every]
    return every.groupby(key, sort=False)[["regret", "right"]].mean().reset_index()


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
