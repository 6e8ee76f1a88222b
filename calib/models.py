"""The Dirichlet regression as a NumPyro model: a plain function of data.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import lax
from jax.scipy.special import gammaln
from jaxtyping import Bool, Float, Int


class RegressionData(NamedTuple):
    """Arrays of one fit, padded so that folds of one table share their shapes.

    Cells lie in a block [question, slot]: the groups that were asked a question take its
    first slots. So everything that the groups of a question share is a broadcast, and the
    only look-up is that of the group's own effects.
    """

    probs: Float[jax.Array, "source question slot option"]
    """Elicited shares; zero off the mask."""
    mask: Bool[jax.Array, "question slot option"]
    counts: Float[jax.Array, "question slot option"]
    """Effective human answers; zero in empty slots, which then have no likelihood."""
    group: Int[jax.Array, "question slot"]
    place: Float[jax.Array, "question option"]
    """Place on the scale in [-1/2, 1/2]; 0 on nominal scales."""
    curve: Float[jax.Array, "question option"]
    """Squared place less its mean over the question."""
    group_number: Int[jax.Array, " group"]
    """0, 1, …: carries the number of groups as a shape."""


class Design(NamedTuple):
    """The LLM's log shares split into what groups share and how they differ."""

    between: Float[jax.Array, "source question option"]
    within: Float[jax.Array, "source question slot option"]


def design(data: RegressionData, log_floor: Float[jax.Array, " source"]) -> Design:
    """ℓ = log(p + ε) centred over the options of a cell; its mean over groups, and the rest."""
    logs = jnp.log(data.probs + jnp.exp(log_floor)[:, None, None, None])
    logs = jnp.where(data.mask, logs, 0.0)
    centre = logs.sum(axis=-1, keepdims=True) / jnp.maximum(
        data.mask.sum(axis=-1, keepdims=True), 1
    )
    logs = jnp.where(data.mask, logs - centre, 0.0)
    offered = jnp.maximum(data.mask.sum(axis=1), 1)
    between = logs.sum(axis=2) / offered
    within = jnp.where(data.mask, logs - between[:, :, None, :], 0.0)
    return Design(between, within)


_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_SHIFT = 8


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
    # In one line and kept apart from its neighbours: along a short option axis, or fused
    # into the sums that follow, the loop would not be vectorised (4 times slower).
    a, k = lax.optimization_barrier(tuple(array.reshape(-1) for array in primals))
    value, slope = lax.optimization_barrier(_log_rising_and_slope(a, k))
    value, slope = value.reshape(primals[0].shape), slope.reshape(primals[0].shape)
    return value, slope * tangents[0]


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


def dirichlet_multinomial_log_density(
    counts: Float[jax.Array, "*batch option"],
    concentration: Float[jax.Array, "*batch option"],
    mask: Bool[jax.Array, "*batch option"],
) -> Float[jax.Array, "*batch"]:
    """Log density of (effective, hence possibly fractional) counts, with its constant.

    log Γ(A) + log Γ(n+1) − log Γ(n+A) + Σ_c [log Γ(k_c+a_c) − log Γ(a_c) − log Γ(k_c+1)],
    A = Σ a_c, n = Σ k_c over the options of the mask (Mosimann 1962,
    doi:10.1093/biomet/49.1-2.65). Zero where n is zero.
    """
    kernel = dirichlet_multinomial_kernel(counts, concentration, mask)
    k = jnp.where(mask, counts, 0.0)
    return kernel + gammaln(k.sum(axis=-1) + 1.0) - gammaln(k + 1.0).sum(axis=-1)


def dirichlet_multinomial_kernel(
    counts: Float[jax.Array, "*batch option"],
    concentration: Float[jax.Array, "*batch option"],
    mask: Bool[jax.Array, "*batch option"],
) -> Float[jax.Array, "*batch"]:
    """As the log density, without the terms that hold counts alone."""
    # Off the mask any positive value will do: with no counts the term is zero.
    a = jnp.where(mask, concentration, 1.0)
    k = jnp.where(mask, counts, 0.0)
    total = jnp.where(mask, concentration, 0.0).sum(axis=-1)
    total = jnp.where(mask.any(axis=-1), total, 1.0)
    return log_rising(a, k).sum(axis=-1) - log_rising(total, k.sum(axis=-1))


MEAN_SCALE = 0.1
"""Scale of what no answer tells of a question's logits, their mean; it changes no result.

About as wide as what the answers leave of the contrasts, so that the sampler meets one
scale in all directions: with 1 it needed four times the steps.
"""


def question_error_density(
    error: Float[jax.Array, "question option"],
    tau: Float[jax.Array, ""],
    exists: Bool[jax.Array, "question option"],
) -> Float[jax.Array, ""]:
    """Log density of N(0, τ²) errors in what the answers see of them, up to a constant.

    Adding a constant to a question's logits changes no share. Only the contrasts between
    its options are N(0, τ²); their mean is N(0, ``MEAN_SCALE``²) and options that only pad
    the block are standard normal. With τ in those too the sampler would learn τ from its own noise.
    """
    n_options = exists.sum(axis=1, keepdims=True)
    inside = jnp.where(exists, error, 0.0)
    mean = inside.sum(axis=1, keepdims=True) / jnp.maximum(n_options, 1)
    contrast = jnp.where(exists, error - mean, 0.0)
    n_contrasts = jnp.maximum(n_options - 1, 0).sum()
    return (
        -0.5 * jnp.square(contrast / tau).sum()
        - n_contrasts * jnp.log(tau)
        - 0.5 * jnp.square(mean / MEAN_SCALE).sum()
        - 0.5 * jnp.square(jnp.where(exists, 0.0, error)).sum()
    )


