"""Formulas of the Dirichlet regression, for NumPy and JAX arrays alike.

Fitting evaluates them in JAX at one point of the parameter space, prediction in NumPy for
many draws at once: ``xp`` is ``jax.numpy`` or ``numpy``, and a leading axis of draws, where
there is one, belongs to every parameter.

Cells lie in a block [question, slot]: the groups that were asked a question take its first
slots. So everything that the groups of a question share is a broadcast.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Array = Any

FLOOR: Final = 0.02
"""What is added to elicited shares before the logarithm, where nothing else is known."""


class Covariates(NamedTuple):
    """What the regression knows of each cell before anybody answered."""

    probs: Float[Array, "source question slot option"]
    """Elicited shares; zero off the mask."""
    mask: Bool[Array, "question slot option"]
    """Options that were offered; none in an empty slot."""
    group: Int[Array, "question slot"]
    peers: Float[Array, "question attribute slot"]
    """Takes the mean over the groups of a group's attribute, see ``peer_roots``."""
    place: Float[Array, "question option"]
    """Place on the scale in [-1/2, 1/2]; 0 on nominal scales."""
    curve: Float[Array, "question option"]
    """Squared place less its mean over the question."""
    shape: Int[Array, " question"]
    """Number of the question's scale shape: ordered or not, and how many options."""
    label: Int[Array, "question option"]
    """Number of the option's label among those that recur over questions; 0: it does not."""


class Design(NamedTuple):
    """The LLM's log shares split into what groups share and how they differ."""

    between: Float[Array, "*draw source question option"]
    """Mean over the groups of a question."""
    within: Float[Array, "*draw source question slot option"]
    """What is the group's own: less the mean over the groups of its attribute."""
    contradiction: Float[Array, "*draw source question slot option"]
    """That mean less the question's; the same for all groups of an attribute."""


class Common(NamedTuple):
    """Parameters of the question's mean: what holds for all groups."""

    beta_between: Float[Array, "*draw source"]
    scale_linear: Float[Array, "*draw"]
    scale_curve: Float[Array, "*draw"]
    shape_logit: Float[Array, "*draw shape option"]
    label_logit: Float[Array, "*draw label"]
    """Zero at label 0."""


class GroupEffects(NamedTuple):
    """Parameters of a group's deviation from the question's mean."""

    beta_within: Float[Array, "*draw source"]
    """The population's slope on a group's own deviation."""
    beta_contradiction: Float[Array, "*draw source"]
    """Slope on what the groups of an attribute have in common."""
    off_between: Float[Array, "*draw group"]
    off_within: Float[Array, "*draw group"]
    off_linear: Float[Array, "*draw group"]
    off_curve: Float[Array, "*draw group"]
    """How the group's slopes and scale terms differ from the population's; its slopes on
    what the sources say on average, for of each source's the answers would tell too little."""


def design(xp: Any, data: Covariates, log_floor: Float[Array, "*draw source"]) -> Design:
    """ℓ = u(ε) log(p + ε) centred over the options of a cell: mean over groups, and groups' own.

    ε is learnt, and u(ε) keeps the step from a share of 0 to one of 1 as long as it is at
    ``FLOOR``: slopes then mean the same whatever ε is. With ε alone a small slope and a large
    floor say nearly the same, and a sampler crawls between the two.

    The groups of an attribute are all respondents, whichever the attribute. Where an LLM's
    mean over the groups of one attribute differs from that over all, it contradicts itself:
    an attribute's groups at hand, where there are two or more, share this part of their
    deviation, and it is told apart from what is the group's own.
    """
    floor = xp.exp(log_floor)[..., None, None, None]
    logs = xp.where(data.mask, log_share_unit(xp, floor) * xp.log(data.probs + floor), 0.0)
    centre = logs.sum(axis=-1, keepdims=True) / xp.maximum(data.mask.sum(axis=-1, keepdims=True), 1)
    logs = xp.where(data.mask, logs - centre, 0.0)
    between = logs.sum(axis=-2) / xp.maximum(data.mask.sum(axis=1), 1)
    within = xp.where(data.mask, logs - between[..., None, :], 0.0)
    of_attribute = xp.matmul(data.peers, within)
    contradiction = xp.matmul(xp.swapaxes(data.peers, -1, -2), of_attribute)
    own, shared = (
        xp.where(data.mask, part, 0.0) for part in (within - contradiction, contradiction)
    )
    return Design(between, own, shared)


