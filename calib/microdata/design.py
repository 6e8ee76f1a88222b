"""Strata and sampling units of a survey, as its file gives them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from calib.errors import Fault
from calib.microdata.design_errors import Design
from calib.microdata.faults import listed, rows_of


def settle_design(
    n_rows: int,
    strata: pd.Series | None,
    psu: pd.Series | None,
    single: str | None,
) -> tuple[Design | None, dict[str, int], list[Fault]]:
    """Who was sampled with whom, what there is to say of it, and what is wrong with it.

    Without strata there is one; without sampling units each respondent is one. Units are
    nested: a number that recurs in another stratum is another unit, and counted.

    Parameters
    ----------
    strata, psu
        One value a respondent.
    single
        What becomes of strata with one unit: see ``Design``; a fault if None.
    """
    if strata is None and psu is None:
        return None, {}, []
    faults = []
    for column in (strata, psu):
        if column is not None and column.isna().any():
            faults.append(
                Fault(
                    "each respondent has a stratum and a sampling unit",
                    "empty",
                    "fill the column, or give shares without standard errors",
                    str(column.name),
                    rows_of(column.isna().to_numpy()),
                )
            )
    if faults:
        return None, {}, faults
    stratum, names = (np.zeros(n_rows, dtype=int), ["all"]) if strata is None else _number(strata)
    own, _ = (np.arange(n_rows), []) if psu is None else _number(psu)
    unit, found = pd.factorize(stratum.astype(np.int64) * (own.max(initial=0) + 1) + own)
    stratum_of_unit = found // (own.max(initial=0) + 1)
    units = np.bincount(stratum_of_unit, minlength=len(names))
    lone = np.flatnonzero(units == 1)
    if len(lone) and single is None:
        faults.append(
            Fault(
                "each stratum has two sampling units or more",
                f"one in {listed(names[place] for place in lone)}",
                'join strata by hand, or say in the coding [design] single_psu = "certainty" '
                '(they add nothing) or "centre" (their distance from the mean of all)',
                None if strata is None else str(strata.name),
                rows_of(np.isin(stratum, lone)),
            )
        )
    counts = {
        "strata": len(units),
        "sampling_units": len(found),
        "strata_with_one_unit": len(lone),
        "unit_numbers_in_several_strata": len(found) - len(np.unique(own)),
    }
    return Design(unit, stratum_of_unit, units, single or "centre"), counts, faults


def _number(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    places, values = pd.factorize(column)
    return places, [str(one) for one in values]
