"""The Dirichlet regression as a NumPyro model: a plain function of data.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
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


def log_gamma(x: Float[jax.Array, "*batch"]) -> Float[jax.Array, "*batch"]:
    """log Γ(x) for x > 0 from logarithms alone, to some 1e-14 relative.

    Γ(x) = Γ(x+8) / (x (x+1) … (x+7)) and Stirling's series at x+8 (Abramowitz and Stegun
    6.1.15, 6.1.41). JAX's own log-gamma and its derivative took most of a fit's time; this
    one and its derivative are a few vectorised operations.
    """
    y = x + _SHIFT
    rising = x
    for step in range(1, _SHIFT):
        rising = rising * (x + step)
    inverse = 1.0 / y
    square = inverse * inverse
    series = jnp.zeros_like(x)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    return (y - 0.5) * jnp.log(y) - y + 0.5 * jnp.log(2 * jnp.pi) + series * inverse - jnp.log(rising)


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
    # Off the mask any positive value will do: the terms are dropped, gradients included.
    a = jnp.where(mask, concentration, 1.0)
    k = jnp.where(mask, counts, 0.0)
    offered = mask.any(axis=-1)
    total_a = jnp.where(offered, jnp.where(mask, a, 0.0).sum(axis=-1), 1.0)
    n = k.sum(axis=-1)
    terms = log_gamma(k + a) - log_gamma(a) - log_gamma(k + 1.0)
    constant = log_gamma(total_a) + log_gamma(n + 1.0) - log_gamma(n + total_a)
    return constant + jnp.where(mask, terms, 0.0).sum(axis=-1)


def dirichlet_regression(data: RegressionData) -> None:
    """Between/within Dirichlet-multinomial regression with question error (DESIGN of the model).

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
        jnp.einsum("j,jqo->qo", beta_between, parts.between)
        + scale_linear * data.place
        + scale_curve * data.curve
    )
    question_logit = numpyro.sample("question_logit", dist.Normal(line, tau).to_event(2))
    logits = question_logit[:, None, :]

    # With one group there is neither a deviation to weigh nor a group to differ.
    if n_groups > 1:
        with numpyro.plate("source", n_sources):
            beta_within = numpyro.sample("beta_within", dist.Normal(0.5 / n_sources, 0.5))
            sd_between = numpyro.sample("sd_between", dist.HalfNormal(0.2))
            sd_within = numpyro.sample("sd_within", dist.HalfNormal(0.2))
        sd_linear = numpyro.sample("sd_scale_linear", dist.HalfNormal(0.3))
        sd_curve = numpyro.sample("sd_scale_curve", dist.HalfNormal(0.5))
        # What all groups have in common belongs to the question's logits; left in the
        # groups' deviations too it would be told twice, and the sampler would crawl along
        # the ridge between the two.
        deviation = dist.ZeroSumNormal(1.0, (n_groups,))
        raw_linear = numpyro.sample("raw_scale_linear", deviation)
        raw_curve = numpyro.sample("raw_scale_curve", deviation)
        with numpyro.plate("source", n_sources):
            raw_between = numpyro.sample("raw_between", deviation)
            raw_within = numpyro.sample("raw_within", deviation)
        off_between = sd_between[:, None] * raw_between
        within_group = beta_within[:, None] + sd_within[:, None] * raw_within
        off_linear, off_curve = sd_linear * raw_linear, sd_curve * raw_curve
        numpyro.deterministic("beta_between_group", beta_between[:, None] + off_between)
        numpyro.deterministic("beta_within_group", within_group)
        numpyro.deterministic("scale_linear_group", scale_linear + off_linear)
        numpyro.deterministic("scale_curve_group", scale_curve + off_curve)
        effects = jnp.concatenate(
            [off_between, within_group, off_linear[None], off_curve[None]]
        ).T[data.group]
        logits = (
            logits
            + jnp.einsum("qsj,jqo->qso", effects[..., :n_sources], parts.between)
            + jnp.einsum("qsj,jqso->qso", effects[..., n_sources:-2], parts.within)
            + effects[..., -2, None] * data.place[:, None, :]
            + effects[..., -1, None] * data.curve[:, None, :]
        )
    shares = jax.nn.softmax(jnp.where(data.mask, logits, -1e30), axis=-1)
    density = dirichlet_multinomial_log_density(data.counts, phi * shares, data.mask)
    numpyro.factor("answers", density.sum())
    numpyro.deterministic("log_likelihood", density)
    numpyro.deterministic("mean_shares", shares)
