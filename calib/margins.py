"""Shares of groups that keep their log odds ratios and add up to a given topline."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

TOLERANCE: Final = 1e-10
"""How far the groups' weighted mean may be from the topline, in any option."""
MOST_ITERATIONS: Final = 5000
"""Odds that differ between groups by a factor of 50 take some 500 at most."""


class Fitted(NamedTuple):
    """Shares whose weighted mean is the topline, and the draws in which there are such."""

    shares: Float[np.ndarray, "draw slot option"]
    reached: Bool[np.ndarray, " draw"]
    """False where structural zeros keep the topline out of reach, or next to it: the shares
    are then as near as the iteration came."""


def shares_with_margins(
    deviation: Float[np.ndarray, "draw slot option"],
    mask: Bool[np.ndarray, "slot option"],
    weight: Float[np.ndarray, " slot"],
    topline: Float[np.ndarray, "draw option"],
) -> Fitted:
    """Shares softmax(λ + deviation_g) with the λ at which Σ_g w_g shares_g is the topline.

        λ ← λ + log topline − log Σ_g w_g softmax(λ + deviation_g)

    until both agree to ``TOLERANCE`` in every option. This is iterative proportional fitting
    of exp(deviation) to the margins w and topline (Deming and Stephan 1940,
    doi:10.1214/aoms/1177731829): odds ratios between groups stay as they were, and without
    structural zeros there is one solution.

    Parameters
    ----------
    deviation
        What a group adds to the logits of its question.
    mask
        Options that the group was offered; elsewhere its share is zero. Empty slots have none.
    weight
        Positive and of sum one over the groups, zero in empty slots.
    topline
        Of sum one, zero where no group was offered the option; where it is zero so are all
        shares.
    """
    groups = weight > 0
    kernel = np.where(mask, deviation, -np.inf)[:, groups]
    # What an option has in all groups is λ's to find; taken out, no option underflows in all.
    highest = kernel.max(axis=1, keepdims=True)
    kernel = np.exp(kernel - np.where(np.isfinite(highest), highest, 0.0))
    margin = weight[groups]
    fitted, reached = np.zeros(kernel.shape), np.zeros(len(kernel), dtype=bool)
    # exp(λ) of the draws that are not done yet.
    left, factor = np.arange(len(kernel)), topline
    for _ in range(MOST_ITERATIONS):
        scaled = kernel[left] * factor[:, None, :]
        shares = _divided(scaled, scaled.sum(axis=2, keepdims=True))
        mean = (margin[:, None] * shares).sum(axis=1)
        done = np.abs(mean - topline[left]).max(axis=1) <= TOLERANCE
        fitted[left] = shares
        reached[left[done]] = True
        left, factor, mean = left[~done], factor[~done], mean[~done]
        if not len(left):
            break
        factor = factor * _divided(topline[left], mean)
        # Out of reach λ has no limit; its largest value may be any.
        factor = _divided(factor, factor.max(axis=1, keepdims=True))
    everywhere = np.zeros(deviation.shape)
    everywhere[:, groups] = fitted
    return Fitted(everywhere, reached)


def _divided(
    values: Float[np.ndarray, "*batch option"], by: Float[np.ndarray, "*batch _"]
) -> Float[np.ndarray, "*batch option"]:
    """Quotients; zero where the divisor is, which has nothing to divide."""
    quotient: np.ndarray = np.divide(values, by, out=np.zeros(values.shape), where=by > 0)
    return quotient
