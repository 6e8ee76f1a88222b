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

from calib.laplace import LOCAL, Coordinates, Given, Mode, draws_at, held, posterior_mode
from calib.models import SPREAD_OF, RegressionData
from calib.pilot import portion
from calib.programs import compiled
from calib.sampling import Samples, Start

PORTION: Final = 128
LEAST_PORTION: Final = 16
"""Questions of a step: at most and, where each was put to very many groups, at least."""
PORTION_CELLS: Final = 8192
"""Cells of a step, about, between the two."""
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
    spread: Float[jax.Array, " spread"]
    """Logarithms of the effects' spreads less the pilot's, a point, in units of its doubt."""
    local_mean: Float[jax.Array, "question option"]
    local_log_sd: Float[jax.Array, "question option"]


class Frame(NamedTuple):
    """Where the guide lies: shared parameters are origin + (root a, width b) in their places."""

    origin: Float[jax.Array, " shared"]
    root: Float[jax.Array, "common common"]
    width: Float[jax.Array, " own"]
    """Of the effects of single groups, where the pilot had some of them only."""
    place: Int[jax.Array, " shared"]

    def shared(self, at: Float[jax.Array, " shared"]) -> Float[jax.Array, " shared"]:
        """Shared parameters at a value of the guide."""
        common = len(self.root)
        moved = jnp.concatenate([self.root @ at[:common], self.width * at[common:]])
        return self.origin + moved[self.place]


