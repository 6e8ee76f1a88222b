"""Human answers beside predictions: read, checked, and placed in the predictions' rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from calib.draws import FLAGS, GroupShares
from calib.errors import DataError, Fault, name_some
from calib.opinions import SUM_TOLERANCE
from calib.predictions import PREDICTION_KEY
from calib.rules import CELL_KEY
from calib.table import as_number, read_frame

COLUMNS: Final = (*PREDICTION_KEY, "p_human", "n_human")
FEWEST: Final = 1.0
"""Effective respondents of a cell: a share of fewer than one has no sampling variance."""


class Human(NamedTuple):
    """Human answers in the rows of predictions; NaN where nobody was asked."""

    shares: Float[np.ndarray, " row"]
    n: Float[np.ndarray, " row"]
    """Effective respondents of the row's cell."""
    counts: dict[str, int]


def read_human(path: str | Path, predicted: GroupShares) -> Human:
    """Read and place human answers; see ``place_human``. ``DataError`` with the file's faults."""
    table = read_frame(path)
    try:
        return place_human(table, predicted)
    except DataError as error:
        raise error.in_file(path) from None


def place_human(table: pd.DataFrame, predicted: GroupShares) -> Human:
    """Human answers to predicted questions, or to others, which are counted.

    Parameters
    ----------
    table
        One row per group, question and option with ``COLUMNS``; a paired table will do.
        Where it has ``option_kind``, options that are no answer are dropped, the rest is
        divided by its sum and ``n_human`` shrinks by the share that was dropped.

    Raises
    ------
    DataError
        Where columns are missing, keys recur with other values, shares of a cell do not sum
        to one or n_human is missing, below ``FEWEST`` or not one a cell; where a cell has
        other options than its prediction, or no cell is predicted.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing or table.empty:
        raise DataError(
            Fault(
                "human answers have the columns " + ", ".join(COLUMNS) + " and at least one row",
                f"no column {', '.join(missing)}" if missing else "no row",
                "add what is missing; a paired table has them all",
            )
        )
    typed, faults = _typed(table.reset_index(drop=True))
    if faults:
        raise DataError(faults)
    asked = typed[typed["p_human"].notna()].drop_duplicates([*COLUMNS])
    faults = _faults(asked)
    if faults:
        raise DataError(faults)
    kept, counts = _substantive(asked)
    counts["human_cells_not_asked"] = _n_cells(typed) - _n_cells(asked)
    return _placed(kept, predicted, counts)


def _typed(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Fault]]:
    columns = {name: table[name].astype(str) for name in CELL_KEY}
    faults: list[Fault] = []
    for name in ("option_index", "p_human", "n_human"):
        columns[name], unreadable = as_number(name, table[name])
        faults += unreadable
    if "option_kind" in table:
        columns["option_kind"] = table["option_kind"].astype(str)
    return pd.DataFrame(columns), faults


def _faults(asked: pd.DataFrame) -> list[Fault]:
    faults: list[Fault] = []
    cell = asked.groupby(CELL_KEY, sort=False)
    total, n = cell["p_human"].transform("sum"), cell["n_human"]
    several = n.transform("nunique", dropna=False) > 1

    def check(bad: pd.Series, rule: str, value: Callable[[int], str], remedy: str, on: str) -> None:
        rows = np.flatnonzero(bad.to_numpy())
        if len(rows):
            numbers = tuple(asked.index[rows].tolist())
            faults.append(Fault(rule, value(int(rows[0])), remedy, on, numbers))

    check(
        asked.duplicated(PREDICTION_KEY, keep=False),
        "one human share per group, question and option",
        lambda at: "/".join(map(str, asked[PREDICTION_KEY].iloc[at])) + " more than once",
        "give the answers of one survey once",
        "option_index",
    )
    check(
        ~((asked["p_human"] >= 0) & (asked["p_human"] <= 1 + SUM_TOLERANCE)),
        "a human share lies between 0 and 1",
        lambda at: f"{asked['p_human'].iloc[at]:g}",
        "write shares, not per cent or counts",
        "p_human",
    )
    check(
        ~(asked["n_human"] >= FEWEST) | np.isinf(asked["n_human"]) | several,
        f"n_human is one number a cell, from {FEWEST:g}: without it nobody knows what the "
        "shares are worth",
        lambda at: f"{asked['n_human'].iloc[at]:g}",
        "give the effective sample size, or leave the cell's p_human empty",
        "n_human",
    )
    if not faults:
        check(
            (total - 1).abs() > SUM_TOLERANCE,
            "the human shares of a cell sum to one over all its options",
            lambda at: f"{total.iloc[at]:.6g}",
            "add the options that are missing, or divide by the sum",
            "p_human",
        )
    return faults


def _substantive(asked: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Without options that are no answer; shares divided by their sum."""
    answers = (
        asked["option_kind"] == "substantive"
        if "option_kind" in asked
        else pd.Series(True, asked.index)
    )
    kept = asked[answers]
    mass = kept.groupby(CELL_KEY, sort=False)["p_human"].transform("sum")
    n = kept["n_human"] * np.minimum(mass, 1.0)
    enough = (mass > 0) & (n >= FEWEST)
    cells = kept.assign(p_human=kept["p_human"] / mass, n_human=n)[enough]
    counts = {
        "human_non_substantive_options_dropped": int((~answers).sum()),
        "human_cells_renormalised": _n_cells(kept[enough & ((mass - 1).abs() > 1e-9)]),
        "human_cells_without_substantive_answer": _n_cells(asked) - _n_cells(cells),
    }
    return cells, counts


