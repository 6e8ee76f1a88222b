"""Weighted shares of the options in each group, and the effective sample size behind them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Cells(NamedTuple):
    """One question's answers in each group of an attribute."""

    n: Int[np.ndarray, " group"]
    """Respondents who chose one of the options."""
    sum_w: Float[np.ndarray, " group"]
    """Σ w over them."""
    sum_w2: Float[np.ndarray, " group"]
    """Σ w² over them."""
    mass: Float[np.ndarray, "group option"]
    """Σ w over those who chose the option."""

    @property
    def shares(self) -> Float[np.ndarray, "group option"]:
        """P = Σ w·1[y = c] / Σ w; NaN where nobody with a weight answered."""
        with np.errstate(invalid="ignore"):
            return self.mass / self.sum_w[:, None]

    @property
    def n_eff(self) -> Float[np.ndarray, " group"]:
        """Kish's effective sample size (Σ w)² / Σ w²; NaN where nobody with a weight answered.

        Kish, *Survey Sampling* (1965), 11.7. Weighting alone: what clusters cost and strata
        gain is in the standard errors.
        """
        with np.errstate(invalid="ignore"):
            return self.sum_w**2 / self.sum_w2


def tabulate(
    option: Int[np.ndarray, " row"],
    n_options: int,
    group: Int[np.ndarray, " row"],
    n_groups: int,
    weight: Float[np.ndarray, " row"],
) -> Cells:
    """Sums over the respondents who have an option and a group.

    Parameters
    ----------
    option, group
        −1 where a respondent has none.
    weight
        Not negative; only those with an option and a group need one.

    >>> cells = tabulate(np.array([0, 1, 1]), 2, np.zeros(3, int), 1, np.array([2.0, 1.0, 1.0]))
    >>> cells.shares.tolist(), cells.n_eff.round(3).tolist()
    ([[0.5, 0.5]], [2.667])
    """
    # Who has no option or no group falls into a row or column that is cut off.
    place = (group.astype(np.int32) + 1) * (n_options + 1) + option.astype(np.int32) + 1
    shape = (n_groups + 1, n_options + 1)
    size = shape[0] * shape[1]

    def sums(of: Float[np.ndarray, " row"] | None) -> np.ndarray:
        found: np.ndarray = np.bincount(place, of, minlength=size).reshape(shape)[1:, 1:]
        return found

    mass = sums(weight)
    return Cells(sums(None).sum(axis=1), mass.sum(axis=1), sums(weight * weight).sum(axis=1), mass)
