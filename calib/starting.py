"""What is known of the posterior before sampling: where it lies and how far it reaches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from calib.formulas import Array

PRECISION_GUESSED = 80.0
"""Concentration of cells and, a tenth of it, of questions, as far as the start is concerned."""


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
    offered = mask.any(axis=1)
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
    )


def start_values(
    n_sources: int, n_groups: int, n_shapes: int, n_slots: int, question_shape: tuple[int, int]
) -> dict[str, Any]:
    """A value for each site of ``calib.models.dirichlet_regression``, from its priors."""
    values: dict[str, Any] = {
        "beta_between": np.full(n_sources, 0.8 / n_sources),
        "log_floor": np.full(n_sources, np.log(0.02)),
        "scale_linear": np.array(0.0),
        "scale_curve": np.array(0.0),
        "shape_logit": np.zeros((n_shapes, question_shape[1])),
        "kappa": np.array(15.0),
    }
    if n_slots > 1:
        values |= {"phi": np.array(60.0), "question_unit": np.zeros(question_shape)}
    if n_groups > 1:
        values |= {
            "beta_within": np.full(n_sources, 0.5 / n_sources),
            "sd_between": np.full(n_sources, 0.1),
            "sd_within": np.full(n_sources, 0.15),
            "sd_scale_linear": np.array(0.1),
            "sd_scale_curve": np.array(0.1),
            "off_between": np.zeros((n_sources, n_groups)),
            "beta_within_group": np.full((n_sources, n_groups), 0.5 / n_sources),
            "off_scale_linear": np.zeros(n_groups),
            "off_scale_curve": np.zeros(n_groups),
        }
    return values


def reach(n_questions: int, n_rows: int, n_groups: int) -> dict[str, float]:
    """About the posterior's standard deviation at each site, unbounded; within a factor of 3.

    Measured on simulated surveys of 24 to 200 questions; what the number of questions, of
    rows or of a group's rows tells shrinks with its root.
    """
    question, row = (50 / n_questions) ** 0.5, (700 / n_rows) ** 0.5
    of_group = (50 * n_groups / n_rows) ** 0.5
    widths = {
        "beta_between": 0.08 * question,
        "scale_linear": 0.1 * question,
        "scale_curve": 0.35 * question,
        "kappa": 0.1 * question,
        "phi": 0.05 * row,
        "beta_within": 0.06,
        "off_between": 0.03 * of_group,
        "beta_within_group": 0.06 * of_group,
        "off_scale_linear": 0.05 * of_group,
    }
    # No wider than their priors, however little there is to learn from.
    kept = {site: min(width, 0.3) for site, width in widths.items()}
    return kept | {
        "log_floor": 0.5,
        "shape_logit": 0.15,
        "question_unit": 1.0,
        "sd_between": 0.4,
        "sd_within": 0.3,
        "sd_scale_linear": 0.4,
        "sd_scale_curve": 0.6,
        "off_scale_curve": 1.0,
    }