SPREAD = dist.LogNormal(jnp.log(0.12), 0.7)
"""Prior of how much groups differ, on the log-share scale: 0.04 to 0.4 with 90 %.

It keeps away from zero, where effects sampled around their own mean would get stuck.
"""


def dirichlet_regression(data: RegressionData) -> None:
    """Between/within Dirichlet-multinomial regression with question error.

        η_ic = Σ_j [ β^between_gj m_qjc + β^within_gj (ℓ_ijc − m_qjc) ]
               + γ1_g z_c + γ2_g (z_c² − mean) + u_qc
        k_i ~ DirichletMultinomial(n_i, φ · softmax(η_i)),   u_qc ~ N(0, τ²)

    The question error is sampled centred on the regression of the question, as
    ``question_logit`` = population slopes · m + population scale terms + u: the many answers to
    a question determine it sharply, and the slopes are then a linear regression on it.
    """
    n_sources, n_groups = data.probs.shape[0], data.group_number.shape[0]
    # Several sources share the weight that one would have had.
    with numpyro.plate("source", n_sources):
        beta_between = numpyro.sample("beta_between", dist.Normal(0.8 / n_sources, 0.5))
        log_floor = numpyro.sample("log_floor", dist.Normal(jnp.log(0.02), 1.0))
    scale_linear = numpyro.sample("scale_linear", dist.Normal(0.0, 1.0))
    scale_curve = numpyro.sample("scale_curve", dist.Normal(0.0, 2.0))
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    phi = numpyro.sample("phi", dist.LogNormal(jnp.log(60.0), 1.0))

    parts = design(data, log_floor)
    line = (
        (beta_between[:, None, None] * parts.between).sum(axis=0)
        + scale_linear * data.place
        + scale_curve * data.curve
    )
    real = dist.constraints.independent(dist.constraints.real, 2)
    question_logit = numpyro.sample(
        "question_logit", dist.ImproperUniform(real, (), event_shape=line.shape)
    )
    exists = data.mask.any(axis=1)
    numpyro.factor("question_error", question_error_density(question_logit - line, tau, exists))
    logits = question_logit[:, None, :]

    # With one group there is neither a deviation to weigh nor a group to differ.
    if n_groups > 1:
        with numpyro.plate("source", n_sources):
            beta_within = numpyro.sample("beta_within", dist.Normal(0.5 / n_sources, 0.5))
            sd_between = numpyro.sample("sd_between", SPREAD)
            sd_within = numpyro.sample("sd_within", SPREAD)
        sd_linear = numpyro.sample("sd_scale_linear", SPREAD)
        sd_curve = numpyro.sample("sd_scale_curve", SPREAD)
        # What all groups have in common belongs to the question's logits; left in the
        # groups' deviations too it would be told twice, and the sampler would crawl along
        # the ridge between the two.
        groups = (n_groups,)
        off_linear = numpyro.sample("off_scale_linear", dist.ZeroSumNormal(sd_linear, groups))
        # Curves differ little and are known poorly: sampled in units of their spread.
        off_curve = sd_curve * numpyro.sample("off_scale_curve", dist.ZeroSumNormal(1.0, groups))
        with numpyro.plate("source", n_sources):
            off_between = numpyro.sample("off_between", dist.ZeroSumNormal(sd_between, groups))
            within = dist.Normal(beta_within[:, None], sd_within[:, None])
            within_group = numpyro.sample(
                "beta_within_group", within.expand((n_sources, n_groups)).to_event(1)
            )
        numpyro.deterministic("beta_between_group", beta_between[:, None] + off_between)
        numpyro.deterministic("scale_linear_group", scale_linear + off_linear)
        numpyro.deterministic("scale_curve_group", scale_curve + off_curve)
        # Products and sums instead of contractions: these would be many tiny matrix products.
        effects = jnp.concatenate([off_between, within_group, off_linear[None], off_curve[None]])[
            :, data.group
        ]
        logits = (
            logits
            + (effects[:n_sources, ..., None] * parts.between[:, :, None, :]).sum(axis=0)
            + (effects[n_sources:-2, ..., None] * parts.within).sum(axis=0)
            + effects[-2, ..., None] * data.place[:, None, :]
            + effects[-1, ..., None] * data.curve[:, None, :]
        )
    shares = jax.nn.softmax(jnp.where(data.mask, logits, -1e30), axis=-1)
    concentration = phi * shares
    kernel = dirichlet_multinomial_kernel(data.counts, concentration, data.mask)
    numpyro.factor("answers", kernel.sum())
    # Read off kept draws only; during sampling nothing needs them and they cost nothing.
    numpyro.deterministic(
        "log_likelihood",
        dirichlet_multinomial_log_density(data.counts, concentration, data.mask),
    )
    numpyro.deterministic("mean_shares", shares)
