"""Predicted draws and the truth behind them, from simulated surveys without a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from known_posterior import knows_the_truth

from calib.draws import GroupShares
from calib.modelfile import SavedModel
from calib.paired import pair
from calib.predictions import Predicted, predict_table
from calib.rules import CELL_KEY
from calib.simulate import SimulatedSurvey, Truth, simulate_survey
from calib.survey import Group
from calib.trivial import TrainMean

GROUPS = [
    *(Group("PARTY", name) for name in ("centre", "left", "right")),
    *(Group("SEX", name) for name in ("female", "male")),
]
SIZES = dict(zip(GROUPS, [20.0, 50.0, 30.0, 52.0, 48.0], strict=True))
KEY = [*CELL_KEY, "option_index"]


class Known(NamedTuple):
    """Predictions of a survey by a model that knows how it was made."""

    survey: SimulatedSurvey
    predicted: Predicted
    shares: GroupShares
    true: Float[np.ndarray, " row"]
    """True shares in the rows of ``shares``."""


def saved(survey: SimulatedSurvey, frame: pd.DataFrame, seed: int = 0) -> SavedModel:
    paired = pair(frame)
    model = knows_the_truth(survey, paired, seed)
    return SavedModel(
        model, TrainMean().fit(paired), frozenset(), model.settings_, seed, "t", "h", 1, {}, {}
    )


def known(
    n_questions: int,
    groups: Sequence[Group] = GROUPS,
    n_options: Sequence[int] = (3, 4),
    truth: Truth | None = None,
    seed: int = 0,
) -> Known:
    survey = simulate_survey(
        n_questions=n_questions, groups=groups, n_options=n_options,
        truth=truth or Truth(sd_shape=0.0), seed=seed,
    )  # fmt: skip
    predicted = predict_table(saved(survey, survey.table, seed), survey.table)
    shares = of(predicted.table, predicted.draws)
    true = shares.keys.merge(survey.true_shares, on=KEY, how="left")["p_true"].to_numpy()
    return Known(survey, predicted, shares, true)


def of(table: pd.DataFrame, draws: Float[np.ndarray, "draw row"] | None) -> GroupShares:
    """Draws with the keys of a table."""
    assert draws is not None
    keys = table[[*KEY, "option"]].assign(in_training=False, anchored=False)
    return GroupShares(keys.reset_index(drop=True), draws, joint=True)


def one_question(draws: Float[np.ndarray, "draw group option"], attributes: str) -> GroupShares:
    """Draws of one question by groups of attributes A, B, … ("AAB": two of A, one of B)."""
    n_draws, n_groups, n_options = draws.shape
    keys = pd.DataFrame(
        [
            ("s", "q", attribute, f"{attribute.lower()}{number}", option, f"o{option}")
            for number, attribute in enumerate(attributes)
            for option in range(n_options)
        ],
        columns=[*KEY, "option"],
    )
    assert len(attributes) == n_groups
    flat = draws.reshape(n_draws, -1)
    return GroupShares(keys.assign(in_training=False, anchored=False), flat, joint=True)


def shared_error_draws(
    rng: np.random.Generator,
    n_draws: int,
    n_groups: int,
    expected: Sequence[float],
    kappa: float = 20.0,
    phi: float = 80.0,
) -> Float[np.ndarray, "draw group option"]:
    """Groups around a question's shares, which are around ``expected``: Dirichlet both."""
    question = rng.dirichlet(kappa * np.asarray(expected), n_draws)
    gammas = rng.standard_gamma(np.repeat(phi * question[:, None], n_groups, axis=1))
    found: np.ndarray = gammas / gammas.sum(axis=2, keepdims=True)
    return found
