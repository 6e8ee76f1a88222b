"""Mixed subjects by design: a survey's shares corrected by predictions, whatever these are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from calib.draws import GroupShares
from calib.errors import DataError, Fault
from calib.population.frame import Frame
from calib.population.human import Human
from calib.population.poststratify import (
    ALL_ATTRIBUTES,
    ESTIMATE_KEY,
    MissingGroups,
    poststratify,
)
from calib.rules import CELL_KEY, QUESTION_KEY

BY = [*QUESTION_KEY, "attribute"]


class Corrected(NamedTuple):
    """Population shares by prediction-powered inference, and what was counted on the way."""

    table: pd.DataFrame
    counts: dict[str, int]


def prediction_powered(
    predicted: GroupShares,
    human: Human,
    frame: Frame,
    *,
    level: float = 0.9,
    missing: MissingGroups = "error",
    power: float | None = None,
) -> Corrected:
    """Population shares from respondents and predictions of their groups.

    Of option c by attribute A, with Y_i whether respondent i chose c, f_i the predicted share
    of the respondent's group and F = Σ_g N_g f_g / Σ_g N_g that of the population:

        θ̂ = λ F + mean(Y − λ f),    Var θ̂ = Var(Y − λ f)/n
        λ = Σ_c Cov(Y, f) / Σ_c Var(f) over respondents, within [0, 1]

    (PPI++: Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453, with the
    predictions of everybody known, N → ∞.) One λ a question and attribute keeps the sum of
    shares at one; at 0, as where predictions do not vary, θ̂ is the human share.

    Right for large n whatever the predictions, if the respondents are a random sample of the
    frame's people, with weights accounted for in ``n_human``: not for quotas by group, nor for
    the prediction made from the same answers. Wald intervals: expect less of them below some
    fifty respondents, or five who chose the option or did not. Estimates may leave [0, 1];
    they are counted. All of the gain comes from the sample having other groups' proportions
    than the population: groups that answer alike leave nothing to gain.

    Parameters
    ----------
    predicted
        Draws or points; only their means are used.
    human
        Of the rows of ``predicted``: the groups' shares and respondents.
    frame
        Sizes of groups; each attribute is an estimate of its own.
    level
        Probability of the normal interval.
    missing
        As ``calib.population.poststratify``; what is left out of the population is left out
        of the sample too (``human_cells_left_out``).
    power
        λ; tuned as above if None, 1 is inference without tuning.

    Returns
    -------
    One row per question, attribute and option: ``p_pop`` (predictions alone, F), ``p_human``
    (the sample alone), ``p_comb`` with its interval, ``lambda``, ``n_human`` and ``n_total``,
    the sample without predictions that would be as precise: n Σ_c Var(Y) / Σ_c Var(Y − λ f).

    Raises
    ------
    DataError
        As ``calib.population.poststratify``, and where no attribute has two respondents.
    """
    from scipy.stats import norm

    population = poststratify(
        GroupShares(predicted.keys, predicted.point[None], joint=False), frame, missing=missing
    ).table
    groups = pd.MultiIndex.from_frame(predicted.keys[["attribute", "group"]])
    there = groups.isin([*frame.sizes]) & ~np.isnan(predicted.point)
    answered = there & ~np.isnan(human.shares)
    cells = predicted.keys[answered].assign(
        y=human.shares[answered], n=human.n[answered], f=predicted.point[answered]
    )
    found = _means(cells).merge(
        population[population["attribute"] != ALL_ATTRIBUTES], on=ESTIMATE_KEY
    )
    few = found["n"] < 2
    if few.all():
        raise DataError(
            Fault(
                "a sample has two respondents",
                f"{found['n'].max():g} in the groups of the frame's attributes",
                "give human answers by an attribute of the frame",
                "n_human",
            )
        )
    found = found[~few].reset_index(drop=True)
    of = found.groupby(BY)
    gained, spread = of["covariance"].transform("sum"), of["var_f"].transform("sum")
    tuned = np.divide(gained, spread, out=np.zeros(len(found)), where=spread.to_numpy() > 0)
    weight = np.clip(tuned, 0.0, 1.0) if power is None else np.full(len(found), power)
    variance = found["var_y"] - 2 * weight * found["covariance"] + weight**2 * found["var_f"]
    left = variance.groupby([found[name] for name in BY]).transform("sum")
    point = found["y"] + weight * (found["p_pop"] - found["f"])
    half = norm.ppf(0.5 + level / 2) * np.sqrt(np.maximum(variance, 0.0) / found["n"])
    table = found[[*ESTIMATE_KEY, "option", "p_pop"]].assign(
        p_human=found["y"],
        p_comb=point,
        p_comb_lo=point - half,
        p_comb_hi=point + half,
        n_human=found["n"],
        n_total=found["n"] * of["var_y"].transform("sum") / left.where(left > 0),
    )
    table["lambda"] = weight
    counts = {
        **human.counts,
        "human_cells_left_out": len(
            predicted.keys[~there & ~np.isnan(human.shares)].drop_duplicates(CELL_KEY)
        ),
        "questions": len(table.drop_duplicates(QUESTION_KEY)),
        "estimates_of_too_few_respondents_left_out": int(few.sum()),
        "estimates_outside_0_to_1": int(((point < 0) | (point > 1)).sum()),
        "estimates_with_lambda_0": int((weight == 0).sum()),
    }
    return Corrected(table, counts)


def _means(cells: pd.DataFrame) -> pd.DataFrame:
    """Means, variances and covariance over respondents, by question, attribute and option."""
    n = cells["n"]
    sums = cells[ESTIMATE_KEY].assign(
        y=n * cells["y"], f=n * cells["f"], yf=n * cells["y"] * cells["f"], ff=n * cells["f"] ** 2
    )
    means = sums.groupby(ESTIMATE_KEY, as_index=False).sum()
    # An option that a group was not offered is one that its respondents did not choose.
    people = cells.drop_duplicates([*BY, "group"]).groupby(BY)["n"].sum()
    means = means.join(people, on=BY)
    for name in ("y", "f", "yf", "ff"):
        means[name] /= means["n"]
    unbiased = means["n"] / (means["n"] - 1).where(means["n"] > 1)
    return means.assign(
        var_y=unbiased * means["y"] * (1 - means["y"]),
        var_f=unbiased * np.maximum(means["ff"] - means["f"] ** 2, 0.0),
        covariance=unbiased * (means["yf"] - means["y"] * means["f"]),
    )
