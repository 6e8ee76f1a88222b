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
    question_start,
    reach,
    slope_covariance,
    start_values,
)

if TYPE_CHECKING:
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
    """Draws from the posterior of the regression, or from what stands for it."""
    import jax

    from calib.models import dirichlet_regression
    from calib.sampling import Plan, sample

    with jax.enable_x64(True):
        data, start = regression_data(
            training, respondents, centred=inference == "nuts", prior=prior
        )
        if inference == "nuts":
            return sample(dirichlet_regression, data, start, plan=plan or Plan(), seed=seed)
        if inference == "laplace":
            from calib.laplace import laplace

            return laplace(data, start, n_draws=N_DRAWS, seed=seed)
        from calib.svi import svi

        return svi(data, start, n_draws=N_DRAWS, seed=seed)


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
    import jax
    import jax.numpy as jnp

    from calib.densities import MEAN_SCALE
    from calib.models import RegressionData
    from calib.sampling import Start

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
    about = question_start(counts, covariates.mask, MEAN_SCALE)
    n_options = index.mask.shape[1]
    beliefs = general_prior(len(covariates.probs), n_groups, block.n_shapes, n_options)
    if prior is not None:
        beliefs = prior(beliefs)
    told = information(covariates, counts, about, beliefs, n_groups)
    known = known_effects(told) if centred else NOTHING_KNOWN
    data = RegressionData(
        covariates=covariates,
        counts=counts,
        group_number=np.arange(n_groups),
        label_number=np.arange(n_labels),
        prior=beliefs,
        about=about,
        known=known,
        repeats=np.array(1.0),
    )
    values = start_values(covariates, beliefs, n_groups, n_labels)
    widths = reach(told, known, beliefs, n_questions, len(index), n_groups)
    together = slope_covariance(covariates, counts, about, beliefs)
    return (
        jax.tree.map(jnp.asarray, data),
        Start(
            {site: jnp.asarray(value) for site, value in values.items()},
            {site: jnp.asarray(widths[site]) for site in values},
            {site: jnp.asarray(matrix) for site, matrix in together.items() if site in values},
        ),
    )
