"""Stochastic variational inference, a portion of the questions at a time: for large surveys.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from calib.laplace import LOCAL
from calib.models import RegressionData, dirichlet_regression
from calib.sampling import Samples, Start, compiled

PORTION: Final = 64
"""Questions of a step."""
N_STEPS: Final = 6000
LEARNING_RATE: Final = 0.03
"""At the start; it falls to a hundredth of itself along a cosine."""
DECAY: Final = (0.9, 0.999)
"""Of the running means of slopes and of their squares (Adam)."""
OF_QUESTIONS: Final = ("question_logit", "kernel", "mean_shares", LOCAL)
"""Sites with values for each question: prediction needs none of them, and of a large survey
they would fill memory and disk."""


class Guide(NamedTuple):
    """A normal distribution, in units of the start's reach."""

    mean: Float[jax.Array, " shared"]
    root: Float[jax.Array, "shared shared"]
    """Lower triangle of a root of the shared parameters' covariance; the logarithm of its
    diagonal stands on the diagonal."""
    local_mean: Float[jax.Array, "question option"]
    local_log_sd: Float[jax.Array, "question option"]


def portion(data: RegressionData, questions: Int[Any, " portion"]) -> RegressionData:
    """The data of some questions, each standing for as many as were left out for it."""
    covariates = data.covariates
    n_questions = covariates.mask.shape[0]
    chosen = covariates._replace(
        probs=covariates.probs[:, questions],
        **{
            name: getattr(covariates, name)[questions]
            for name in covariates._fields
            if name != "probs"
        },
    )
    return data._replace(
        covariates=chosen,
        counts=data.counts[questions],
        about=jax.tree.map(lambda array: array[questions], data.about),
        repeats=data.repeats * n_questions / questions.shape[0],
    )


def svi(data: RegressionData, start: Start, *, n_draws: int, seed: int) -> Samples:
    """Draws from the normal distribution nearest to the posterior, by the evidence lower bound.

    Shared parameters have a full covariance, a question's logits one deviation each. A step
    takes ``PORTION`` questions at random and one draw of the guide, and follows the slope of
    the bound by Adam (Kucukelbir et al. 2017, JMLR 18(14); Kingma and Ba 2015,
    arXiv:1412.6980); questions that are not in the portion rest. So time and memory of a step
    do not grow with the survey.

    One chain of ``n_draws`` of what questions share; call with 64-bit JAX switched on, with
    effects that are not centred (``calib.fitting.regression_data``). The stats hold the
    ``bound`` over the steps.
    """
    some = portion(data, jnp.arange(1))
    begin = jax.jit(lambda data, values: unconstrain_fn(dirichlet_regression, (data,), {}, values))(
        some, start.values | ({LOCAL: start.values[LOCAL][:1]} if LOCAL in start.values else {})
    )
    begin.pop(LOCAL, None)
    width, _ = ravel_pytree(
        {site: jnp.broadcast_to(start.reach[site], at.shape) for site, at in begin.items()}
    )
    centre, unflatten = ravel_pytree(begin)
    n_shared = len(centre)
    n_questions, _, n_options = data.covariates.mask.shape
    has_local = LOCAL in start.values
    size = min(PORTION, n_questions)

    def minus_bound(guide: Guide, key: Any, data: RegressionData) -> Any:
        """Of a portion; ``guide`` is that of the portion too."""
        key_shared, key_local = jax.random.split(key)
        lower = jnp.tril(guide.root, -1) + jnp.diag(jnp.exp(jnp.diag(guide.root)))
        at = guide.mean + lower @ jax.random.normal(key_shared, (n_shared,))
        sites = unflatten(centre + width * at)
        entropy = jnp.diag(guide.root).sum()
        if has_local:
            noise = jax.random.normal(key_local, guide.local_mean.shape)
            sites[LOCAL] = guide.local_mean + jnp.exp(guide.local_log_sd) * noise
            entropy += data.repeats * guide.local_log_sd.sum()
        return potential_energy(dirichlet_regression, (data,), {}, sites) - entropy

    def run(key: Any, data: RegressionData) -> Any:
        local = jnp.zeros((n_questions, n_options if has_local else 0))
        # A start well inside the posterior: wide draws would meet a density that overflows.
        guide = Guide(jnp.zeros(n_shared), -jnp.eye(n_shared), local, local)
        zero = jax.tree.map(jnp.zeros_like, guide)

        def step(state: Any, number: Any) -> Any:
            guide, first, second = state
            key_portion, key_draw = jax.random.split(jax.random.fold_in(key, number))
            chosen = jax.random.choice(key_portion, n_questions, (size,), replace=False)

            def of_portion(values: Guide) -> Guide:
                return values._replace(
                    local_mean=values.local_mean[chosen], local_log_sd=values.local_log_sd[chosen]
                )

            def put(values: Guide, part: Guide) -> Guide:
                return Guide(
                    part.mean,
                    part.root,
                    values.local_mean.at[chosen].set(part.local_mean),
                    values.local_log_sd.at[chosen].set(part.local_log_sd),
                )

            part = of_portion(guide)
            loss, slope = jax.value_and_grad(minus_bound)(part, key_draw, portion(data, chosen))
            # A question's own slope is its own, whatever it stands for.
            share = size / n_questions
            slope = slope._replace(
                local_mean=slope.local_mean * share, local_log_sd=slope.local_log_sd * share
            )
            one = jax.tree.map(
                lambda m, g: DECAY[0] * m + (1 - DECAY[0]) * g, of_portion(first), slope
            )
            two = jax.tree.map(
                lambda v, g: DECAY[1] * v + (1 - DECAY[1]) * jnp.square(g),
                of_portion(second),
                slope,
            )
            progress = number / N_STEPS
            rate = LEARNING_RATE * (0.01 + 0.99 * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
            bias_one, bias_two = (1 - decay ** (number + 1.0) for decay in DECAY)
            moved = jax.tree.map(
                lambda p, m, v: p - rate * (m / bias_one) / (jnp.sqrt(v / bias_two) + 1e-8),
                part,
                one,
                two,
            )
            state = (put(guide, moved), put(first, one), put(second, two))
            return state, -loss

        (guide, *_), bound = jax.lax.scan(
            step, (guide, zero, zero), jnp.arange(N_STEPS, dtype=float)
        )
        return guide, bound

    def read(positions: Any, data: RegressionData) -> Any:
        def one(at: Any) -> Any:
            sites = unflatten(centre + width * at)
            if has_local:
                sites[LOCAL] = jnp.zeros((1, n_options))
            return constrain_fn(dirichlet_regression, (data,), {}, sites, return_deterministic=True)

        return jax.lax.map(one, positions)

    key = jax.random.key(seed)
    guide, bound = jax.device_get(compiled("svi", run, key, data)(key, data))
    lower = np.tril(guide.root, -1) + np.diag(np.exp(np.diag(guide.root)))
    noise = np.random.default_rng(seed).standard_normal((n_draws, n_shared))
    drawn = jnp.asarray(guide.mean + noise @ lower.T)
    found = jax.device_get(compiled("svi draws", read, drawn, some)(drawn, some))
    return Samples(
        {name: values[None] for name, values in found.items() if name not in OF_QUESTIONS},
        {"bound": bound[None]},
    )
