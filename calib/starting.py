"""What is known of the posterior before sampling: where it lies and how far it reaches."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from calib.formulas import Array, Covariates, design
from calib.prior import GROUP_PARTS, Normal, Prior

PRECISION_GUESSED: Final = 80.0
"""Concentration of cells and, a tenth of it, of questions, as far as the start is concerned."""
MANY: Final = 1e12
"""Answers to a question that only pads a block."""
SMALLEST_SHARE: Final = 1e-30
"""Of an option's expectation, where logits are laid out."""
SPREAD_GUESSED: Final = 0.13
"""Median of the prior of how much groups differ, ``calib.prior.general_prior``."""
SMALL_SPREAD: Final = 0.04
"""A small one, the prior's 5 % quantile: where groups hardly differ a sampler gets stuck first."""
LABEL_SPREAD_GUESSED: Final = 0.17
"""Of what options of one label have in common: the prior's lower quartile. Effects of labels
diverged at large spreads in units of their spread, and at small ones in units of the median."""
REACH: Final = {
    "sd_label": 0.3,
    "question_unit": 1.0,
    "sd_between": 0.4,
    "sd_within": 0.3,
    "sd_scale_linear": 0.4,
    "sd_scale_curve": 0.6,
}
"""Reach of what depends little on the table."""


class QuestionStart(NamedTuple):
    """What the human answers say of each question's logits before sampling."""

    shares: Float[Array, "question option"]
    """Human shares pooled over groups, half an answer added to each option; 0 in padding."""
    logits: Float[Array, "question option"]
    """Their logarithms, less the mean under the shares."""
    unit: Float[Array, "question option option"]
    """Root of the logits' rough posterior covariance."""
    tail: Float[Array, "question option"]
    """Skewness of an option's logit: near one where hardly anybody took it, else near zero."""
    answers: Float[Array, " question"]
    """How many answers the human side is worth beside the question's own error; in padding
    more than anything could be beside."""


def question_start(
    counts: Float[np.ndarray, "question slot option"],
    mask: Bool[np.ndarray, "question slot option"],
    mean_scale: float,
) -> QuestionStart:
    """A normal approximation to the posterior of each question's logits.

    The covariance is the inverse of the information about the logits: that of the answers,
    each cell's n counted as n(φ+1)/(n+φ) for its own error, that of a Dirichlet question
    error, and ``mean_scale`` for the mean of the logits, of which no answer tells. In units
    of its root a question's logits are nearly uncorrelated and of one scale, and the sampler
    takes half the steps.
    """
    offered = np.asarray(mask.any(axis=1))
    n = counts.sum(axis=2, keepdims=True)
    effective = counts * (1 + PRECISION_GUESSED) / (n + PRECISION_GUESSED)
    answers = np.where(offered, effective.sum(axis=1) + 0.5, 0.0)
    total = answers.sum(axis=1, keepdims=True)
    shares = answers / np.where(total > 0, total, 1.0)
    logs = np.log(np.where(offered, shares, 1.0))
    logits = np.where(offered, logs - (shares * logs).sum(axis=1, keepdims=True), 0.0)
    information = np.empty((*logits.shape, logits.shape[1]))
    for q, (share, exists) in enumerate(zip(shares, offered.astype(float), strict=True)):
        information[q] = (
            (total[q] + PRECISION_GUESSED / 10) * (np.diag(share) - np.outer(share, share))
            # Options that hardly anybody takes: no wider than the prior makes them.
            + 0.5 * np.diag(exists)
            + np.outer(share, share) / mean_scale**2
            + np.diag(1.0 - exists)
        )
    return QuestionStart(
        shares=shares,
        logits=logits,
        unit=np.linalg.cholesky(np.linalg.inv(information)),
        tail=np.where(offered, 1.0 / (1.0 + answers), 0.0),
        answers=np.where(offered.any(axis=1), total[:, 0], MANY),
    )


def question_told(
    xp: Any,
    about: QuestionStart,
    kappa: Float[Array, ""],
    mean: Float[Array, "question option"],
) -> tuple[Float[Array, "question option"], Float[Array, " question"]]:
    """Where a question's logits lie given their expectation, and their width in units of ``unit``.

    An answer and one of the κ of the Dirichlet error tell the same of them: between what people
    said and what is expected they lie as n to κ, with a variance as 1 / (n + κ). Where κ is
    much beside the answers their place and width follow it, and a sampler that took the
    answers' alone would crawl along a funnel; the density of logits and κ together would have
    its mode at an error of zero.
    """
    of_error = kappa / (about.answers + kappa)
    logs = xp.log(xp.where(about.shares > 0, xp.maximum(mean, SMALLEST_SHARE), 1.0))
    expected = logs - (about.shares * logs).sum(axis=1, keepdims=True)
    expected = xp.where(about.shares > 0, expected, 0.0)
    centre = about.logits + of_error[:, None] * (expected - about.logits)
    guessed = about.answers + PRECISION_GUESSED / 10
    return centre, xp.sqrt(guessed / (about.answers + kappa))