def _placed(kept: pd.DataFrame, predicted: GroupShares, counts: dict[str, int]) -> Human:
    keys = predicted.keys
    cells = pd.MultiIndex.from_frame(keys[CELL_KEY])
    there = pd.MultiIndex.from_frame(kept[CELL_KEY]).isin(cells)
    counts["human_cells_not_predicted"] = _n_cells(kept) - _n_cells(kept[there])
    if not there.any():
        raise DataError(
            Fault(
                "human answers and predictions have cells in common",
                f"none among {_n_cells(kept)} human cells",
                "check survey, question_id, attribute and group on both sides",
            )
        )
    human = kept[there]
    row = pd.MultiIndex.from_frame(keys[PREDICTION_KEY])
    unknown = human[~pd.MultiIndex.from_frame(human[PREDICTION_KEY]).isin(row)]
    placed = human.set_index(PREDICTION_KEY)[["p_human", "n_human"]].reindex(row)
    answered = cells.isin(pd.MultiIndex.from_frame(human[CELL_KEY]))
    absent = keys[answered & placed["p_human"].isna().to_numpy()]
    names = [
        *(f"{_name(key)} is not predicted" for key in unknown[PREDICTION_KEY].to_numpy()),
        *(f"{_name(key)} has no share" for key in absent[PREDICTION_KEY].to_numpy()),
    ]
    if names:
        raise DataError(
            Fault(
                "a cell has the options of its prediction",
                name_some(names, most=3),
                "number options as the paired table does, give 0 where nobody chose one, and "
                "mark those that are no answer in option_kind",
                "option_index",
                tuple(unknown.index.tolist()),
            )
        )
    cells_there = keys[answered].drop_duplicates(CELL_KEY)
    counts["human_cells"] = len(cells_there)
    # The prediction may have learnt from the same answers, which would then count twice.
    for flag in FLAGS:
        counts[f"human_cells_{flag}"] = int(cells_there[flag].sum())
    return Human(placed["p_human"].to_numpy(), placed["n_human"].to_numpy(), counts)


def _n_cells(table: pd.DataFrame) -> int:
    return len(table.drop_duplicates(CELL_KEY))


def _name(key: np.ndarray) -> str:
    *cell, option = key
    return "/".join(map(str, cell)) + f"/{option:g}"
