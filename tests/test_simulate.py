"""The simulated survey against its own formula in the limit without noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from calib.errors import CalibError
from calib.paired import pair
from calib.simulate import SETTING, SimulatedSurvey, Truth, simulate_survey
from calib.survey import Group

GROUPS = tuple(Group("party", name) for name in ("left", "centre", "right"))
NOISELESS = Truth(kappa=float("inf"), phi=float("inf"), n=1_000_000, floor=0.0, sd_shape=0.0)


def survey(truth: Truth, *, seed: int = 1, nominal: bool = False) -> SimulatedSurvey:
    return simulate_survey(
        n_questions=8, groups=GROUPS, n_options=(2, 3, 5), truth=truth, nominal=nominal, seed=seed
    )


def by_formula(simulated: SimulatedSurvey, *, nominal: bool = False) -> np.ndarray:
    """softmax(η) of every table row, one cell at a time, from the table's LLM shares."""
    table = simulated.table.copy()
    effects = simulated.group_effects
    log = np.log(table["p_llm"])
    cell = ["question_id", "group"]
    table["l"] = log - log.groupby([table[name] for name in cell]).transform("mean")
    table["m"] = table.groupby(["question_id", "option_index"])["l"].transform("mean")
    expected = np.full(len(table), np.nan)
    for (_, group), rows in table.groupby(cell):
        g = [one.name for one in GROUPS].index(group)
        k = len(rows)
        z = np.zeros(k) if nominal else np.arange(k) / (k - 1) - 0.5
        eta = (
            effects["beta_between"][g] * rows["m"]
            + effects["beta_within"][g] * (rows["l"] - rows["m"])
            + effects["scale_linear"][g] * z
            + effects["scale_curve"][g] * (z**2 - np.mean(z**2))
        )
        expected[rows.index] = np.exp(eta) / np.exp(eta).sum()
    return expected


@pytest.mark.parametrize("nominal", [False, True])
def test_without_noise_people_answer_by_the_formula(nominal: bool) -> None:
    simulated = survey(NOISELESS, nominal=nominal)
    assert set(simulated.table["scale"]) == {"nominal" if nominal else "ordinal"}
    human = simulated.table["p_human"].to_numpy()
    np.testing.assert_allclose(human, by_formula(simulated, nominal=nominal), atol=1e-2)


def test_with_all_slopes_one_people_answer_as_the_llm_says() -> None:
    truth = replace(
        NOISELESS,
        beta_within=1.0,
        beta_contradiction=1.0,
        scale_curve=0.0,
        **{f"sd_{part}": 0.0 for part in ("between", "within", "scale_linear", "scale_curve")},
    )
    groups = [*GROUPS, Group("sex", "female"), Group("sex", "male")]
    for contradiction, distance in ((1.0, (0.0, 1e-2)), (0.0, (5e-2, 1.0))):
        table = simulate_survey(
            n_questions=8,
            groups=groups,
            n_options=(2, 3, 5),
            truth=replace(truth, beta_contradiction=contradiction),
            seed=1,
        ).table
        farthest = np.abs(table["p_human"] - table["p_llm"]).max()
        assert distance[0] <= farthest <= distance[1]


@pytest.mark.parametrize(
    "noisy",
    [replace(NOISELESS, kappa=15.0), replace(NOISELESS, phi=20.0), replace(NOISELESS, n=20)],
)
def test_each_noise_moves_answers_off_the_formula(noisy: Truth) -> None:
    simulated = survey(noisy)
    distance = np.abs(simulated.table["p_human"].to_numpy() - by_formula(simulated))
    assert distance.max() > 5e-2


def test_a_group_effect_that_is_not_the_true_one_is_seen() -> None:
    simulated = survey(NOISELESS)
    wrong = dict(simulated.group_effects) | {"beta_within": np.ones(3)}
    other = replace(simulated, group_effects=wrong)
    distance = np.abs(simulated.table["p_human"].to_numpy() - by_formula(other))
    assert distance.max() > 5e-2


def test_true_shares_are_what_the_sample_was_drawn_from() -> None:
    simulated = survey(replace(Truth(), n=1_000_000))
    key = ["question_id", "attribute", "group", "option_index"]
    both = simulated.table.merge(simulated.true_shares, on=key, validate="one_to_one")
    np.testing.assert_allclose(both["p_human"], both["p_true"], atol=5e-3)
    assert len(both) == len(simulated.table)


def test_dirichlet_noise_has_its_variance() -> None:
    # Var(share) = p(1 - p)/(φ + 1); standardised residuals of two options have variance 1.
    truth = replace(NOISELESS, phi=30.0)
    simulated = simulate_survey(n_questions=500, groups=GROUPS, n_options=(2,), truth=truth, seed=3)
    expected = by_formula(simulated)
    scaled = (simulated.table["p_human"] - expected) / np.sqrt(expected * (1 - expected) / 31)
    # 1,500 independent cells: the variance has a standard error of about 0.04.
    assert np.mean(scaled**2) == pytest.approx(1.0, abs=0.15)


def test_same_seed_same_survey_and_another_seed_another() -> None:
    one, same, other = survey(Truth()), survey(Truth()), survey(Truth(), seed=2)
    pd.testing.assert_frame_equal(one.table, same.table)
    pd.testing.assert_frame_equal(one.true_shares, same.true_shares)
    assert not one.table["p_human"].equals(other.table["p_human"])


def test_the_table_pairs() -> None:
    simulated = survey(Truth())
    paired = pair(simulated.table)
    assert paired.elicited.settings == (SETTING,)
    assert len(paired) == 8 * 3
    assert paired.complete.all()
    np.testing.assert_allclose(paired.human.n, 500)


@pytest.mark.parametrize(
    ("n_questions", "groups", "n_options"), [(0, GROUPS, (3,)), (1, (), (3,)), (1, GROUPS, (1,))]
)
def test_nothing_to_simulate_is_refused(
    n_questions: int, groups: tuple[Group, ...], n_options: tuple[int, ...]
) -> None:
    with pytest.raises(CalibError, match="simulated survey needs"):
        simulate_survey(n_questions=n_questions, groups=groups, n_options=n_options, seed=0)
