"""The Dirichlet regression as a NumPyro model: a plain function of data.

Importing this module loads JAX; ``calib.dirichlet`` does so inside a fit only.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Float, Int

from calib.densities import dirichlet_logit_density, dirichlet_multinomial_kernel
from calib.formulas import (
    SHAPE_SPREAD,
    Array,
    Common,
    Covariates,
    GroupEffects,
    design,
    deviation,
    question_mean,
    softmax,
)
from calib.starting import Known, QuestionStart


class RegressionData(NamedTuple):
    """Arrays of one fit, padded so that folds of one table share their shapes."""

    covariates: Covariates
    counts: Float[Array, "question slot option"]
    """Effective human answers; zero in empty slots, which then have no likelihood."""
    group_number: Int[Array, " group"]
    shape_number: Int[Array, " shape"]
    label_number: Int[Array, " label"]
    """0, 1, …: carry the numbers of groups, scale shapes and recurrent labels as shapes."""
    about: QuestionStart
    known: Known
    """What is known of questions and effects before: units for the sampler, no information."""


SPREAD = dist.Gamma(3.0, 20.0)
"""Prior of how much groups differ, on the log-share scale: 0.04 to 0.31 with 90 %.

It keeps away from zero, where effects would get stuck, and has a short tail: slopes on an
LLM that says nearly the same of every question could otherwise differ without bound.
"""

SLOPE_SPREAD = float(__import__("os").environ.get("SS", "0.5"))
SHARING = float(__import__("os").environ.get("SH", "0.5"))
LABEL_SPREAD = dist.Gamma(3.0, 10.0)
"""Prior of how much options of one label have in common, as a logit: 0.08 to 0.63."""

SPREAD_OF = {"label_unit": ("sd_label", LABEL_SPREAD)} | {
    f"off_{part}": (f"sd_{part}", SPREAD) for part in Known._fields
}
"""Of sites that are standard normal in units of their spread: the spread and its prior."""


def dirichlet_regression(data: RegressionData) -> None:
    """Between/within Dirichlet-multinomial regression with question error.

        s_q = softmax(Σ_j β^between_j m_qjc + γ1 z_c + γ2 (z_c² − mean)
                      + γ_shape(q),c + γ_label(c))
        θ_q ~ Dirichlet(κ s_q)
        η_ic = log θ_qc + Σ_j β^within_j d_ijc + off^between_g mean_j m_qjc
               + off^within_g mean_j d_ijc + off1_g z_c + off2_g (z_c² − mean)
        k_i ~ DirichletMultinomial(n_i, φ · softmax(η_i))

    The error that a question's groups share is Dirichlet, as that of a cell is: with normal
    errors on logits, an option that hardly anybody takes weighs as much in the slopes as
    one that half take, and held-out questions were predicted worse. Where each question was
    asked of one group only there is nothing to be shared, and k_i ~ DM(n_i, κ softmax(η_i)).
    """
    covariates, about = data.covariates, data.about
    n_sources, (_, n_slots) = covariates.probs.shape[0], covariates.group.shape
    n_groups, n_shapes = data.group_number.shape[0], data.shape_number.shape[0]
    n_labels = data.label_number.shape[0]
    # Several sources share the weight that one would have had, and what is not known of it.
    slope_spread = SLOPE_SPREAD / n_sources**SHARING
    with numpyro.plate("source", n_sources):
        beta_between = numpyro.sample("beta_between", dist.Normal(0.8 / n_sources, slope_spread))
        log_floor = numpyro.sample("log_floor", dist.Normal(jnp.log(0.02), 1.0))
    scale_linear = numpyro.sample("scale_linear", dist.Normal(0.0, 1.0))
    scale_curve = numpyro.sample("scale_curve", dist.Normal(0.0, 2.0))
    # Whatever the mean answer of a shape of scale is beyond a parabola.
    shape_logit = numpyro.sample(
        "shape_logit",
        dist.Normal(0.0, SHAPE_SPREAD).expand((n_shapes, about.logits.shape[1])).to_event(2),
    )
    # What an option's label says beyond its place: labels recur over questions.
    label_logit = jnp.zeros(n_labels)
    if n_labels > 1:
        sd_label = numpyro.sample("sd_label", LABEL_SPREAD)
        label_unit = numpyro.sample("label_unit", dist.Normal().expand((n_labels,)).to_event(1))
        label_logit = sd_label * label_unit * (data.label_number > 0)
        numpyro.deterministic("label_logit", label_logit)
    kappa = numpyro.sample("kappa", dist.LogNormal(jnp.log(15.0), 1.0))

    parts = design(jnp, covariates, log_floor)
    common = Common(beta_between, scale_linear, scale_curve, shape_logit, label_logit)
    mean = question_mean(jnp, covariates, parts, common)
    exists = covariates.mask.any(axis=1)
    if n_slots > 1:
        real = dist.constraints.independent(dist.constraints.real, 2)
        unit = numpyro.sample(
            "question_unit", dist.ImproperUniform(real, (), event_shape=mean.shape)
        )
        # An option that nobody takes has a logit anywhere far down, but not far up: its unit
        # grows downwards, with the derivative of that in the density.
        down = jnp.maximum(-unit, 0.0)
        stretched = unit - 0.5 * about.tail * jnp.square(down)
        numpyro.factor("stretch", jnp.log1p(about.tail * down).sum())
        question_logit = numpyro.deterministic(
            "question_logit", about.logits + (about.unit * stretched[:, None, :]).sum(axis=-1)
        )
        error = dirichlet_logit_density(question_logit, kappa * mean, about.shares, exists)
        numpyro.factor("question_error", error)
        phi = numpyro.sample("phi", dist.LogNormal(jnp.log(60.0), 1.0))
    else:
        question_logit, phi = jnp.log(jnp.where(exists, mean, 1.0)), kappa
    logits = question_logit[:, None, :]
    # With one group there is neither a deviation to weigh nor a group to differ.
    if n_groups > 1:
        effects = _group_effects(common, data.known, n_sources, n_groups)
        logits = logits + deviation(jnp, covariates, parts, effects)
    shares = softmax(jnp, logits, covariates.mask)
    kernel = dirichlet_multinomial_kernel(data.counts, phi * shares, covariates.mask)
    numpyro.factor("answers", kernel.sum())
    # Read off kept draws only; during sampling nothing needs them and they cost nothing.
    numpyro.deterministic("kernel", kernel)
    numpyro.deterministic("mean_shares", shares)


def _group_effects(common: Common, known: Known, n_sources: int, n_groups: int) -> GroupEffects:
    """Slopes and scale terms of the groups around those of the population.

    What all groups have in common belongs to the question; left in the groups' deviations
    too it would be told twice, and the sampler would crawl along the ridge between the two.
    """
    spread, off = {}, {}
    for part, known_part in known._asdict().items():
        spread[part] = numpyro.sample(f"sd_{part}", SPREAD)
        off[part] = _around_zero(f"off_{part}", spread[part], known_part, n_groups)
    with numpyro.plate("source", n_sources):
        slope_spread = SLOPE_SPREAD / n_sources**SHARING
        beta_within = numpyro.sample("beta_within", dist.Normal(0.5 / n_sources, slope_spread))
    between = common.beta_between[:, None] + off["between"] / n_sources
    numpyro.deterministic("beta_between_group", between)
    within = beta_within[:, None] + off["within"] / n_sources
    numpyro.deterministic("beta_within_group", within)
    numpyro.deterministic("scale_linear_group", common.scale_linear + off["scale_linear"])
    numpyro.deterministic("scale_curve_group", common.scale_curve + off["scale_curve"])
    return GroupEffects(beta_within, *off.values())


def _around_zero(
    name: str, spread: Float[Array, ""], known: Float[Array, ""], n_groups: int
) -> Float[Array, " group"]:
    """Normal effects that sum to zero, in units between their own and those of their spread."""
    unit = numpyro.sample(name, dist.ZeroSumNormal(spread**known, (n_groups,)))
    return spread ** (1.0 - known) * unit