def stretch(
    xp: Any, unit: Float[Array, "question option"], tail: Float[Array, "question option"]
) -> tuple[Float[Array, "question option"], Float[Array, "question option"]]:
    """What a question's units stand for, and the logarithm of how fast it grows with them.

    An option that hardly anybody takes has a logit anywhere far down, but not far up: it grows
    by 1 + tail (√(1 + u²) − u) / 2, which is about 1 upwards and 1 + tail |u| downwards. Smooth
    everywhere: with max(−u, 0) the density had a ridge at zero, where a search for the mode
    ended though there was none.
    """
    root = xp.sqrt(1.0 + xp.square(unit))
    grown = (unit * root + xp.arcsinh(unit) - xp.square(unit)) / 4.0
    return unit + tail * grown, xp.log1p(tail * (root - unit) / 2.0)


class Known(NamedTuple):
    """How much of each group's or label's effect the answers tell, beside the prior: 0 to 1.

    Effects sampled around their own mean get stuck where little is known of them, effects
    in units of their spread where much is; between the two the best is in between
    (Papaspiliopoulos, Roberts and Sköld 2007, doi:10.1214/088342307000000014).
    """

    between: Float[Array, ""]
    within: Float[Array, ""]
    scale_linear: Float[Array, ""]
    scale_curve: Float[Array, ""]
    label: Float[Array, "*label"]


class Information(NamedTuple):
    """Fisher information about the coefficient of a covariate, at the human shares."""

    of_questions: Float[np.ndarray, "*source"]
    """Sum over questions, each worth as many answers as its error leaves."""
    of_groups: Float[np.ndarray, "*source"]
    """Mean over groups of the sum over a group's cells."""


def information(
    covariates: Covariates,
    counts: Float[np.ndarray, "question slot option"],
    about: QuestionStart,
    prior: Prior,
    n_groups: int,
) -> dict[str, Information]:
    """Information about the coefficients of each part of the regression.

    A cell of n answers tells of the coefficient of x as n(φ+1)/(n+φ) · Var(x), the variance
    over options under the human shares; a question's mean at most as κ · Var(x).
    """
    parts = design(np, covariates, prior.log_floor.loc)
    n = counts.sum(axis=-1)
    effective = n * (1 + PRECISION_GUESSED) / (n + PRECISION_GUESSED)

    def of(values: np.ndarray) -> Information:
        share = about.shares[:, None, :]
        mean = (share * values).sum(axis=-1)
        variance = (share * np.square(values)).sum(axis=-1) - np.square(mean)
        told = (effective * np.maximum(variance, 0.0)).sum(axis=(-2, -1)) / n_groups
        asked = np.maximum((n > 0).sum(axis=-1), 1)
        of_question = (np.where(n > 0, variance, 0.0).sum(axis=-1) / asked).sum(axis=-1)
        return Information(of_question * PRECISION_GUESSED / 10, told)

    return {
        "between": of(parts.between.mean(axis=0)[:, None, :]),
        "within": of(parts.within.mean(axis=0)),
        "scale_linear": of(covariates.place[:, None, :]),
        "scale_curve": of(covariates.curve[:, None, :]),
        "beta_between": of(parts.between[:, :, None, :]),
        "beta_within": of(parts.within),
        "beta_contradiction": of(parts.contradiction),
    }


def label_information(
    covariates: Covariates, about: QuestionStart, n_labels: int
) -> Float[np.ndarray, " label"]:
    """Information about the logit that options of a label share: at most κ Var(x) a question.

    None of label 0, of options whose label does not recur, and of padding.
    """
    variance = about.shares * (1.0 - about.shares)
    told = np.bincount(covariates.label.ravel(), variance.ravel(), n_labels)
    told[0] = 0.0
    return told * PRECISION_GUESSED / 10


def slope_covariance(
    covariates: Covariates,
    counts: Float[np.ndarray, "question slot option"],
    about: QuestionStart,
    prior: Prior,
) -> dict[str, Float[np.ndarray, "source source"]]:
    """About the posterior covariance of the slopes on several sources; empty for one.

    Sources say much the same: the answers tell of their slopes' sum far more than of each.
    The information is that of ``information``, between sources too.
    """
    if len(covariates.probs) == 1:
        return {}
    parts = design(np, covariates, prior.log_floor.loc)
    n = counts.sum(axis=-1)
    effective = n * (1 + PRECISION_GUESSED) / (n + PRECISION_GUESSED)
    asked = (n > 0).any(axis=-1, keepdims=True) * PRECISION_GUESSED / 10

    def of(values: np.ndarray, weight: np.ndarray, wide: Normal) -> np.ndarray:
        share = about.shares[:, None, :]
        centred = values - (share * values).sum(axis=-1, keepdims=True)
        told = np.einsum("jqsc,kqsc,qsc->jk", centred, centred, weight[..., None] * share)
        covariance: np.ndarray = np.linalg.inv(told + np.diag(wide.scale**-2.0))
        return covariance

    found = {"beta_between": of(parts.between[:, :, None, :], asked, prior.beta_between)}
    if covariates.group.shape[1] > 1:
        found["beta_within"] = of(parts.within, effective, prior.beta_within)
        found["beta_contradiction"] = of(parts.contradiction, effective, prior.beta_contradiction)
    return found


