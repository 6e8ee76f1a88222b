"""The Laplace approximation: a normal distribution about the posterior's mode.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from numpyro.handlers import condition
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn
from scipy.optimize import brentq, minimize

from calib.errors import FitError
from calib.models import SPREAD_OF, dirichlet_regression
from calib.prior import Gamma
from calib.programs import compiled
from calib.sampling import Samples, Start

LOCAL: Final = "question_unit"
"""The one site with values for each question; given the others, questions are independent."""
STEP: Final = 1e-4
"""Of the differences of gradients that make the curvature, in units of the start's reach."""
APART: Final = 1e-2
"""Of where the search begins from the start values, in units of the start's reach."""
ROUGH: Final = {"maxiter": 3000, "maxfun": 5000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-2}
TOLERANCE: Final = 1e-2
"""Largest slope at a mode: a standard deviation away it changes the density by a hundredth."""
MAX_NEWTON: Final = 200
LEAST_DAMPING: Final = 1e-2
MOST_DAMPING: Final = 1e8
"""Added to the curvature's diagonal where a full step does not lead down."""
NOISE: Final = 1e-14
"""Relative error of the density that is no rise."""
MAX_ROUNDS: Final = 60
OVER_RELAXATION: Final = 1.8
"""Power of the change that EM makes to a spread: below 2, where it would not converge."""
SETTLED: Final = 0.03
"""Relative change of every spread in a round at which the rounds end."""


class Given(NamedTuple):
    """Data, the spreads that are held, and where positions lie."""

    data: Any
    spreads: dict[str, jax.Array]
    centre: Any = 0.0
    width: Any = 1.0


class Coordinates:
    """Flat positions of all unbounded sites but the spreads, in units of the start's reach.

    Parameters that all questions share come first, then those of the questions.
    """

    def __init__(self, data: Any, start: Start) -> None:
        self.spreads = {sd: start.values[sd] for sd, _ in SPREAD_OF.values() if sd in start.values}
        others = {site: at for site, at in start.values.items() if site not in self.spreads}
        # Traced: NumPyro checks concrete values against priors that it has not reached yet.
        begin = jax.jit(lambda given, values: unconstrain_fn(held, (given,), {}, values))(
            Given(data, self.spreads), others
        )
        local = begin.pop(LOCAL, jnp.zeros((0, 1)))
        self.local_shape = local.shape
        self.width, _ = ravel_pytree(
            {site: jnp.broadcast_to(start.reach[site], at.shape) for site, at in begin.items()}
        )
        self.centre, self.unflatten = ravel_pytree(begin)
        self.n_shared, self.n_local = len(self.centre), local.size

    def given(self, data: Any, spreads: dict[str, jax.Array]) -> Given:
        """All numbers that a compiled density depends on: none may be baked into it."""
        return Given(data, spreads, self.centre, self.width)

    def sites(self, given: Given, shared: Any, local: Any) -> Any:
        """The unbounded sites at a position of the shared parameters and the questions'."""
        found = self.unflatten(given.centre + given.width * shared)
        return found | ({LOCAL: local} if self.n_local else {})

    def centre_sites(self) -> Any:
        """The shared unbounded sites at the start values."""
        return self.unflatten(self.centre)

    def shared_of(self, sites: Any) -> Any:
        """The position of the shared parameters at which the unbounded sites are these."""
        shared = {site: at for site, at in sites.items() if site != LOCAL}
        return (ravel_pytree(shared)[0] - self.centre) / self.width

    def of_flat(self, given: Given, at: Any) -> Any:
        """The unbounded sites of a flat position."""
        local = at[self.n_shared :].reshape(self.local_shape)
        return self.sites(given, at[: self.n_shared], local)


class Mode(NamedTuple):
    """Where the posterior is highest, how it falls from there, and the spreads it is held at."""

    coordinates: Coordinates
    position: Float[np.ndarray, " parameter"]
    curvature: Arrowhead
    spreads: dict[str, jax.Array]


def held(given: Given) -> None:
    """The regression with its spreads held."""
    condition(dirichlet_regression, data=given.spreads)(given.data)


def laplace(data: Any, start: Start, *, n_draws: int, seed: int) -> Samples:
    """Draws from the normal distribution that has the posterior's mode and curvature.

    In the unbounded coordinates of the sites, where N(mode, H⁻¹) with H the Hessian of the
    negative log density (``posterior_mode``). Draws have no doubt about the spreads.

    One chain of ``n_draws``; call with 64-bit JAX switched on, with effects that are not
    centred (``calib.fitting.regression_data``).

    Raises
    ------
    FitError
        Where no mode is found.
    """
    coordinates, position, curvature, spreads = posterior_mode(data, start)
    drawn = position + curvature.draws(n_draws, np.random.default_rng(seed))
    given = coordinates.given(data, spreads)
    return draws_at("laplace draws", coordinates.of_flat, drawn, given)


