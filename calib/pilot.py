"""The part of a large survey on which the search for its posterior begins.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import Any, Final

import jax
import numpy as np
from jaxtyping import Int

from calib.models import RegressionData

QUESTIONS: Final = 256
"""Questions of the pilot."""
GROUPS: Final = 24
"""Groups of the pilot: its time grows with their square."""


def portion(data: RegressionData, questions: Int[Any, " portion"]) -> RegressionData:
    """The data of some questions, each standing for as many as were left out for it."""
    covariates = data.covariates
    chosen = {
        name: values[questions] for name, values in covariates._asdict().items() if name != "probs"
    }
    return data._replace(
        covariates=covariates._replace(probs=covariates.probs[:, questions], **chosen),
        counts=data.counts[questions],
        about=jax.tree.map(lambda array: array[questions], data.about),
        repeats=data.repeats * covariates.mask.shape[0] / questions.shape[0],
    )


def pilot_of(data: RegressionData, seed: int) -> RegressionData:
    """At most ``QUESTIONS`` questions and ``GROUPS`` groups, chosen at random; NumPy arrays."""
    rng = np.random.default_rng(seed)
    chosen = portion(data, rng.permutation(data.covariates.mask.shape[0])[:QUESTIONS])
    n_groups = len(data.group_number)
    if n_groups <= GROUPS:
        return chosen
    return some_groups(chosen, np.sort(rng.permutation(n_groups)[:GROUPS]))


def some_groups(data: RegressionData, groups: Int[np.ndarray, " chosen"]) -> RegressionData:
    """The data of some groups, numbered anew; a question's slots are theirs alone.

    What a question's groups share is then the mean over fewer of them: a rougher one, good
    enough for a start.
    """
    covariates = data.covariates
    asked = covariates.mask.any(axis=2) & np.isin(covariates.group, groups)
    width = max(int(asked.sum(axis=1).max()), 2)
    slots = np.argsort(~asked, axis=1, kind="stable")[:, :width]
    kept = np.take_along_axis(asked, slots, axis=1)
    group = np.take_along_axis(covariates.group, slots, axis=1)
    belongs = np.take_along_axis(covariates.peers, slots[:, None, :], axis=2) > 0
    belongs &= kept[:, None, :]
    count = belongs.sum(axis=2, keepdims=True)

    def of(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.take_along_axis(values, slots[..., None], axis=-2)
        return np.where(kept[..., None], found, np.zeros((), values.dtype))

    expected = data.prior.groups[:, groups]
    return data._replace(
        prior=data.prior._replace(groups=expected - expected.mean(axis=1, keepdims=True)),
        covariates=covariates._replace(
            probs=np.stack([of(source) for source in covariates.probs]),
            mask=of(covariates.mask),
            group=np.where(kept, np.searchsorted(groups, group), 0),
            peers=np.where(count > 1, belongs / np.sqrt(np.maximum(count, 1)), 0.0),
        ),
        counts=of(data.counts),
        group_number=np.arange(len(groups)),
    )
