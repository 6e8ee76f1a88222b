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
    Array,
    Common,
    Covariates,
    GroupEffects,
    design,
    deviation,
    question_mean,
    softmax,
)
from calib.prior import GROUP_PARTS, Prior
from calib.starting import Known, QuestionStart, question_told, stretch


class RegressionData(NamedTuple):
    """Arrays of one fit, padded so that folds of one table share their shapes."""

    covariates: Covariates
    counts: Float[Array, "question slot option"]
    """Effective human answers; zero in empty slots, which then have no likelihood."""
    group_number: Int[Array, " group"]
    label_number: Int[Array, " label"]
    """0, 1, …: carry the numbers of groups and recurrent labels as shapes."""
    prior: Prior
    repeats: Float[Array, ""]
    """Questions that each question stands for: one, but in a portion of a large survey."""
    about: QuestionStart
    known: Known
    """What is known of questions and effects before: units for the sampler, no information."""


SPREAD_OF = {"label_unit": ("sd_label", "label_spread")} | {
    f"off_{part}": (f"sd_{part}", "group_spread") for part in GROUP_PARTS
}
"""Of sites that are standard normal in units of their spread: the spread and its prior."""


def dirichlet_regression(data: RegressionData) -> None:
    """Between/within Dirichlet-multinomial regression with question error.

        s_q = softmax(Σ_j β^between_j m_qjc + γ1 z_c + γ2 (z_c² − mean)
                      + γ_shape(q),c + γ_label(c))
        θ_q ~ Dirichlet(κ s_q)
        η_ic = log θ_qc + Σ_j β^within_j d_ijc + Σ_j β^contradiction_j a_ijc
               + off^between_g mean_j m_qjc + off^within_g mean_j d_ijc
               + off1_g z_c + off2_g (z_c² − mean)
        k_i ~ DirichletMultinomial(n_i, φ · softmax(η_i))

    The error that a question's groups share is Dirichlet, as that of a cell is: with normal
    errors on logits, an option that hardly anybody takes weighs as much in the slopes as
    one that half take, and held-out questions were predicted worse. Where each question was
    asked of one group only there is nothing to be shared, and k_i ~ DM(n_i, κ softmax(η_i)).
    """
    covariates, about = data.covariates, data.about
    n_sources, (_, n_slots) = covariates.probs.shape[0], covariates.group.shape
    n_groups, n_labels = data.group_number.shape[0], data.label_number.shape[0]
    prior = data.prior
    with numpyro.plate("source", n_sources):
        beta_between = numpyro.sample("beta_between", dist.Normal(*prior.beta_between))
        log_floor = numpyro.sample("log_floor", dist.Normal(*prior.log_floor))
    scale_linear = numpyro.sample("scale_linear", dist.Normal(*prior.scale_linear))
    scale_curve = numpyro.sample("scale_curve", dist.Normal(*prior.scale_curve))
    # Whatever the mean answer of a shape of scale is beyond a parabola.
    shape_logit = numpyro.sample("shape_logit", dist.Normal(*prior.shape_logit).to_event(2))
    # What an option's label says beyond its place: labels recur over questions.
    label_logit = jnp.zeros(n_labels)
    if n_labels > 1:
        sd_label = numpyro.sample("sd_label", dist.Gamma(*prior.label_spread))
        known = jnp.broadcast_to(data.known.label, (n_labels,))
        # As the groups' effects: in units between their own and those of their spread.
        label_unit = numpyro.sample("label_unit", dist.Normal(0.0, sd_label**known).to_event(1))
        label_logit = sd_label ** (1.0 - known) * label_unit * (data.label_number > 0)
        numpyro.deterministic("label_logit", label_logit)
    kappa = numpyro.sample("kappa", dist.LogNormal(*prior.log_kappa))

    parts = design(jnp, covariates, log_floor)
    common = Common(beta_between, scale_linear, scale_curve, shape_logit, label_logit)
    mean = question_mean(jnp, covariates, parts, common)
    exists = covariates.mask.any(axis=1)
    if n_slots > 1:
        real = dist.constraints.independent(dist.constraints.real, 2)
        unit = numpyro.sample(
            "question_unit", dist.ImproperUniform(real, (), event_shape=mean.shape)
        )
        stretched, log_stretch = stretch(jnp, unit, about.tail)
        numpyro.factor("stretch", data.repeats * log_stretch.sum())
        centre, width = question_told(jnp, about, kappa, mean)
        numpyro.factor("width", data.repeats * mean.shape[1] * jnp.log(width).sum())
        moved = width[:, None] * (about.unit * stretched[:, None, :]).sum(axis=-1)
        question_logit = numpyro.deterministic("question_logit", centre + moved)
        error = dirichlet_logit_density(question_logit, kappa * mean, about.shares, exists)
        numpyro.factor("question_error", data.repeats * error)
        phi = numpyro.sample("phi", dist.LogNormal(*prior.log_phi))
    else:
        question_logit, phi = jnp.log(jnp.where(exists, mean, 1.0)), kappa
    logits = question_logit[:, None, :]
    # With one group there is neither a deviation to weigh nor a group to differ.
    if n_groups > 1:
        effects = _group_effects(common, prior, data.known, n_groups)
        logits = logits + deviation(jnp, covariates, parts, effects)
    shares = softmax(jnp, logits, covariates.mask)
    kernel = dirichlet_multinomial_kernel(data.counts, phi * shares, covariates.mask)
    numpyro.factor("answers", data.repeats * kernel.sum())
    # Read off kept draws only; during sampling nothing needs them and they cost nothing.
    numpyro.deterministic("kernel", kernel)
    numpyro.deterministic("mean_shares", shares)


def _group_effects(common: Common, prior: Prior, known: Known, n_groups: int) -> GroupEffects:
    """Slopes and scale terms of the groups around those of the population.

    What all groups have in common belongs to the question; left in the groups' deviations
    too it would be told twice, and the sampler would crawl along the ridge between the two.
    """
    off = {}
    for part, expected, known_part in zip(
        GROUP_PARTS, prior.groups, known[: len(GROUP_PARTS)], strict=True
    ):
        spread = numpyro.sample(f"sd_{part}", dist.Gamma(*prior.group_spread))
        # Effects that sum to zero, in units between their own and those of their spread.
        unit = numpyro.sample(f"off_{part}", dist.ZeroSumNormal(spread**known_part, (n_groups,)))
        off[part] = expected + spread ** (1.0 - known_part) * unit
    n_sources = common.beta_between.shape[0]
    with numpyro.plate("source", n_sources):
        beta_within = numpyro.sample("beta_within", dist.Normal(*prior.beta_within))
        beta_contradiction = numpyro.sample(
            "beta_contradiction", dist.Normal(*prior.beta_contradiction)
        )
    between = common.beta_between[:, None] + off["between"] / n_sources
    numpyro.deterministic("beta_between_group", between)
    within = beta_within[:, None] + off["within"] / n_sources
    numpyro.deterministic("beta_within_group", within)
    numpyro.deterministic("scale_linear_group", common.scale_linear + off["scale_linear"])
    numpyro.deterministic("scale_curve_group", common.scale_curve + off["scale_curve"])
    return GroupEffects(beta_within, beta_contradiction, *off.values())
