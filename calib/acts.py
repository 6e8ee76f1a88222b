"""Bayes acts: the point prediction that a posterior recommends for one score.

A posterior mean is the best answer under squared error and Kullback-Leibler divergence;
under total variation and Wasserstein distance it is too flat.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from calib.base import Prediction
from calib.opinions import close

Act = Literal["mean", "median", "median_cumulative"]
ACTS: Final[tuple[Act, ...]] = get_args(Act)

ACT_OF_SCORE: Final[dict[str, Act]] = {
    "w1": "median_cumulative",
    "tv": "median",
    "kl_1e3": "mean",
    "jsd": "mean",
    "rps": "mean",
}
"""The act that is best for each score, by the score's name."""


def mean_act(draws: Float[np.ndarray, "draw row option"]) -> Float[np.ndarray, "row option"]:
    """Mean over draws; best under squared error, RPS and KL(human ‖ predicted)."""
    return draws.mean(axis=0)


def median_act(
    draws: Float[np.ndarray, "draw row option"], mask: Bool[np.ndarray, "row option"]
) -> Float[np.ndarray, "row option"]:
    """Per-option medians, divided by their sum; made for total variation.

    The medians minimise the sum of absolute errors; dividing by their sum brings them
    back to the simplex.
    """
    return close(np.median(draws, axis=0), mask)


def median_cumulative_act(
    draws: Float[np.ndarray, "draw row option"],
    places: Float[np.ndarray, "row option"],
    mask: Bool[np.ndarray, "row option"],
) -> Float[np.ndarray, "row option"]:
    """Pointwise median of the cumulative function along the scale; best under W1.

    W1 on a line is the absolute difference of cumulative functions summed over gaps, so
    its Bayes act is the median of each, and medians of ordered quantities stay ordered.
    Rows without places (nominal scales) get ``median_act``: there W1 is total variation.
    """
    ordered = ~np.isnan(places).all(axis=1)
    order = np.argsort(np.where(mask, places, np.inf), axis=1, kind="stable")
    along = np.take_along_axis(draws, order[None], axis=2)
    cumulative = np.median(np.cumsum(along, axis=2), axis=0)
    shares = np.diff(cumulative, axis=1, prepend=0.0)
    back = np.empty_like(shares)
    np.put_along_axis(back, order, shares, axis=1)
    # Cumulative sums differ from one in the last bits; closing takes that out.
    return np.where(ordered[:, None], close(np.maximum(back, 0.0), mask), median_act(draws, mask))


def act(prediction: Prediction, kind: Act) -> Float[np.ndarray, "row option"]:
    """The named act; a prediction without draws has one answer for every score."""
    index = prediction.opinions.index
    if prediction.draws is None or kind == "mean":
        return prediction.opinions.probs
    if kind == "median":
        return median_act(prediction.draws, index.mask)
    return median_cumulative_act(prediction.draws, index.places, index.mask)
