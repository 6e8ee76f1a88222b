"""Standard errors of shares in a stratified, clustered sample, by linearisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from calib.microdata.shares import Cells


class Design(NamedTuple):
    """How respondents were sampled: units of the first stage within strata."""

    unit: Int[np.ndarray, " row"]
    """Sampling unit of each respondent, numbered from 0 over all strata."""
    stratum_of_unit: Int[np.ndarray, " unit"]
    units_of_stratum: Int[np.ndarray, " stratum"]
    """How many units each stratum has, whoever answered."""
    single: str = "centre"
    """What a stratum of one unit adds: ``certainty`` nothing, ``centre`` its distance from
    the mean of all units."""


def standard_errors(
    option: Int[np.ndarray, " row"],
    group: Int[np.ndarray, " row"],
    weight: Float[np.ndarray, " row"],
    cells: Cells,
    design: Design,
) -> Float[np.ndarray, "group option"]:
    """Standard errors of ``cells.shares``, units taken as drawn with replacement.

    A share is a ratio of two totals; with z_hk = Σ w·1[group]·(1[y = c] − p) / Σ w, summed
    over unit k of stratum h, the variance is Σ_h m_h/(m_h − 1)·Σ_k (z_hk − z̄_h)², m_h being
    all units of the stratum: a group is a domain of the whole sample, not a sample of its
    own (Särndal, Swensson and Wretman, *Model Assisted Survey Sampling*, 5.7 and 5.8; R's
    ``survey::svymean`` without finite population correction).
    """
    n_groups, n_options = cells.mass.shape
    there = (option >= 0) & (group >= 0)
    unit, chosen, w = design.unit[there], option[there], weight[there]
    at, found = pd.factorize(unit.astype(np.int64) * n_groups + group[there])
    unit_of, group_of = np.divmod(found, n_groups)
    totals = np.bincount(at * n_options + chosen, w, minlength=len(found) * n_options)
    totals = totals.reshape(len(found), n_options)
    with np.errstate(invalid="ignore"):
        z = totals - cells.shares[group_of] * totals.sum(axis=1, keepdims=True)
        z /= cells.sum_w[group_of, None]
    m = design.units_of_stratum[:, None].astype(float)
    stratum = design.stratum_of_unit[unit_of] * n_groups + group_of
    variance = np.empty((n_groups, n_options))
    for column in range(n_options):
        first, second = (
            np.bincount(stratum, values, minlength=len(m) * n_groups).reshape(-1, n_groups)
            for values in (z[:, column], z[:, column] ** 2)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            inner = m / (m - 1) * (second - first**2 / m)
        # The mean over all units is 0, since a share's deviations sum to 0.
        alone = second if design.single == "centre" else np.zeros_like(second)
        variance[:, column] = np.where(m > 1, inner, alone).sum(axis=0)
    variance[cells.sum_w == 0] = np.nan
    return np.sqrt(np.maximum(variance, 0.0))
