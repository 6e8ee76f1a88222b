"""No-U-turn sampling compiled once per shape, its chains side by side on threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS
from numpyro.infer.util import ParamInfo, constrain_fn, potential_energy, unconstrain_fn

from calib.programs import compiled


class Samples(NamedTuple):
    """Draws of every site, and what the sampler noted; all [chain, draw, …]."""

    sites: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    given_up: int = 0
    """Divergent transitions of the attempts that these draws stand in for."""

    @property
    def n_diverging(self) -> int:
        """Transitions that diverged, of all chains."""
        return int(self.stats["diverging"].sum())

    def beside(self, others: Samples) -> Samples:
        """These chains and others of the same sites."""

        def joined(
            ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]
        ) -> dict[str, np.ndarray]:
            return {name: np.concatenate([ours[name], theirs[name]]) for name in ours}

        return self._replace(
            sites=joined(self.sites, others.sites), stats=joined(self.stats, others.stats)
        )


class Plan(NamedTuple):
    """How long to sample."""

    n_chains: int = 2
    n_warmup: int = 200
    n_draws: int = 1000
    target_accept: float = 0.8


ATTEMPTS: Final = (Plan(), Plan(target_accept=0.9), Plan(target_accept=0.97))
"""Ever smaller steps, for posteriors with narrow places; all by one compiled program."""


class Start(NamedTuple):
    """Where the chains begin and how far the posterior reaches about there, by site.

    The reach is what the sampler takes for one unit of each direction until it has learnt
    better. Without it the first hundred iterations, at the one scale for all that the
    narrowest direction allows, cost more than all the others.
    """

    values: dict[str, jax.Array]
    """In the sites' own units."""
    reach: dict[str, jax.Array | float]
    """Standard deviation where the site is unbounded: of the logarithm of what is positive."""
    covariance: dict[str, jax.Array]
    """Of sites whose elements are too alike to be told apart: their covariance, which the
    sampler goes on to learn. Of all others it learns variances only."""


STATS: Final = {
    "diverging": "diverging",
    "accept_prob": "acceptance_rate",
    "num_steps": "n_steps",
    "energy": "energy",
    "potential_energy": "lp",
}
"""Field of NumPyro's state to the name that ArviZ knows."""

START_ENERGY: Final = 1e12
"""Said of where a chain starts: more than anywhere else, so that its first step leads away."""


def sample(
    model: Callable[[Any], None], data: Any, start: Start, *, plan: Plan, key: jax.Array
) -> Samples:
    """Draw from the posterior of ``model(data)``; call with 64-bit JAX switched on.

    The program is compiled once for each model, length and set of array shapes; further fits
    of the same shapes, such as the folds of a cross-validation, start at once, and those of
    later processes without compiling (``calib.programs``).
    """
    keys = jax.random.split(key, plan.n_chains)
    lengths = plan.n_warmup, plan.n_draws
    accept = jnp.asarray(plan.target_accept)
    program = compiled((model, *lengths), _chain(model, *lengths), keys[0], data, start, accept)

    def run(chain: int) -> Any:
        with jax.enable_x64(True):
            return jax.device_get(program(keys[chain], data, start, accept))

    pool = ThreadPoolExecutor(max_workers=2)
    try:
        chains = list(pool.map(run, range(plan.n_chains)))
    finally:
        # After Ctrl-C there is no waiting for chains that nobody wants.
        pool.shutdown(wait=False, cancel_futures=True)
    sites, stats = jax.tree.map(lambda *arrays: np.stack(arrays), *chains)
    stats["lp"] = -stats["lp"]
    return Samples(sites, stats)


def _mass(reach: dict[str, jax.Array], covariance: dict[str, jax.Array]) -> dict[str, Any]:
    """NumPyro's words for variances of most sites and covariances of some."""
    if not covariance:
        return {"inverse_mass_matrix": jnp.square(ravel_pytree(reach)[0])}
    others = tuple(sorted(set(reach) - set(covariance)))
    variances, _ = ravel_pytree(tuple(jnp.square(reach[site]) for site in others))
    blocks = {(site,): matrix for site, matrix in covariance.items()}
    return {"dense_mass": list(blocks), "inverse_mass_matrix": {**blocks, others: variances}}


def _chain(model: Callable[[Any], None], n_warmup: int, n_draws: int) -> Callable[..., Any]:
    def run(key: jax.Array, data: Any, start: Start, target_accept: jax.Array) -> Any:
        key_start, key_chain = jax.random.split(key)
        begin = unconstrain_fn(model, (data,), {}, start.values)
        reach = {site: jnp.broadcast_to(start.reach[site], at.shape) for site, at in begin.items()}
        flat, unflatten = ravel_pytree(begin)
        widths, _ = ravel_pytree(reach)
        # Chains begin apart, or their agreement would say nothing.
        begin = unflatten(flat + widths * jax.random.normal(key_start, flat.shape))
        # Each copy of the gradient takes seconds to compile. So NumPyro gets the density rather
        # than the model, for which it would look for a valid start; warm-up and draws are one
        # loop; and the start's own energy and slope are not computed. The first iteration leaves
        # it for the best point of its path, all of them lower: a rough start, as any is.
        nowhere = ParamInfo(begin, jnp.array(START_ENERGY), jax.tree.map(jnp.zeros_like, begin))
        kernel = NUTS(
            potential_fn=lambda at: potential_energy(model, (data,), {}, at),
            target_accept_prob=target_accept,
            **_mass(reach, start.covariance),
        )
        state = kernel.init(key_chain, n_warmup, nowhere, (), {})

        def step(state: Any, _: None) -> tuple[Any, Any]:
            state = kernel.sample(state, (), {})
            return state, (state.z, {name: getattr(state, field) for field, name in STATS.items()})

        _, kept = lax.scan(step, state, None, length=n_warmup + n_draws)
        unconstrained, stats = jax.tree.map(lambda values: values[n_warmup:], kept)
        # One draw at a time: the deterministic sites of a draw are large.
        sites = lax.map(
            lambda at: constrain_fn(model, (data,), {}, at, return_deterministic=True),
            unconstrained,
        )
        return sites, stats

    return run
