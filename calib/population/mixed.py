"""Mixed subjects: predictions of groups brought together with answers of some people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from calib.draws import GroupShares
from calib.errors import DataError, Fault, FitError
from calib.population.human import Human
from calib.population.linear import (
    Answers,
    Moments,
    moments,
    remaining,
    surprise,
    update,
    worth,
)
from calib.rules import CELL_KEY, QUESTION_KEY


class Combined(NamedTuple):
    """Shares by prediction and people together."""

    table: pd.DataFrame
    shares: GroupShares
    """Joint draws of them, within [0, 1] and of sum one, to be added up further."""
    surprise: float
    """Mean squared distance of the answers from the predictions, in units of what these
    expect: 1 if they know their errors, above if they are too sure; NaN without answers."""
    too_sure: bool
    """Whether so large a surprise has a chance below ``SIGNIFICANT`` otherwise."""
    widened: float
    """By how much the variance of the prediction's errors was multiplied."""
    counts: dict[str, int]


SIGNIFICANT: Final = 0.001
MOST_WIDENED: Final = 1e4


class Worth(NamedTuple):
    """Respondents to whom what is known of a cell is equal."""

    total: float
    """All that is known: the prediction, the cell's own people, those of other groups."""
    llm: float
    """The prediction: what it adds to the cell's own people alone."""


def combine(
    predicted: GroupShares,
    human: Human,
    *,
    level: float = 0.9,
    widen: bool = False,
    seed: int = 0,
) -> Combined:
    """Update predicted shares with human answers to some cells.

    The best linear estimate over all cells of a question, from the means and covariances of
    their draws (``calib.population.linear``): a group's answers move the other groups of
    their question as far as these share its error. It never expects a larger squared error
    than the human shares alone have, for these are a linear estimate too; all of it under
    the prediction's own account of its errors. Where that is false (an overconfident
    prediction), so are these intervals. The answers tell: ``surprise`` says how far from the
    predictions they lie. ``calib.population.ppi`` does not rely on predictions.

    A number of respondents is worth: the sample whose expected sampling variance is the
    variance that is left, n = Σ_c E[θ_c(1 − θ_c)] / Σ_c Var(θ_c | all). Of it,

    - ``n_human`` are the cell's own effective respondents, 0 where nobody was asked;
    - ``n_llm`` is what the prediction adds to these;
    - ``n_others`` is what answers of the question's other groups add to both.

    Parameters
    ----------
    predicted
        Joint draws.
    human
        From ``calib.population.human``, of the rows of ``predicted``.
    level
        Probability of the interval.
    widen
        Multiply the variance of all the prediction's errors by the one factor, from 1 up, that
        brings the surprise to 1: the answers tell how far predictions are to be trusted.
    seed
        Of the sampling errors that draws are given.

    Returns
    -------
    One row per cell and option: the keys, ``p_cal`` (the prediction's mean), ``p_human``,
    ``p_comb`` with its interval, ``n_human``, ``n_llm``, ``n_others`` and ``n_total``. Cells
    without prediction are left out (``cells_without_prediction``); what linear estimates and
    their draws leave outside of [0, 1] is clipped and closed, and counted.

    Raises
    ------
    DataError
        Where ``predicted`` has no draws.
    FitError
        Where no widening up to ``MOST_WIDENED`` brings predictions near the answers.
    """
    from scipy.stats import chi2
    from threadpoolctl import threadpool_limits

    if not predicted.joint:
        raise DataError(
            Fault(
                "predictions are updated by joint draws of them",
                "a table of points",
                "name the file of calib predict --draws, or take --method ppi",
            )
        )
    there = ~np.isnan(predicted.draws[0])
    known, shares, n = predicted.known(), human.shares[there], human.n[there]
    keys = known.keys
    rng = np.random.default_rng(seed)
    draws = known.draws.copy()
    cell = keys.groupby(CELL_KEY, sort=False).ngroup().to_numpy()
    # Many small matrices: threads would wait for one another.
    with threadpool_limits(1):
        questions = [
            _question(rows, draws, cell, shares, n)
            for rows in keys.groupby(QUESTION_KEY, sort=True).indices.values()
        ]
        squared, freedom = _surprise(questions, 1.0)
        factor = _widening(questions) if widen else 1.0
        worths: dict[int, Worth] = {}
        for one in questions:
            worths |= _worths(one, one.prior.widened(factor))
            if one.answers:
                draws[:, one.rows] = update(
                    draws[:, one.rows], list(one.answers.values()), rng, widen=factor
                )
            elif factor > 1:
                draws[:, one.rows] = one.prior.mean + np.sqrt(factor) * (
                    draws[:, one.rows] - one.prior.mean
                )
    mean = draws.mean(axis=0)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    outside = (mean < 0) | (mean > 1)
    closed = _closed(draws, cell)
    total = np.array([worths[number].total for number in cell.tolist()])
    llm = np.array([worths[number].llm for number in cell.tolist()])
    own = np.nan_to_num(n)
    table = keys.assign(
        p_cal=known.point,
        p_human=shares,
        p_comb=_closed(mean[None], cell)[0],
        p_comb_lo=np.clip(low, 0.0, 1.0),
        p_comb_hi=np.clip(high, 0.0, 1.0),
        n_human=own,
        n_llm=llm,
        n_others=total - own - llm,
        n_total=total,
    )
    counts = {
        **human.counts,
        "cells": len(worths),
        "cells_without_prediction": len(predicted.keys[~there].drop_duplicates(CELL_KEY)),
        "cells_with_a_share_clipped_to_0_or_1": len(np.unique(cell[outside])),
        "shares_of_draws_clipped_to_0_or_1": int(((draws < 0) | (draws > 1)).sum()),
    }
    return Combined(
        table,
        GroupShares(keys, closed, joint=True),
        squared / freedom if freedom else np.nan,
        bool(freedom and chi2.sf(squared, freedom) < SIGNIFICANT),
        factor,
        counts,
    )


