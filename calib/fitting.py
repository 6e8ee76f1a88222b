"""One fit of the Dirichlet regression: its arrays, its start, and how the posterior is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from jaxtyping import Float

from calib.blocks import Block, recurrent_labels
from calib.paired import Paired
from calib.prior import Prior, general_prior
from calib.starting import (
    NOTHING_KNOWN,
    information,
    known_effects,
    label_information,
    question_start,
    reach,
    slope_covariance,
    start_values,
)

if TYPE_CHECKING:
    import jax

    from calib.models import RegressionData
    from calib.sampling import Plan, Samples, Start

QUESTION_PADDING: Final = 8
SHAPE_PADDING: Final = 4
LABEL_PADDING: Final = 16
"""Questions, scale shapes and recurrent labels are padded to multiples of these, so that the
folds of a table share one compiled program."""
N_DRAWS: Final = 1000
"""Draws of an approximation of the posterior."""

Inference = Literal["nuts", "laplace", "svi"]
"""How a posterior is found: sampled, by its mode and curvature, or by the nearest normal."""


def posterior_samples(
    training: Paired,
    respondents: Float[np.ndarray, " row"],
    *,
    inference: Inference,
    plan: Plan | None,
    seed: int,
    prior: Callable[[Prior], Prior] | None,
) -> Samples:
    """Draws from the posterior of the regression, or from what stands for it.

    Where ``plan`` leaves it to us and a transition diverges, the posterior is sampled anew with
    smaller steps: a chain that is thrown back from a narrow place never tells of it. And
    where the chains are too short for the limits of ``calib.diagnostics``, as many further
    chains are sampled beside them.
    """
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        arrays = regression_arrays(training, respondents, prior=prior)
        if inference == "svi":
            from calib.pilot import pilot_of
            from calib.svi import svi

            pilot = pilot_of(arrays, seed)
            pilot, start = start_of(pilot, centred=False)
            whole = jax.tree.map(jnp.asarray, arrays)
            return svi(whole, pilot, start, n_draws=N_DRAWS, seed=seed)
        data, start = start_of(arrays, centred=inference == "nuts")
        if inference == "nuts":
            return _sampled(training, data, start, plan, jax.random.key(seed))
        from calib.laplace import laplace

        return laplace(data, start, n_draws=N_DRAWS, seed=seed)


def _sampled(
    training: Paired, data: RegressionData, start: Start, plan: Plan | None, key: jax.Array
) -> Samples:
    """Chains of the given plan; without one, what the posterior turns out to need."""
    import jax

    from calib.diagnostics import too_few_draws
    from calib.models import dirichlet_regression
    from calib.sampling import ATTEMPTS, sample
    from calib.tree import parameters_of

    def chains(plan: Plan, key: jax.Array) -> Samples:
        return sample(dirichlet_regression, data, start, plan=plan, key=key)

    if plan is not None:
        return chains(plan, key)
    given_up = 0
    for attempt in ATTEMPTS:
        samples = chains(attempt, key)._replace(given_up=given_up)
        if not samples.n_diverging:
            break
        given_up += samples.n_diverging
    block = Block(training.index, recurrent_labels(training.index.questions))
    if too_few_draws(parameters_of(samples, block)):
        samples = samples.beside(chains(attempt, jax.random.fold_in(key, 1)))
    return samples


def regression_data(
    training: Paired,
    respondents: Float[np.ndarray, " row"],
    *,
    centred: bool = True,
    prior: Callable[[Prior], Prior] | None = None,
) -> tuple[RegressionData, Start]:
    """Arrays of a fit, and where to start it; call with 64-bit JAX switched on.

    ``centred`` effects of groups are in units that suit a sampler; others have a mode.
    ``prior`` turns the general prior into another.
    """
    return start_of(regression_arrays(training, respondents, prior=prior), centred=centred)


def regression_arrays(
    training: Paired,
    respondents: Float[np.ndarray, " row"],
    *,
    prior: Callable[[Prior], Prior] | None = None,
) -> RegressionData:
    """NumPy arrays of a fit, with effects in units of their spread."""
    from calib.densities import MEAN_SCALE
    from calib.models import RegressionData

    index = training.index
    n_questions, n_groups = len(index.questions), len(index.groups)
    n_shapes = len({question.shape for question in index.questions})
    labels = recurrent_labels(index.questions)
    n_labels = 1 if len(labels) == 1 else len(labels) + -len(labels) % LABEL_PADDING
    block = Block(
        index,
        labels,
        n_questions + -n_questions % QUESTION_PADDING,
        n_shapes + -n_shapes % SHAPE_PADDING,
    )
    covariates = block.covariates(training.elicited.filled)
    counts = block.of_rows(training.human.probs * respondents[:, None])
    beliefs = general_prior(len(covariates.probs), n_groups, block.n_shapes, index.mask.shape[1])
    return RegressionData(
        covariates=covariates,
        counts=counts,
        group_number=np.arange(n_groups),
        label_number=np.arange(n_labels),
        prior=beliefs if prior is None else prior(beliefs),
        about=question_start(counts, covariates.mask, MEAN_SCALE),
        known=NOTHING_KNOWN,
        repeats=np.array(1.0),
    )


def start_of(arrays: RegressionData, *, centred: bool) -> tuple[RegressionData, Start]:
    """The arrays on JAX's device, and where to start a fit of them."""
    import jax
    import jax.numpy as jnp

    from calib.sampling import Start

    covariates, counts, about = arrays.covariates, arrays.counts, arrays.about
    beliefs, n_groups = arrays.prior, len(arrays.group_number)
    asked = np.asarray(np.asarray(covariates.mask).any(axis=2))
    n_questions, n_rows = int(asked.any(axis=1).sum()), int(asked.sum())
    told = information(covariates, counts, about, beliefs, n_groups)
    n_labels = len(arrays.label_number)
    of_labels = label_information(covariates, about, n_labels)
    known = known_effects(told, of_labels) if centred else NOTHING_KNOWN
    values = start_values(covariates, beliefs, n_groups, n_labels)
    widths = reach(told, of_labels, known, beliefs, n_questions, n_rows, n_groups)
    together = slope_covariance(covariates, counts, about, beliefs)
    return (
        jax.tree.map(jnp.asarray, arrays._replace(known=known)),
        Start(
            {site: jnp.asarray(value) for site, value in values.items()},
            {site: jnp.asarray(widths[site]) for site in values},
            {site: jnp.asarray(matrix) for site, matrix in together.items() if site in values},
        ),
    )