def log_share_unit(xp: Any, floor: Any) -> Any:
    """u(ε) = log(1 + 1/ε₀) / log(1 + 1/ε), with ε₀ = ``FLOOR``."""
    return math.log1p(1.0 / FLOOR) / xp.log1p(1.0 / floor)


def peer_roots(
    attribute: Int[np.ndarray, "question slot"], mask: Bool[np.ndarray, "question slot option"]
) -> Float[np.ndarray, "question attribute slot"]:
    """R with RᵀR the mean over a question's groups of the same attribute.

    A matrix of slots by slots would have as many numbers as the groups of a question squared.
    Zero for a group that is alone in its attribute, and in empty slots.
    """
    asked = np.asarray(mask.any(axis=2))
    number = np.arange(attribute.max(initial=0) + 1)
    alike = (attribute[:, None, :] == number[:, None]) & asked[:, None, :]
    count = alike.sum(axis=2, keepdims=True)
    return np.where(count > 1, alike / np.sqrt(np.maximum(count, 1)), 0.0)


def question_mean(
    xp: Any, data: Covariates, parts: Design, common: Common
) -> Float[Array, "*draw question option"]:
    """Expected shares of a question over its groups; zero where no group was offered an option.

    softmax(Σ_j β^between_j m_qjc + γ1 z_c + γ2 (z_c² − mean) + γ_shape(q),c + γ_label(c))
    """
    line = (
        (common.beta_between[..., None, None] * parts.between).sum(axis=-3)
        + common.scale_linear[..., None, None] * data.place
        + common.scale_curve[..., None, None] * data.curve
        + common.shape_logit[..., data.shape, :]
        + common.label_logit[..., data.label]
    )
    return softmax(xp, line, data.mask.any(axis=1))


def deviation(
    xp: Any, data: Covariates, parts: Design, effects: GroupEffects
) -> Float[Array, "*draw question slot option"]:
    """What a group adds to the logits of its question, d the group's own log share.

    With a what the groups of its attribute have in common:
    Σ_j β^within_j d_ijc + Σ_j β^contradiction_j a_ijc + off^between_g mean_j m_qjc
    + off^within_g mean_j d_ijc + off1_g z_c + off2_g (z_c² − mean)
    """
    # One look-up; products and sums in place of contractions, which would be many tiny
    # matrix products.
    stacked = xp.stack(
        [effects.off_between, effects.off_within, effects.off_linear, effects.off_curve],
        axis=-2,
    )[..., data.group, None]
    between, within, linear, curve = (stacked[..., part, :, :, :] for part in range(4))
    return (
        _of_sources(xp, effects.beta_within, parts.within)
        + _of_sources(xp, effects.beta_contradiction, parts.contradiction)
        + between * parts.between.mean(axis=-3)[..., None, :]
        + within * parts.within.mean(axis=-4)
        + linear * data.place[:, None, :]
        + curve * data.curve[:, None, :]
    )


def _of_sources(
    xp: Any,
    slope: Float[Array, "*draw source"],
    part: Float[Array, "*draw source question slot option"],
) -> Float[Array, "*draw question slot option"]:
    """Σ_j slope_j part_j.

    JAX makes one loop of product and sum, and of a contraction many tiny matrix products;
    NumPy goes through the memory twice unless it is called a contraction.
    """
    if xp is np:
        contracted: np.ndarray = np.einsum("...j,...jqsc->...qsc", slope, part)
        return contracted
    return (slope[..., None, None, None] * part).sum(axis=-4)


def softmax(
    xp: Any, logits: Float[Array, "*batch option"], mask: Bool[Array, "*cell option"]
) -> Float[Array, "*batch option"]:
    """Shares over the options of the mask, zero off it and where nothing is on it."""
    highest = xp.where(mask, logits, -xp.inf).max(axis=-1, keepdims=True)
    highest = xp.where(mask.any(axis=-1, keepdims=True), highest, 0.0)
    weights = xp.where(mask, xp.exp(xp.where(mask, logits - highest, 0.0)), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / xp.where(total > 0, total, 1.0)
