"""How many times too large the LLM makes the differences between groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from calib.formulas import log_share_unit
from calib.survey import Group

if TYPE_CHECKING:
    from xarray import DataArray, Dataset, DataTree

LEVEL: Final = 0.9


class Exaggeration(NamedTuple):
    """1/slope for one group, or for the groups of one attribute on average.

    4 means that the LLM's differences are four times people's, on the log-share scale.
    """

    source: str
    """The setting; of several in one fit the slopes are summed, see ``exaggeration``."""
    attribute: str
    group: str | None
    """None for the attribute."""
    slope: float
    slope_lo: float
    slope_hi: float
    """Posterior median of β^within u(ε), the slope on log(p + ε), and its 90 % interval."""
    factor: float
    factor_lo: float
    factor_hi: float
    """1/slope; infinite where the slope may be zero or less, which means that the LLM's
    differences tell nothing or point the wrong way."""

    def __str__(self) -> str:
        of = f"{self.attribute} differences" if self.group is None else f"what sets {self.group} ("
        of += "" if self.group is None else f"{self.attribute}) apart"
        if not np.isfinite(self.factor):
            return f"{self.source} tells nothing of {of} that people confirm"
        if self.factor_lo > 1 and not np.isfinite(self.factor_hi):
            # The median of a factor without an upper end is large, and means nothing.
            return (
                f"{self.source} exaggerates {of}: {self.factor_lo:.1f} times or more, "
                "if they tell anything (90 % interval)"
            )
        ends = f"{self.factor_lo:.1f} to " + (
            f"{self.factor_hi:.1f}" if np.isfinite(self.factor_hi) else "no limit"
        )
        verb = "exaggerates" if self.factor >= 1 else "understates"
        return f"{self.source} {verb} {of}: {self.factor:.1f} times (90 % interval {ends})"


def exaggeration(
    posterior: DataTree, groups: Sequence[Group], *, attributes_only: bool = False
) -> list[Exaggeration]:
    """Each attribute of two or more groups, then each group.

    Empty where the model has one group. An attribute's slope is the mean over its groups.
    Sources of one fit share the work, and a slope of one of them alone says little: theirs
    are summed, which is the slope where all of them say the same.

    Parameters
    ----------
    groups
        Of the model, in the posterior's order.
    """
    draws = posterior["posterior"].dataset
    if "beta_within_group" not in draws:
        return []
    sources = [str(name) for name in draws["source"].to_numpy()]
    who = sources[0] if len(sources) == 1 else f"the mean of {len(sources)} sources"
    slopes = log_share_slopes(draws, "beta_within_group").sum("source", skipna=False)
    slopes = slopes.transpose("group", ...)
    of_groups = slopes.to_numpy().reshape(len(groups), -1)
    found = []
    for attribute in dict.fromkeys(group.attribute for group in groups):
        own = [attribute == group.attribute for group in groups]
        if sum(own) > 1:
            found.append(_factor(who, attribute, None, of_groups[own].mean(axis=0)))
    if not attributes_only:
        found += [
            _factor(who, *group, of_group)
            for group, of_group in zip(groups, of_groups, strict=True)
        ]
    return found


def log_share_slopes(draws: Dataset, name: str) -> DataArray:
    """Slopes on log(p + ε) itself, which the model has in units of ``log_share_unit``."""
    slopes: DataArray = draws[name] * log_share_unit(np, np.exp(draws["log_floor"]))
    return slopes


def _factor(
    source: str, attribute: str, group: str | None, slope: Float[np.ndarray, " draw"]
) -> Exaggeration:
    low, median, high = np.quantile(slope, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    # Upside down: the largest slope is the least exaggeration.
    inverse = [float(1 / end) if end > 0 else float("inf") for end in (median, high, low)]
    return Exaggeration(source, attribute, group, float(median), float(low), float(high), *inverse)
