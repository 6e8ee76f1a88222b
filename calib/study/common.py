"""The cells that every selected setting answered, for comparisons of settings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from calib.errors import DataError, Fault
from calib.rules import CELL_KEY, SETTING_KEY
from calib.survey import Setting


def common_cells(
    frame: pd.DataFrame, settings: Sequence[Setting]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows of these settings in the cells that all of them answered.

    With them the number of cells that any of them was asked, as ``cells``, and of those left
    out because one of them did not answer, as ``cells_left_out``.

    Raises
    ------
    DataError
        Where there is no such cell.
    """
    wanted = pd.MultiIndex.from_tuples(settings, names=SETTING_KEY)
    own = frame[pd.MultiIndex.from_frame(frame[SETTING_KEY].astype(str)).isin(wanted)]
    answers = own.drop_duplicates([*CELL_KEY, *SETTING_KEY])
    times = (answers["outcome"] == "answered").groupby(
        [answers[name].astype(str) for name in CELL_KEY], sort=False
    ).sum()  # fmt: skip
    shared = times.index[times == len(wanted)]
    if len(shared) == 0:
        raise DataError(
            Fault(
                rule='cells = "common" keeps cells that all selected settings answered',
                value=f"none of {len(times)} for {len(wanted)} settings",
                remedy="select fewer settings, or leave cells out",
            )
        )
    kept = pd.MultiIndex.from_frame(own[CELL_KEY].astype(str)).isin(shared)
    counts = {"cells": len(times), "cells_left_out": len(times) - len(shared)}
    return own[kept].reset_index(drop=True), counts
