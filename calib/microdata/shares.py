"""Weighted shares of the options in each group, and the effective sample size behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


class Joint(NamedTuple):
    """Several attributes as one, so that one pass over the respondents serves them all."""

    sizes: tuple[int, ...]
    """Groups of each attribute, and one more for those who belong to none."""
    place: Int[np.ndarray, " row"]
    """Place of each respondent in the product of the attributes."""


def join(
    groups: Sequence[Int[np.ndarray, " row"]], sizes: Sequence[int], most: int = 4096
) -> list[Joint]:
    """Attributes in their order, joined as long as there are no more than ``most`` products.

    Parameters
    ----------
    groups
        Of each attribute each respondent's group, −1 for none.
    sizes
        How many groups each attribute has.
    """
    joints: list[Joint] = []
    for group, size in zip(groups, sizes, strict=True):
        place = group.astype(np.intp) + 1
        if joints and math.prod(joints[-1].sizes) * (size + 1) <= most:
            before = joints.pop()
            place += before.place * (size + 1)
            joints.append(Joint((*before.sizes, size + 1), place))
        else:
            joints.append(Joint((size + 1,), place))
    return joints


def tabulate(
    option: Int[np.ndarray, " row"],
    n_options: int,
    joints: Sequence[Joint],
    weight: Float[np.ndarray, " row"],
) -> list[Cells]:
    """Sums over the respondents who have an option and a group, an attribute at a time.

    Parameters
    ----------
    option
        −1 where a respondent has none.
    joints
        From ``join``.
    weight
        Not negative; only those with an option need one.

    >>> joints = join([np.zeros(3, int)], [1])
    >>> [cells] = tabulate(np.array([0, 1, 1]), 2, joints, np.array([2.0, 1.0, 1.0]))
    >>> cells.shares.tolist(), cells.n_eff.round(3).tolist()
    ([[0.5, 0.5]], [2.667])
    """
    found = []
    answered = np.flatnonzero(option >= 0)
    option, weight = option[answered].astype(np.intp), weight[answered]
    for joint in joints:
        place = joint.place[answered]
        groups = math.prod(joint.sizes)
        both = place * n_options + option
        n = np.bincount(place, minlength=groups)
        squares = np.bincount(place, weight * weight, minlength=groups)
        mass = np.bincount(both, weight, minlength=groups * n_options)
        for axis in range(len(joint.sizes)):
            others = tuple(one for one in range(len(joint.sizes)) if one != axis)

            def margin(of: np.ndarray, *more: int) -> np.ndarray:
                # The first group is that of nobody's.
                sums: np.ndarray = of.reshape(*joint.sizes, *more).sum(axis=others)  # noqa: B023
                return sums[1:]

            of_option = margin(mass, n_options)
            found.append(Cells(margin(n), of_option.sum(axis=1), margin(squares), of_option))
    return found
