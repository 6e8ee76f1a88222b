"""Raking: unit weights, or cells of a table, brought to known margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from calib.errors import DataError, Fault, FitError, name_some

TOLERANCE: Final = 1e-9
"""How far a margin may be from its target, as a share of the whole."""
MOST_ITERATIONS: Final = 2000


class Raked(NamedTuple):
    """Weights that add up to the margins."""

    weights: Float[np.ndarray, " unit"]
    iterations: int
    """Passes over all margins."""
    error: float
    """Largest difference of a margin from its target, as a share of the whole."""


def rake(
    seed: pd.DataFrame,
    margins: Mapping[str, Mapping[str, float]],
    *,
    weight: str = "size",
    tolerance: float = TOLERANCE,
) -> Raked:
    """Weights w nearest to w₀ whose sums over each attribute's groups are given.

        minimise Σ_i w_i log(w_i / w₀_i) − w_i    subject to    Σ_{i in g} w_i = N_g

    by iterative proportional fitting (Deming and Stephan 1940, doi:10.1214/aoms/1177731829):
    in turn for each attribute, weights are multiplied by target over sum. Odds ratios
    between attributes stay those of the seed. ``calib.margins`` solves the same for shares
    of options in all draws of a question at once.

    Parameters
    ----------
    seed
        Units with their weights (respondents of a survey), or cells of a crossed table with
        their sizes: one row each, a column for each attribute of ``margins``.
    margins
        Size of each group by attribute. Totals agree over attributes.
    weight
        Column of w₀: from 0 up; a weight of zero stays zero. Taken as 1 where the column is
        not there.

    Raises
    ------
    DataError
        Where an attribute is no column, groups of seed and margins differ, a weight or size
        is none, or the totals of two attributes differ.
    FitError
        Where the margins are not reached within ``MOST_ITERATIONS``: zeros of the seed keep
        them out of reach.
    """
    start = seed[weight].to_numpy(dtype=float) if weight in seed else np.ones(len(seed))
    faults = [*_weight_faults(start, weight), *_margin_faults(seed, margins)]
    if faults:
        raise DataError(faults)
    codes, targets = [], []
    for attribute, sizes in margins.items():
        names = sorted(sizes)
        codes.append(pd.Index(names).get_indexer(pd.Index(seed[attribute].astype(str))))
        targets.append(np.array([sizes[name] for name in names], dtype=float))
    return _rake(start, codes, targets, tolerance)


def _rake(
    start: Float[np.ndarray, " unit"],
    codes: list[Int[np.ndarray, " unit"]],
    targets: list[Float[np.ndarray, " _"]],
    tolerance: float,
) -> Raked:
    whole = targets[0].sum()
    weights = start * (whole / start.sum())
    error = np.inf
    for iteration in range(1, MOST_ITERATIONS + 1):
        for code, target in zip(codes, targets, strict=True):
            total = np.bincount(code, weights, len(target))
            # A group of weight zero has nothing to multiply and stays out of reach.
            factor = np.divide(target, total, out=np.ones(len(target)), where=total > 0)
            weights = weights * factor[code]
        error = max(
            float(np.abs(np.bincount(code, weights, len(target)) - target).max() / whole)
            for code, target in zip(codes, targets, strict=True)
        )
        if error <= tolerance:
            return Raked(weights, iteration, error)
    raise FitError(
        f"raking brings every margin within {tolerance:g} of its target; after "
        f"{MOST_ITERATIONS} passes one is {error:.2g} of the whole away; join small groups, or "
        "give empty cells of the seed some weight"
    )


def _weight_faults(start: Float[np.ndarray, " unit"], name: str) -> list[Fault]:
    bad = ~(start >= 0) | np.isinf(start)
    if bad.any():
        remedy = "leave out or repair units without a weight"
        rows = tuple(np.flatnonzero(bad).tolist())
        return [Fault("a weight is a number from 0 up", f"{start[bad][0]:g}", remedy, name, rows)]
    if not start.sum() > 0:
        return [Fault("some unit has a weight", f"{len(start)} units of 0", "weigh them", name)]
    return []


def _margin_faults(seed: pd.DataFrame, margins: Mapping[str, Mapping[str, float]]) -> list[Fault]:
    if not margins:
        return [Fault("raking has a margin to reach", "none", "give one by attribute")]
    faults = []
    for attribute, sizes in margins.items():
        if attribute not in seed:
            faults.append(
                Fault("an attribute is a column of the seed", attribute, "add it", attribute)
            )
            continue
        there = set(seed[attribute].astype(str))
        differ = sorted(there ^ set(sizes))
        if differ:
            faults.append(
                Fault(
                    "seed and margin have the same groups",
                    f"{name_some(differ)} in one of them",
                    "recode the seed, or join groups of the margin",
                    attribute,
                )
            )
        wrong = [name for name, size in sizes.items() if not 0 < size < np.inf]
        if wrong:
            value = f"{sizes[wrong[0]]:g} of {wrong[0]}"
            faults.append(
                Fault("a margin is a positive number", value, "leave the group out", attribute)
            )
    totals = {attribute: sum(sizes.values()) for attribute, sizes in margins.items()}
    if max(totals.values()) - min(totals.values()) > 1e-6 * max(totals.values()):
        value = ", ".join(f"{total:g} by {attribute}" for attribute, total in totals.items())
        faults.append(
            Fault(
                "margins of all attributes have one total",
                value,
                "give shares, or the sizes of one population",
            )
        )
    return faults
