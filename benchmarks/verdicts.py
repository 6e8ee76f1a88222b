"""A claim, what was measured of it, and the rules by which it holds or does not."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Final, Literal

from benchmarks.outcomes import Estimate

Verdict = Literal["holds", "does not hold", "cannot be told"]
RULES: Final = {
    "above": "holds where our interval lies above 0, does not hold where it lies below",
    "below": "holds where our interval lies below 0, does not hold where it lies above",
    "gone": "holds where our interval is not above 0, does not hold where it lies above",
    "share": "holds where our interval holds the paper's share, does not hold where it leaves "
    "it out",
    "enough": "holds where our interval lies above 90 %, does not hold where it lies below",
    "unreliable": "holds where our interval is not above 0 or one of the pairs is clearly worse, "
    "does not hold where every pair is clearly better",
    "none": "these tables cannot test it",
}
"""By name: when a claim holds. In all other cases it cannot be told."""
ENOUGH: Final = 90.0
"""Per cent of the gain."""


@dataclass(frozen=True)
class Claim:
    """One row of the page."""

    claim: str
    source: str
    """Whose claim."""
    paper: str
    """The source's own figure where it is known."""
    table: str
    measured: str
    """What ours is, with its unit and direction."""
    ours: Estimate | None
    """None: not measured."""
    rule: str
    """A name in ``RULES``."""
    verdict: Verdict
    note: str = ""


def sign(ours: Estimate, claimed: Literal["above", "below"]) -> Verdict:
    """Whether an interval lies where it was claimed to lie.

    >>> sign(Estimate(1.0, 0.5, 1.5), "above"), sign(Estimate(1.0, 0.5, 1.5), "below")
    ('holds', 'does not hold')
    >>> sign(Estimate(1.0, -0.5, 1.5), "above")
    'cannot be told'
    """
    if ours.lo > 0:
        return "holds" if claimed == "above" else "does not hold"
    if ours.hi < 0:
        return "holds" if claimed == "below" else "does not hold"
    return "cannot be told"


def gone(ours: Estimate) -> Verdict:
    """Whether an interval leaves nothing that lies above 0.

    >>> gone(Estimate(0.1, -0.5, 1.5)), gone(Estimate(1.0, 0.5, 1.5))
    ('holds', 'does not hold')
    """
    if isnan(ours.lo):
        return "cannot be told"
    return "does not hold" if ours.lo > 0 else "holds"


def same_share(ours: Estimate, theirs: float) -> Verdict:
    """Whether an interval holds another's share."""
    if isnan(ours.lo) or isnan(ours.hi):
        return "cannot be told"
    return "holds" if ours.lo <= theirs <= ours.hi else "does not hold"


def enough(ours: Estimate) -> Verdict:
    """Whether a share of a gain, in per cent, is enough."""
    return sign(Estimate(ours.mean - ENOUGH, ours.lo - ENOUGH, ours.hi - ENOUGH), "above")


def unreliable(ours: Estimate, better: int, worse: int, pairs: int) -> Verdict:
    """Whether something does not reliably help, by pairs that are clearly better or worse."""
    if isnan(ours.lo):
        return "cannot be told"
    if ours.lo <= 0 or worse:
        return "holds"
    return "does not hold" if better == pairs else "cannot be told"
