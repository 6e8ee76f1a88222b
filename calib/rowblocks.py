"""Scores of many rows, a block at a time: what is made on the way stays in the cache.

Within a block the options come first, [option, row]: a step over all its rows is one loop
over neighbouring numbers, where a sum over the few options of each row is many short ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

CELLS: Final = 2**15
"""Of a block: 256 KiB a number each."""


def by_block(
    score: Callable[..., Float[np.ndarray, " part"]], *arrays: Shaped[np.ndarray, "row option"]
) -> Float[np.ndarray, " row"]:
    """``score`` of each block of rows; it is given the arrays as [option, row]."""
    n_rows, n_options = arrays[0].shape
    n_part = max(1, CELLS // max(1, n_options))
    found = np.empty(n_rows)
    for start in range(0, n_rows, n_part):
        part = slice(start, start + n_part)
        found[part] = score(*(array[part].T for array in arrays))
    return found


def difference(
    human: Float[np.ndarray, "option row"], predicted: Float[np.ndarray, "option row"]
) -> Float[np.ndarray, "option row"]:
    """Human minus predicted, laid out with the options first whatever these are."""
    return np.subtract(human, predicted, out=np.empty(human.shape))


class AlongScale(NamedTuple):
    """Options of each row in the order of their places."""

    difference: Float[np.ndarray, "step row"]
    """Between the cumulative functions, at each option but the last."""
    gap: Float[np.ndarray, "step row"]
    """Distance to the next option; 0 at padding, and on rows without places."""
    placed: Bool[np.ndarray, " row"]
    """Rows with places."""


def along_scale(
    differ: Float[np.ndarray, "option row"],
    places: Float[np.ndarray, "option row"],
    mask: Bool[np.ndarray, "option row"],
) -> AlongScale:
    """Cumulative differences and gaps; options may stand in any order and be missing."""
    place, offered = np.ascontiguousarray(places), np.ascontiguousarray(mask)
    exists = ~np.isnan(place)
    if (exists > offered).any():
        place = np.where(offered, place, np.nan)
        exists &= offered
    gap = np.diff(place, axis=0)
    crooked = ((gap < 0) | (exists[1:] > exists[:-1])).any(axis=0)
    if crooked.any():
        # What has no place goes to the end.
        order = np.argsort(place[:, crooked], axis=0, kind="stable")
        differ, place = differ.copy(), place.copy()
        differ[:, crooked] = np.take_along_axis(differ[:, crooked], order, axis=0)
        place[:, crooked] = np.take_along_axis(place[:, crooked], order, axis=0)
        gap = np.diff(place, axis=0)
    return AlongScale(cumulative(differ)[:-1], np.fmax(gap, 0.0), exists.any(axis=0))


def cumulative(values: Float[np.ndarray, "option row"]) -> Float[np.ndarray, "option row"]:
    """Sums over the options so far; ``np.cumsum`` takes twenty times as long along columns."""
    sums = np.array(values)
    for option in range(1, len(sums)):
        sums[option] += sums[option - 1]
    return sums