class _Question(NamedTuple):
    """A question's rows, and its cells by their number among all."""

    rows: Int[np.ndarray, " row"]
    prior: Moments
    cells: dict[int, Int[np.ndarray, " option"]]
    """Where each cell's options stand among the question's rows."""
    answers: dict[int, Answers]


def _question(
    rows: Int[np.ndarray, " row"],
    draws: Float[np.ndarray, "draw every"],
    cell: Int[np.ndarray, " every"],
    shares: Float[np.ndarray, " every"],
    n: Float[np.ndarray, " every"],
) -> _Question:
    cells = {
        number: np.flatnonzero(cell[rows] == number) for number in np.unique(cell[rows]).tolist()
    }
    answers = {
        number: Answers(at, shares[rows[at]], float(n[rows[at[0]]]))
        for number, at in cells.items()
        if not np.isnan(n[rows[at[0]]])
    }
    return _Question(rows, moments(draws[:, rows]), cells, answers)


def _surprise(questions: Sequence[_Question], factor: float) -> tuple[float, int]:
    """Over all answers, if the variance of errors is ``factor`` times that of the draws."""
    found = [
        surprise(one.prior.widened(factor), list(one.answers.values()))
        for one in questions
        if one.answers
    ]
    return float(sum(one for one, _ in found)), sum(freedom for _, freedom in found)


def _widening(questions: Sequence[_Question]) -> float:
    """The factor, from 1 up, at which the surprise is 1; ``FitError`` where none is."""
    from scipy.optimize import brentq

    def excess(log_factor: float) -> float:
        squared, freedom = _surprise(questions, float(np.exp(log_factor)))
        return squared - freedom

    if excess(0.0) <= 0:
        return 1.0
    if excess(np.log(MOST_WIDENED)) > 0:
        raise FitError(
            "answers are near predictions of which the errors are up to "
            f"{MOST_WIDENED:g} times as large; these are further off; check that the options of "
            "HUMAN and PREDICTIONS are the same, or take --method ppi"
        )
    return float(np.exp(brentq(excess, 0.0, np.log(MOST_WIDENED), xtol=1e-6)))


def _worths(question: _Question, prior: Moments) -> dict[int, Worth]:
    """Of each cell of a question, given the answers of all and its own alone."""
    answered = [(one.rows, one.n) for one in question.answers.values()]
    left = remaining(prior, answered) if answered else prior.covariance
    found = {}
    for number, rows in question.cells.items():
        own, n = prior.covariance, 0.0
        if number in question.answers:
            n = question.answers[number].n
            own = remaining(prior, [(rows, n)])
        spread = prior.spread[rows]
        total = worth(spread, np.diag(left)[rows])
        found[number] = Worth(total, worth(spread, np.diag(own)[rows]) - n)
    return found


def _closed(
    draws: Float[np.ndarray, "draw row"], cell: np.ndarray
) -> Float[np.ndarray, "draw row"]:
    """Draws clipped to [0, 1] and divided by the sum of their cell."""
    kept = np.clip(draws, 0.0, 1.0)
    total = np.zeros((len(kept), cell.max() + 1))
    np.add.at(total.T, cell, kept.T)
    closed: np.ndarray = kept / total[:, cell]
    return closed
