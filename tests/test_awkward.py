"""On surveys of odd shape, and LLMs that know nothing or all, no simpler calibrator does better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float

from calib.acts import ACT_OF_SCORE, act
from calib.base import Prediction, make_calibrator
from calib.dirichlet import Dirichlet
from calib.exaggeration import log_share_slopes
from calib.opinions import Opinions
from calib.paired import Paired, pair
from calib.scores import SCORES
from calib.simulate import SimulatedSurvey, Truth, simulate_survey
from calib.summary import Difference, clustered_difference
from calib.survey import Group

pytestmark = pytest.mark.slow

GROUPS: Final = [
    *(Group("PARTY", name) for name in ("left", "centre", "right")),
    *(Group("SEX", name) for name in ("female", "male")),
]
COUNTRIES: Final = [Group("COUNTRY", f"country {number:02}") for number in range(26)]
RIVALS: Final = ("train-mean", "ridge", "lasso", "forest", "ridge-structured")
SCORED: Final = ("kl_1e3", "w1")
TRAINING_SHARE: Final = 0.75
CELL: Final = ["question_id", "attribute", "group"]

Scores = Mapping[str, Float[np.ndarray, " row"]]


def few_groups_each() -> Paired:
    """Each question was asked of three of 26 groups."""
    simulated = simulate_survey(n_questions=96, groups=COUNTRIES, n_options=(3, 4, 5), seed=1)
    rng = np.random.default_rng(1)
    asked = {
        (question, COUNTRIES[number].name)
        for question in simulated.table["question_id"].unique()
        for number in rng.choice(len(COUNTRIES), 3, replace=False)
    }
    cells = zip(simulated.table["question_id"], simulated.table["group"], strict=True)
    return pair(simulated.table[[cell in asked for cell in cells]])


def structural_zeros() -> Paired:
    """Two cells in five were not offered one of the question's options."""
    table = simulate_survey(n_questions=64, groups=GROUPS, n_options=(3, 4, 5), seed=2).table
    rng = np.random.default_rng(2)
    size = table.groupby(CELL)["option_index"].transform("size")
    cell = table.groupby(CELL).ngroup()
    lacks = (rng.random(cell.max() + 1) < 0.4)[cell]
    dropped = np.floor(rng.random(cell.max() + 1)[cell] * size)
    return pair(without(table, lacks & (table["option_index"] == dropped)))


def without(table: pd.DataFrame, dropped: pd.Series) -> pd.DataFrame:
    """The table of those who chose among the other options."""
    kept = table[~dropped].copy()
    remains = kept.groupby(CELL)["p_human"].transform("sum")
    kept["n_human"] *= remains
    kept["p_human"] /= remains
    kept["p_llm"] /= kept.groupby(CELL)["p_llm"].transform("sum")
    return kept


def one_group() -> Paired:
    """All respondents together."""
    everyone = [Group("ALL", "everyone")]
    return pair(
        simulate_survey(n_questions=128, groups=everyone, n_options=(3, 4, 5), seed=3).table
    )


def nominal_only() -> Paired:
    """No option has a place on a scale."""
    simulated = simulate_survey(
        n_questions=64, groups=GROUPS, n_options=(3, 4, 5), nominal=True, seed=4
    )
    return pair(simulated.table)


def two_to_eighteen_options() -> Paired:
    """Five questions of each number of options."""
    simulated = simulate_survey(n_questions=85, groups=GROUPS, n_options=range(2, 19), seed=5)
    return pair(simulated.table)


def useless_llm() -> Paired:
    """What people answer does not depend on what the LLM says."""
    truth = Truth(beta_between=0.0, beta_within=0.0, sd_between=0.0, sd_within=0.0)
    simulated = simulate_survey(
        n_questions=64, groups=GROUPS, n_options=(3, 4, 5), truth=truth, seed=6
    )
    return pair(simulated.table)


def perfect_llm() -> Paired:
    """The LLM says the population's true shares."""
    simulated = simulate_survey(n_questions=64, groups=GROUPS, n_options=(3, 4, 5), seed=7)
    return pair(told_the_truth(simulated))


def told_the_truth(simulated: SimulatedSurvey) -> pd.DataFrame:
    """The table with the true shares in the LLM's place."""
    key = [*CELL, "option_index"]
    true = simulated.table[key].merge(simulated.true_shares, on=key, validate="one_to_one")
    return simulated.table.assign(p_llm=true["p_true"].to_numpy())


SURVEYS: Final[Mapping[str, Callable[[], Paired]]] = {
    made.__name__: made
    for made in (
        few_groups_each,
        structural_zeros,
        one_group,
        nominal_only,
        two_to_eighteen_options,
        useless_llm,
        perfect_llm,
    )
}


class Trial(NamedTuple):
    """What was predicted of the questions that were held out."""

    test: Paired
    prediction: Prediction
    """Of ``dirichlet``."""
    fitted: Dirichlet
    scores: Mapping[str, Scores]
    """Per row, by calibrator: ``dirichlet``, its rivals and the raw LLM."""