def known_effects(told: dict[str, Information], of_labels: Float[np.ndarray, " label"]) -> Known:
    """Share of what is told in all there is to know: beside the prior at a spread.

    For groups at a small one. Labels that recur over many questions are known well, and in
    units of a large spread a sampler's step would leap over what is known of them.
    """

    def beside(told: Array, spread: float) -> Array:
        return told / (told + spread**-2)

    return Known(
        **{part: beside(told[part].of_groups, SMALL_SPREAD) for part in GROUP_PARTS},
        label=beside(of_labels, LABEL_SPREAD_GUESSED),
    )


NOTHING_KNOWN: Final = Known(*(np.array(0.0) for _ in Known._fields))
"""Effects in units of their spread. Their joint density has a mode, which that of effects
around their own mean has not."""


def start_values(
    covariates: Covariates, prior: Prior, n_groups: int, n_labels: int
) -> dict[str, Any]:
    """A value for each site of ``calib.models.dirichlet_regression``, from its priors."""
    n_questions, n_slots, n_options = covariates.mask.shape
    values: dict[str, Any] = {
        site: getattr(prior, site).loc
        for site in ("beta_between", "log_floor", "scale_linear", "scale_curve", "shape_logit")
    }
    values["kappa"] = np.exp(prior.log_kappa.loc)
    if n_labels > 1:
        values |= {
            "sd_label": np.array(LABEL_SPREAD_GUESSED),
            "label_unit": np.zeros(n_labels),
        }
    if n_slots > 1:
        values |= {
            "phi": np.exp(prior.log_phi.loc),
            "question_unit": np.zeros((n_questions, n_options)),
        }
    if n_groups > 1:
        values |= {
            "beta_within": prior.beta_within.loc,
            "beta_contradiction": prior.beta_contradiction.loc,
            **{f"sd_{part}": np.array(SPREAD_GUESSED) for part in GROUP_PARTS},
            **{f"off_{part}": np.zeros(n_groups) for part in GROUP_PARTS},
        }
    return values


def reach(
    told: dict[str, Information],
    of_labels: Float[np.ndarray, " label"],
    known: Known,
    prior: Prior,
    n_questions: int,
    n_rows: int,
    n_groups: int,
) -> dict[str, Float[np.ndarray, ...]]:
    """About the posterior's standard deviation at each site, where it is unbounded.

    Roughly is enough: the sampler learns the rest in its warm-up.
    """

    def common(part: str) -> np.ndarray:
        return np.asarray((told[part].of_questions + getattr(prior, part).scale ** -2.0) ** -0.5)

    def no_more_than(width: float, wide: Normal) -> np.ndarray:
        return np.asarray(np.minimum(width, wide.scale))

    def of_cells(part: str) -> np.ndarray:
        """Told by all groups' cells."""
        own = getattr(prior, part).scale ** -2.0
        return np.asarray((told[part].of_groups * n_groups + own) ** -0.5)

    def in_units(told: Array, known: Array, spread: float) -> Array:
        """Of effects in the units in which they are sampled."""
        return np.asarray((told + spread**-2) ** -0.5 * spread ** (known - 1.0))

    # The logarithm of a precision has the variance two over the number of contrasts told
    # of it: some two a question or cell, and one for the prior.
    return {
        **{part: common(part) for part in ("beta_between", "scale_linear", "scale_curve")},
        **{part: of_cells(part) for part in ("beta_within", "beta_contradiction")},
        **{
            f"off_{part}": in_units(told[part].of_groups, getattr(known, part), SPREAD_GUESSED)
            for part in GROUP_PARTS
        },
        "label_unit": in_units(of_labels, known.label, LABEL_SPREAD_GUESSED),
        "kappa": no_more_than((n_questions + 1.0) ** -0.5, prior.log_kappa),
        "phi": no_more_than((n_rows + 1.0) ** -0.5, prior.log_phi),
        "log_floor": no_more_than(0.5, prior.log_floor),
        "shape_logit": no_more_than(0.15, prior.shape_logit),
        **{site: np.array(width) for site, width in REACH.items()},
    }