def svi(
    data: RegressionData, pilot: RegressionData, start: Start, *, n_draws: int, seed: int
) -> Samples:
    """Draws from the normal distribution nearest to the posterior, by the evidence lower bound.

    A Laplace approximation on ``pilot`` (``calib.pilot``) gives the start and the directions in
    which the shared parameters are nearly independent. Effects of groups begin at none where it
    has some of the groups only, and are then independent in the guide. Spreads of effects begin
    at the pilot's and follow the bound to the mode of their logarithm.
    Then a step takes ``PORTION`` questions at random (fewer where they were put to many groups)
    and one draw of the guide, and follows the slope of the bound by Adam (Kucukelbir et al.
    2017, JMLR 18(14); Kingma and Ba 2015, arXiv:1412.6980); questions that are not in the
    portion rest. So the time and memory of a step do not grow with the survey.

    One chain of ``n_draws`` of what questions share; call with 64-bit JAX switched on, with
    effects that are not centred; ``start`` is that of the pilot (``calib.fitting.start_of``).
    The stats hold the ``bound`` over the steps. ``FitError`` where the pilot finds no mode.
    """
    n_questions, n_slots, n_options = data.covariates.mask.shape
    mode = posterior_mode(pilot, start)
    coordinates, frame = _frame(mode, data, start)
    spreads, n_shared, has_local = mode.spreads, coordinates.n_shared, LOCAL in start.values
    n_effects = {
        site: int(at.size) for site, at in coordinates.centre_sites().items() if site in SPREAD_OF
    }
    first_local = Guide._fields.index("local_mean")
    size = min(n_questions, PORTION, max(LEAST_PORTION, PORTION_CELLS // n_slots))

    def spread_apart(spread: Any, given: Given, sites: Any) -> tuple[Given, Any, Any]:
        """At spreads of the guide, the effects where they are; the log density that this adds.

        Effects are sites in units of their spread. Were the units left where they are, the
        answers would hold the spread, and both would crawl to where they fit each other.
        """
        moved, held_at, density = dict(sites), dict(given.spreads), 0.0
        for change, (site, size) in zip(spread, n_effects.items(), strict=True):
            sd, log_ratio = SPREAD_OF[site][0], change / np.sqrt(2 * size)
            held_at[sd] = given.spreads[sd] * jnp.exp(log_ratio)
            moved[site] = sites[site] * jnp.exp(-log_ratio)
            # Of the units in place of the effects, and of the spread in place of its logarithm.
            density = density - size * log_ratio + log_ratio
        return given._replace(spreads=held_at), moved, density

    def minus_bound(guide: Guide, key: Any, given: Given, frame: Any) -> Any:
        """Of a portion; ``guide`` is that of the portion too."""
        key_shared, key_local = jax.random.split(key)
        at = guide.mean + jnp.exp(guide.log_sd) * jax.random.normal(key_shared, (n_shared,))
        noise = jax.random.normal(key_local, guide.local_mean.shape)
        local = guide.local_mean + jnp.exp(guide.local_log_sd) * noise
        entropy = guide.log_sd.sum() + given.data.repeats * guide.local_log_sd.sum()
        sites = coordinates.sites(given, frame.shared(at), local)
        given, sites, density = spread_apart(guide.spread, given, sites)
        return potential_energy(held, (given,), {}, sites) - density - entropy

    def run(key: Any, given: Given, frame: Any, order: Any) -> Any:
        local = jnp.zeros((n_questions, n_options if has_local else 0))
        shared, spread = jnp.zeros(n_shared), jnp.zeros(len(n_effects))
        guide = Guide(shared, shared, spread, local, local)
        zero = jax.tree.map(jnp.zeros_like, guide)

        def step(state: Any, number: Any) -> Any:
            key_portion, key_draw = jax.random.split(jax.random.fold_in(key, number))
            # Neighbours in a random order: to draw anew among all would take as long as all.
            first_one = jax.random.randint(key_portion, (), 0, n_questions)
            chosen = order[(first_one + jnp.arange(size)) % n_questions]

            def part_of(values: Guide) -> Guide:
                return Guide(*values[:first_local], *(one[chosen] for one in values[first_local:]))

            def put(values: Guide, part: Guide) -> Guide:
                both = zip(values[first_local:], part[first_local:], strict=True)
                return Guide(*part[:first_local], *(old.at[chosen].set(new) for old, new in both))

            guide, first, second = (part_of(values) for values in state)
            loss, slope = jax.value_and_grad(minus_bound)(
                guide, key_draw, given._replace(data=portion(given.data, chosen)), frame
            )
            # A question moves for itself, not for those that it stands for.
            share = size / n_questions
            slope = Guide(*slope[:first_local], *(one * share for one in slope[first_local:]))
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

    name = ("svi", size, N_STEPS, LEARNING_RATE, *DECAY)
    key, given = jax.random.key(seed), coordinates.given(data, spreads)
    rng = np.random.default_rng([seed, 1])
    arguments = key, given, frame, jnp.asarray(rng.permutation(n_questions))
    guide, bound = jax.device_get(compiled(name, run, *arguments)(*arguments))
    one_question = coordinates.given(portion(data, np.arange(1)), spreads)
    final, _, _ = spread_apart(guide.spread, one_question, coordinates.centre_sites())
    none = jnp.zeros((1, n_options))

    def at_spreads(noise: Any) -> Any:
        at = frame.shared(guide.mean + jnp.exp(guide.log_sd) * noise)
        sites = coordinates.sites(one_question, at, none)
        return coordinates.shared_of(spread_apart(guide.spread, one_question, sites)[1])

    drawn = jax.vmap(at_spreads)(rng.standard_normal((n_draws, n_shared)))
    samples = draws_at(
        "svi draws",
        lambda given, at: coordinates.sites(given, at, none),
        np.asarray(drawn),
        final,
    )
    kept = {site: draws for site, draws in samples.sites.items() if site not in OF_QUESTIONS}
    return Samples(kept, {"bound": bound[None]})


def _frame(mode: Mode, data: RegressionData, start: Start) -> tuple[Coordinates, Frame]:
    """Coordinates of the whole survey's shared parameters, and the guide's place in them."""
    n_shared, root = mode.coordinates.n_shared, mode.curvature.shared_root()
    origin = np.array(mode.position[:n_shared])
    n_groups = data.group_number.shape[0]
    values = dict(start.values)
    own = [site for site in values if site.startswith("off_") and len(values[site]) < n_groups]
    if not own:
        return mode.coordinates, Frame(
            jnp.asarray(origin), jnp.asarray(root), jnp.zeros(0), jnp.arange(n_shared)
        )
    values |= {site: jnp.zeros(n_groups) for site in own}
    if LOCAL in values:
        values[LOCAL] = values[LOCAL][:1]
    whole = Coordinates(portion(data, np.arange(1)), start._replace(values=values))

    def numbers(coordinates: Coordinates) -> dict[str, np.ndarray]:
        found = coordinates.unflatten(jnp.arange(coordinates.n_shared, dtype=float))
        return {site: np.asarray(at).astype(int).ravel() for site, at in found.items()}

    of_pilot, of_whole = numbers(mode.coordinates), numbers(whole)
    common = [site for site in of_whole if site not in own]
    old, new = (np.concatenate([of[site] for site in common]) for of in (of_pilot, of_whole))
    covariance = root @ root.T
    everywhere = np.zeros(whole.n_shared)
    everywhere[new] = origin[old]
    width = [
        np.full(len(of_whole[site]), np.sqrt(np.diag(covariance)[of_pilot[site]].mean()))
        for site in own
    ]
    place = np.empty(whole.n_shared, dtype=int)
    place[np.concatenate([new, *(of_whole[site] for site in own)])] = np.arange(whole.n_shared)
    common_root = np.linalg.cholesky(covariance[np.ix_(old, old)])
    return whole, Frame(
        jnp.asarray(everywhere),
        jnp.asarray(common_root),
        jnp.asarray(np.concatenate(width)),
        jnp.asarray(place),
    )