@cache
def trial(name: str) -> Trial:
    """Fit every calibrator on three questions in four; predict the fourth."""
    paired = SURVEYS[name]()
    n_questions = len(paired.index.questions)
    order = np.random.default_rng(0).permutation(n_questions)
    training = np.isin(paired.index.question_of_row, order[: round(TRAINING_SHARE * n_questions)])
    test = paired.take(~training)
    scores = {}
    for other in ("identity", *RIVALS):
        rival = make_calibrator(other).fit(paired.take(training))
        scores[other] = scored(rival.predict(test.elicited), test)
    fitted = Dirichlet().fit(paired.take(training))
    prediction = fitted.predict(test.elicited)
    scores["dirichlet"] = scored(prediction, test)
    return Trial(test, prediction, fitted, scores)


def scored(prediction: Prediction, test: Paired) -> Scores:
    """Each score under its act."""
    return {
        score: SCORES[score](
            test.human.probs, act(prediction, ACT_OF_SCORE[score]), test.human.index
        )
        for score in SCORED
    }


class Comparison(NamedTuple):
    """A calibrator less the best of its rivals; negative where it is better."""

    best: str
    difference: Difference


def comparisons(ours: Scores, scores: Mapping[str, Scores], test: Paired) -> dict[str, Comparison]:
    """Against the rival with the least mean, by score."""
    found = {}
    for score in SCORED:
        best = min(RIVALS, key=lambda name, score=score: float(scores[name][score].mean()))
        difference = clustered_difference(
            ours[score] - scores[best][score], test.index.question_of_row, seed=0
        )
        found[score] = Comparison(best, difference)
    return found


def worse(found: Mapping[str, Comparison]) -> list[str]:
    """Scores whose 95 % interval of the difference lies wholly above zero."""
    return [score for score, one in found.items() if one.difference.low > 0]


def reversed_options(prediction: Prediction) -> Prediction:
    """The shares of each row in the opposite order."""
    opinions = prediction.opinions
    probs = opinions.probs.copy()
    for row, offered in enumerate(opinions.index.mask):
        probs[row, offered] = probs[row, offered][::-1]
    return Prediction(Opinions(opinions.index, probs))


def mean(of: Trial, name: str, score: str) -> float:
    """Mean score over the held-out cells."""
    return float(of.scores[name][score].mean())


@pytest.mark.parametrize("name", SURVEYS)
def test_no_rival_is_better(name: str) -> None:
    of = trial(name)
    found = comparisons(of.scores["dirichlet"], of.scores, of.test)
    for score, one in found.items():
        figures = " ".join(f"{who} {mean(of, who, score):.4f}" for who in of.scores)
        low, high = one.difference.low, one.difference.high
        print(f"{name} {score}: {figures} | less {one.best} [{low:+.4f}, {high:+.4f}]")
    assert not worse(found), found


@pytest.mark.parametrize("name", [name for name in SURVEYS if name != "useless_llm"])
def test_reversed_predictions_are_worse(name: str) -> None:
    of = trial(name)
    broken = scored(reversed_options(of.prediction), of.test)
    assert worse(comparisons(broken, of.scores, of.test)) == list(SCORED)


@pytest.mark.parametrize("name", SURVEYS)
def test_predictions_are_distributions_over_what_was_offered(name: str) -> None:
    of = trial(name)
    mask, draws = of.test.index.mask, of.prediction.draws
    assert draws is not None
    for kind in {ACT_OF_SCORE[score] for score in SCORED}:
        shares = act(of.prediction, kind)
        assert np.isfinite(shares).all()
        assert np.all(shares[~mask] == 0)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
    assert np.isfinite(draws).all()
    assert np.all(draws[:, ~mask] == 0)
    assert np.all(of.prediction.opinions.probs[mask] > 0)


def test_the_surveys_are_as_awkward_as_they_say() -> None:
    few, zeros = few_groups_each(), structural_zeros()
    assert set(np.bincount(few.index.question_of_row)) == {3}
    assert len(few.index.groups) == 26
    sizes = np.array([len(few_q.options) for few_q in zeros.index.questions])
    lacking = zeros.index.n_options < sizes[zeros.index.question_of_row]
    assert 0.3 < lacking.mean() < 0.5


def test_a_useless_llm_leaves_the_train_mean() -> None:
    of = trial("useless_llm")
    assert mean(of, "dirichlet", "kl_1e3") == pytest.approx(
        mean(of, "train-mean", "kl_1e3"), rel=0.05
    )
    # What it said did much harm where it was believed.
    assert mean(of, "identity", "kl_1e3") > 2 * mean(of, "dirichlet", "kl_1e3")


def test_a_perfect_llm_is_left_as_it_is() -> None:
    of = trial("perfect_llm")
    assert mean(of, "dirichlet", "kl_1e3") < 1.1 * mean(of, "identity", "kl_1e3")
    sites = of.fitted.posterior_["posterior"].dataset
    for slope in ("beta_between", "beta_within", "beta_contradiction"):
        found = float(log_share_slopes(sites, slope).mean())
        assert found == pytest.approx(1.0, abs=0.1), slope