def draws_at(
    name: str, sites: Callable[[Given, Any], Any], drawn: np.ndarray, given: Given
) -> Samples:
    """Sites of the model at flat positions, in one chain; the held spreads among them."""

    def read(positions: Any, given: Given) -> Any:
        def one(at: Any) -> Any:
            return constrain_fn(held, (given,), {}, sites(given, at), return_deterministic=True)

        return jax.lax.map(one, positions)

    found = jax.device_get(compiled(name, read, drawn, given)(drawn, given))
    found |= {sd: np.full(len(drawn), float(value)) for sd, value in given.spreads.items()}
    return Samples({site: values[None] for site, values in found.items()}, {})


def posterior_mode(data: Any, start: Start) -> Mode:
    """The mode of all but the spreads of effects, at the mode of the spreads' own posterior.

    The joint mode of effects and spreads would put the spreads far off. Their own is found by
    the EM algorithm with the normal approximation as its expectation (Gelman et al. 2013,
    Bayesian Data Analysis, 13.4 to 13.6). ``FitError`` where there is none.
    """
    coordinates = Coordinates(data, start)
    spreads = dict(coordinates.spreads)

    def potential(at: Any, given: Given) -> Any:
        return potential_energy(held, (given,), {}, coordinates.of_flat(given, at))

    n_shared = coordinates.n_shared
    # Not in the middle: of two sources that say the same, the mode between may be a saddle.
    position = APART * np.random.default_rng(0).standard_normal(n_shared + coordinates.n_local)
    slope_of = jax.value_and_grad(potential)
    program = compiled("laplace", slope_of, position, coordinates.given(data, spreads))
    for _ in range(MAX_ROUNDS):
        now = coordinates.given(data, dict(spreads))

        def at(position: np.ndarray, given: Given = now) -> tuple[float, Any]:
            value, slope = program(position, given)
            return float(value), np.asarray(slope)

        position, curvature = _mode(at, position, n_shared, coordinates.local_shape)
        unflatten, width = coordinates.unflatten, coordinates.width
        units = unflatten(coordinates.centre + width * position[:n_shared])
        doubt = unflatten(np.square(width) * curvature.shared_variance())
        former = dict(spreads)
        for site, (sd, prior) in SPREAD_OF.items():
            if sd in spreads:
                of_units = jnp.square(units[site]) + doubt[site]
                squares = float(jnp.square(former[sd]) * of_units.sum())
                change = _spread(squares, of_units.size, getattr(data.prior, prior)) / former[sd]
                spreads[sd] = former[sd] * change**OVER_RELAXATION
        if all(abs(np.log(spreads[sd] / former[sd])) <= SETTLED for sd in spreads):
            return Mode(coordinates, position, curvature, former)
    raise FitError(
        f"the spreads of effects must settle; after {MAX_ROUNDS} rounds they have not; "
        "fit with --inference nuts"
    )


def _spread(squares: float, size: int, prior: Gamma) -> float:
    """The mode of log s under a Gamma(a, b) prior, of ``size`` effects N(0, s²).

    (a − size) + squares/s² − b s = 0, which falls in s.
    """
    shape, rate = float(prior.shape), float(prior.rate)

    def slope(log_s: float) -> float:
        s = np.exp(log_s)
        return float(shape - size + squares / s**2 - rate * s)

    return float(np.exp(brentq(slope, -20.0, 20.0)))


