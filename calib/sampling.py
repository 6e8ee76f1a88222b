"""No-U-turn sampling compiled once per shape, its chains side by side on threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpyro.infer import NUTS
from numpyro.infer.initialization import init_to_value


class Samples(NamedTuple):
    """Draws of every site, and what the sampler noted; all [chain, draw, …]."""

    sites: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]


class Plan(NamedTuple):
    """How long to sample."""

    n_chains: int = 2
    n_warmup: int = 300
    n_draws: int = 500
    target_accept: float = 0.85


STATS: Final = {
    "diverging": "diverging",
    "accept_prob": "acceptance_rate",
    "num_steps": "n_steps",
    "energy": "energy",
    "potential_energy": "lp",
}
"""Field of NumPyro's state to the name that ArviZ knows."""

_compiled: dict[Any, Any] = {}
_compiling = Lock()


def sample(
    model: Callable[[Any], None],
    data: Any,
    initial: dict[str, jax.Array],
    *,
    plan: Plan,
    seed: int,
) -> Samples:
    """Draw from the posterior of ``model(data)``; call with 64-bit JAX switched on.

    The program is compiled once for each model, plan and set of array shapes; further fits
    of the same shapes, such as the folds of a cross-validation, start at once.
    """
    keys = jax.random.split(jax.random.key(seed), plan.n_chains)
    program = _program(model, plan, keys[0], data, initial)

    def run(chain: int) -> Any:
        with jax.enable_x64(True):
            return jax.device_get(program(keys[chain], data, initial))

    with ThreadPoolExecutor(max_workers=2) as pool:
        chains = list(pool.map(run, range(plan.n_chains)))
    sites, stats = jax.tree.map(lambda *arrays: np.stack(arrays), *chains)
    stats["lp"] = -stats["lp"]
    return Samples(sites, stats)


def _program(
    model: Callable[[Any], None], plan: Plan, key: jax.Array, data: Any, initial: Any
) -> Any:
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves((data, initial)))
    with _compiling:
        known = (model, plan, shapes)
        if known not in _compiled:
            chain = _chain(model, plan)
            _compiled[known] = jax.jit(chain).lower(key, data, initial).compile()
        return _compiled[known]


def _chain(model: Callable[[Any], None], plan: Plan) -> Callable[..., Any]:
    def run(key: jax.Array, data: Any, initial: dict[str, jax.Array]) -> Any:
        kernel = NUTS(
            model,
            target_accept_prob=plan.target_accept,
            init_strategy=init_to_value(values=initial),
        )
        state = kernel.init(key, plan.n_warmup, None, (data,), {})
        constrain = kernel.postprocess_fn((data,), {})

        def step(state: Any, _: None) -> tuple[Any, None]:
            return kernel.sample(state, (data,), {}), None

        def keep(state: Any, _: None) -> tuple[Any, Any]:
            state = kernel.sample(state, (data,), {})
            stats = {name: getattr(state, field) for field, name in STATS.items()}
            return state, (state.z, stats)

        state, _ = lax.scan(step, state, None, length=plan.n_warmup)
        _, (unconstrained, stats) = lax.scan(keep, state, None, length=plan.n_draws)
        # One draw at a time: the deterministic sites of a draw are large.
        sites = lax.map(constrain, unconstrained)
        return sites, jax.tree.map(jnp.asarray, stats)

    return run
