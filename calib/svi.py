"""Stochastic variational inference, a portion of the questions at a time: for large surveys.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from numpyro.infer.util import potential_energy

from calib.laplace import LOCAL, Given, draws_at, held, posterior_mode
from calib.models import RegressionData
from calib.programs import compiled
from calib.sampling import Samples, Start

PILOT: Final = 256
"""Questions of the fit that finds a start, directions and spreads."""
PORTION: Final = 128
"""Questions of a step."""
N_STEPS: Final = 4000
LEARNING_RATE: Final = 0.05
"""In standard deviations of the pilot, at the start; it falls to nothing along a cosine."""
DECAY: Final = (0.9, 0.999)
"""Of the running means of slopes and of their squares (Adam)."""
OF_QUESTIONS: Final = ("question_logit", "kernel", "mean_shares", LOCAL)
"""Sites with values for each question: prediction needs none of them, and of a large survey
they would fill memory and disk."""


class Guide(NamedTuple):
    """Independent normal distributions: shared parameters along the pilot's directions."""

    mean: Float[jax.Array, " shared"]
    log_sd: Float[jax.Array, " shared"]
    local_mean: Float[jax.Array, "question option"]
    local_log_sd: Float[jax.Array, "question option"]


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


def svi(data: RegressionData, start: Start, *, n_draws: int, seed: int) -> Samples:
    """Draws from the normal distribution nearest to the posterior, by the evidence lower bound.

    A Laplace approximation on ``PILOT`` questions gives the start, the directions in which
    the shared parameters are nearly independent, and the spreads of effects, which are held.
    Then a step takes ``PORTION`` questions at random and one draw of the guide, and follows
    the slope of the bound by Adam (Kucukelbir et al. 2017, JMLR 18(14); Kingma and Ba 2015,
    arXiv:1412.6980); questions that are not in the portion rest. So the time and memory of a
    step do not grow with the survey.

    One chain of ``n_draws`` of what questions share; call with 64-bit JAX switched on, with
    effects that are not centred (``calib.fitting.regression_data``). The stats hold the
    ``bound`` over the steps. ``FitError`` where the pilot finds no mode.
    """
    n_questions, _, n_options = data.covariates.mask.shape
    pilot = portion(data, np.random.default_rng(seed).permutation(n_questions)[:PILOT])
    values = dict(start.values)
    if LOCAL in values:
        values[LOCAL] = values[LOCAL][: pilot.covariates.mask.shape[0]]
    coordinates, position, curvature, spreads = posterior_mode(pilot, start._replace(values=values))
    n_shared = coordinates.n_shared
    origin, directions = jnp.asarray(position[:n_shared]), jnp.asarray(curvature.shared_root())
    has_local = LOCAL in values
    size = min(PORTION, n_questions)

    def shared(at: Any, frame: Any) -> Any:
        return frame[0] + frame[1] @ at

    def minus_bound(guide: Guide, key: Any, given: Given, frame: Any) -> Any:
        """Of a portion; ``guide`` is that of the portion too."""
        key_shared, key_local = jax.random.split(key)
        at = guide.mean + jnp.exp(guide.log_sd) * jax.random.normal(key_shared, (n_shared,))
        noise = jax.random.normal(key_local, guide.local_mean.shape)
        local = guide.local_mean + jnp.exp(guide.local_log_sd) * noise
        entropy = guide.log_sd.sum() + given.data.repeats * guide.local_log_sd.sum()
        sites = coordinates.sites(given, shared(at, frame), local)
        return potential_energy(held, (given,), {}, sites) - entropy

    def run(key: Any, given: Given, frame: Any) -> Any:
        local = jnp.zeros((n_questions, n_options if has_local else 0))
        guide = Guide(jnp.zeros(n_shared), jnp.zeros(n_shared), local, local)
        zero = jax.tree.map(jnp.zeros_like, guide)

        def step(state: Any, number: Any) -> Any:
            key_portion, key_draw = jax.random.split(jax.random.fold_in(key, number))
            chosen = jax.random.choice(key_portion, n_questions, (size,), replace=False)

            def part_of(values: Guide) -> Guide:
                return Guide(*values[:2], *(one[chosen] for one in values[2:]))

            def put(values: Guide, part: Guide) -> Guide:
                local = (
                    old.at[chosen].set(new) for old, new in zip(values[2:], part[2:], strict=True)
                )
                return Guide(*part[:2], *local)

            guide, first, second = (part_of(values) for values in state)
            loss, slope = jax.value_and_grad(minus_bound)(
                guide, key_draw, given._replace(data=portion(given.data, chosen)), frame
            )
            # A question moves for itself, not for those that it stands for.
            share = size / n_questions
            slope = Guide(*slope[:2], *(one * share for one in slope[2:]))
            first = jax.tree.map(lambda m, g: DECAY[0] * m + (1 - DECAY[0]) * g, first, slope)
            second = jax.tree.map(
                lambda v, g: DECAY[1] * v + (1 - DECAY[1]) * jnp.square(g), second, slope
            )
            rate = LEARNING_RATE * 0.5 * (1 + jnp.cos(jnp.pi * number / N_STEPS))
            bias = [1 - decay ** (number + 1.0) for decay in DECAY]
            guide = jax.tree.map(
                lambda p, m, v: p - rate * (m / bias[0]) / (jnp.sqrt(v / bias[1]) + 1e-8),
                guide,
                first,
                second,
            )
            moved = zip(state, (guide, first, second), strict=True)
            return tuple(put(old, new) for old, new in moved), -loss

        begin: Any = (guide, zero, zero)
        (guide, _, _), bound = jax.lax.scan(step, begin, jnp.arange(N_STEPS, dtype=float))
        return guide, bound

    key, given, frame = jax.random.key(seed), coordinates.given(data, spreads), (origin, directions)
    guide, bound = jax.device_get(compiled("svi", run, key, given, frame)(key, given, frame))
    noise = np.random.default_rng([seed, 1]).standard_normal((n_draws, n_shared))
    drawn = position[:n_shared] + (guide.mean + np.exp(guide.log_sd) * noise) @ directions.T
    one_question = coordinates.given(portion(data, np.arange(1)), spreads)
    samples = draws_at(
        "svi draws",
        lambda given, at: coordinates.sites(given, at, jnp.zeros((1, n_options))),
        np.asarray(drawn),
        one_question,
    )
    kept = {site: draws for site, draws in samples.sites.items() if site not in OF_QUESTIONS}
    return Samples(kept, {"bound": bound[None]})