def _mode(
    at: Callable[[np.ndarray], tuple[float, np.ndarray]],
    begin: np.ndarray,
    n_shared: int,
    local_shape: tuple[int, ...],
) -> tuple[np.ndarray, Arrowhead]:
    """The mode and the curvature there: quasi-Newton steps, Newton's own for the last part."""
    rough = minimize(at, begin, jac=True, method="L-BFGS-B", options=ROUGH)
    position: np.ndarray = rough.x
    value, slope = at(position)
    damping = 0.0
    for _ in range(MAX_NEWTON):
        curvature = Arrowhead(lambda one: at(one)[1], position, n_shared, local_shape)
        if np.abs(slope).max() <= TOLERANCE and curvature.factor(0.0):
            return position, curvature
        while damping <= MOST_DAMPING:
            if curvature.factor(damping):
                trial = position - curvature.solve(slope)
                trial_value, trial_slope = at(trial)
                if trial_value <= value + NOISE * abs(value):
                    break
            damping = max(10 * damping, LEAST_DAMPING)
        else:
            break
        position, value, slope = trial, trial_value, trial_slope
        damping = damping / 10 if damping > LEAST_DAMPING else 0.0
    steepest = np.abs(slope).max()
    found = f"a slope is {steepest:.2g}" if steepest > TOLERANCE else "it rises in some direction"
    raise FitError(
        f"the Laplace approximation needs a mode, where no slope is above {TOLERANCE} and the "
        f"density falls in every direction; after {rough.nit} rough and up to {MAX_NEWTON} "
        f"Newton steps {found}; fit with --inference nuts"
    )


class Arrowhead:
    """Hessian of shared parameters and of blocks that depend on them only, not on each other.

    From differences of gradients: as many as there are shared parameters and places in a
    block, for a place of all blocks is moved at once.
    """

    def __init__(
        self,
        slope: Callable[[np.ndarray], np.ndarray],
        position: np.ndarray,
        n_shared: int,
        local_shape: tuple[int, ...],
    ) -> None:
        n_blocks, width = local_shape

        def difference(direction: np.ndarray) -> np.ndarray:
            ahead, behind = (slope(position + sign * STEP * direction) for sign in (1, -1))
            change: np.ndarray = (ahead - behind) / (2 * STEP)
            return change

        columns = np.stack([difference(unit) for unit in np.eye(n_shared, len(position))])
        self.shared = _symmetric(columns[:, :n_shared])
        self.cross: Float[np.ndarray, "shared block width"] = columns[:, n_shared:].reshape(
            n_shared, n_blocks, width
        )
        blocks = np.zeros((n_blocks, width, width))
        for place in range(width if n_blocks else 0):
            direction = np.zeros(len(position))
            direction[n_shared + place :: width] = 1.0
            blocks[:, place] = difference(direction)[n_shared:].reshape(n_blocks, width)
        self.blocks = _symmetric(blocks)

    def factor(self, damping: float) -> bool:
        """Roots of H with ``damping`` on its diagonal, which the rest uses; False if none.

        Those of the blocks, and of what the shared parameters keep beside them.
        """
        self.damped = self.blocks + damping * np.eye(self.blocks.shape[-1])
        try:
            self.block_roots = np.linalg.cholesky(self.damped)
            self.solved = np.linalg.solve(self.damped, np.moveaxis(self.cross, 0, -1))
            left = (
                self.shared
                + damping * np.eye(len(self.shared))
                - np.einsum("sbw,bwt->st", self.cross, self.solved)
            )
            self.root = np.linalg.cholesky(_symmetric(left))
        except np.linalg.LinAlgError:
            return False
        return True

    def solve(self, right: Float[np.ndarray, " parameter"]) -> Float[np.ndarray, " parameter"]:
        """H⁻¹ right."""
        n_shared = len(self.root)
        local = right[n_shared:].reshape(self.blocks.shape[:2])
        shared = right[:n_shared] - np.einsum("bws,bw->s", self.solved, local)
        shared = np.linalg.solve(self.root.T, np.linalg.solve(self.root, shared))
        local = np.linalg.solve(self.damped, local[..., None])[..., 0] - self.solved @ shared
        return np.concatenate([shared, local.reshape(-1)])

    def shared_root(self) -> Float[np.ndarray, "shared shared"]:
        """R with R Rᵀ the shared parameters' covariance."""
        inverse: np.ndarray = np.linalg.inv(self.root).T
        return inverse

    def shared_variance(self) -> Float[np.ndarray, " shared"]:
        """Diagonal of H⁻¹ at the shared parameters."""
        variance: np.ndarray = np.square(self.shared_root()).sum(axis=1)
        return variance

    def draws(self, n_draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draw parameter"]:
        """N(0, H⁻¹): the shared parameters first, each block given them."""
        shared = rng.standard_normal((n_draws, len(self.root))) @ self.shared_root().T
        noise = rng.standard_normal((n_draws, *self.blocks.shape[:2]))
        inverse = np.swapaxes(np.linalg.inv(self.block_roots), -1, -2)
        local = np.einsum("bvw,dbw->dbv", inverse, noise)
        local -= np.einsum("bws,ds->dbw", self.solved, shared)
        return np.concatenate([shared, local.reshape(n_draws, -1)], axis=1)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2
