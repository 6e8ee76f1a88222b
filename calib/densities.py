"""Densities of the Dirichlet regression in JAX: answers given shares, logits given a mean.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, tau
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_SHIFT = 8
_HALF_LOG_TAU = 0.5 * log(tau)


@jax.custom_jvp
def log_gamma(a: Float[jax.Array, "*batch"]) -> Float[jax.Array, "*batch"]:
    """Log Γ(a) for a > 0, to some 1e-13, as in ``log_rising``."""
    return _log_gamma_and_slope(a)[0]


@log_gamma.defjvp
def _log_gamma_jvp(primals: Any, tangents: Any) -> Any:
    value, slope = _alone(_log_gamma_and_slope, *primals)
    return value, slope * tangents[0]


def _log_gamma_and_slope(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    product, factor_slope = _eight_factors(a)
    high = a + _SHIFT
    log_high = jnp.log(high)
    series, series_slope = _stirling(high)
    value = (high - 0.5) * log_high - high + _HALF_LOG_TAU + series - jnp.log(product)
    return value, log_high - 0.5 / high + series_slope - factor_slope


@jax.custom_jvp
def log_rising(
    a: Float[jax.Array, "*batch"], k: Float[jax.Array, "*batch"]
) -> Float[jax.Array, "*batch"]:
    """Log Γ(a+k) − log Γ(a) for a > 0, k ≥ 0, to some 1e-13; its derivative is in a only.

    Γ(x) = Γ(x+8) / (x (x+1) … (x+7)) and Stirling's series at x+8 (Abramowitz and Stegun
    6.1.15, 6.1.41). Two log-gammas and their derivatives were most of a fit's time; told
    together they take three logarithms and no more for the derivative.
    """
    return _log_rising_and_slope(a, k)[0]


@log_rising.defjvp
def _log_rising_jvp(primals: Any, tangents: Any) -> Any:
    value, slope = _alone(_log_rising_and_slope, *primals)
    return value, slope * tangents[0]


def _alone(function: Callable[..., tuple[jax.Array, jax.Array]], *arrays: jax.Array) -> Any:
    """The function in one line and kept apart from its neighbours.

    Along a short option axis, or fused into the sums that follow, the loop would not be
    vectorised (4 times slower).
    """
    flat = lax.optimization_barrier(tuple(array.reshape(-1) for array in arrays))
    results = lax.optimization_barrier(function(*flat))
    return tuple(result.reshape(arrays[0].shape) for result in results)


def _log_rising_and_slope(a: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    product_low, factor_slope_low = _eight_factors(a)
    product_high, factor_slope_high = _eight_factors(a + k)
    low, high = a + _SHIFT, a + k + _SHIFT
    log_low, log_high = jnp.log(low), jnp.log(high)
    series_low, series_slope_low = _stirling(low)
    series_high, series_slope_high = _stirling(high)
    value = (
        (high - 0.5) * log_high
        - (low - 0.5) * log_low
        - k
        + (series_high - series_low)
        + jnp.log(product_low / product_high)
    )
    slope = (log_high - 0.5 / high + series_slope_high - factor_slope_high) - (
        log_low - 0.5 / low + series_slope_low - factor_slope_low
    )
    return value, slope


def _eight_factors(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """X (x+1) … (x+7), and the derivative of its logarithm."""
    product, derivative = x, jnp.ones_like(x)
    for step in range(1, _SHIFT):
        derivative = derivative * (x + step) + product
        product = product * (x + step)
    return product, derivative / product


def _stirling(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Σ_i c_i y^(1−2i), the tail of Stirling's series, and its derivative."""
    inverse = 1.0 / y
    square = inverse * inverse
    value, derivative = jnp.zeros_like(y), jnp.zeros_like(y)
    for power, coefficient in reversed(list(enumerate(_STIRLING))):
        value = value * square + coefficient
        derivative = derivative * square - (2 * power + 1) * coefficient
    return value * inverse, derivative * square


def dirichlet_multinomial_kernel(
    counts: Float[jax.Array, "*batch option"],
    concentration: Float[jax.Array, "*batch option"],
    mask: Bool[jax.Array, "*batch option"],
) -> Float[jax.Array, "*batch"]:
    """Log density of (effective, hence possibly fractional) counts, less what holds them alone.

    log Γ(A) − log Γ(n+A) + Σ_c [log Γ(k_c+a_c) − log Γ(a_c)], A = Σ a_c, n = Σ k_c over the
    options of the mask (Mosimann 1962, doi:10.1093/biomet/49.1-2.65); zero where n is zero.
    With ``calib.scores.log_ways`` it is the log density.
    """
    # Off the mask any positive value will do: with no counts the term is zero.
    a = jnp.where(mask, concentration, 1.0)
    k = jnp.where(mask, counts, 0.0)
    total = jnp.where(mask, concentration, 0.0).sum(axis=-1)
    total = jnp.where(mask.any(axis=-1), total, 1.0)
    return log_rising(a, k).sum(axis=-1) - log_rising(total, k.sum(axis=-1))


MEAN_SCALE = 0.1
"""Scale of what no answer tells of a question's logits, their mean; it changes no result."""


def dirichlet_logit_density(
    logits: Float[jax.Array, "question option"],
    concentration: Float[jax.Array, "question option"],
    weight: Float[jax.Array, "question option"],
    exists: Bool[jax.Array, "question option"],
) -> Float[jax.Array, ""]:
    """Log density of logits whose softmax is Dirichlet(concentration), up to a constant.

    In the contrasts of the logits: log Γ(A) + Σ_c [a_c log θ_c − log Γ(a_c)], the a_c in place
    of a_c − 1 being the Jacobian of the softmax. Adding a constant to a question's logits
    changes no share: their mean under ``weight``, which sums to one over the options, is
    N(0, ``MEAN_SCALE``²). With weights near the shares an option that nobody takes, whose logit
    is anywhere far down, leaves the others where they are. Options that only pad the block
    are standard normal.
    """
    a = jnp.where(exists, concentration, 1.0)
    shares = jax.nn.log_softmax(jnp.where(exists, logits, -1e30), axis=-1)
    inside = jnp.where(exists, a * shares - log_gamma(a), 0.0)
    total = jnp.where(exists, a, 0.0).sum(axis=1)
    mean = (weight * logits).sum(axis=1)
    return (
        inside.sum()
        + log_gamma(jnp.where(exists.any(axis=1), total, 1.0)).sum()
        - 0.5 * jnp.square(mean / MEAN_SCALE).sum()
        - 0.5 * jnp.square(jnp.where(exists, 0.0, logits)).sum()
    )
