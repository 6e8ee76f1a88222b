"""What another model learnt, as a prior: narrower, counted, and of use where answers are few."""

from __future__ import annotations

import arviz_base
import numpy as np
import pytest

from calib.dirichlet import Dirichlet
from calib.paired import Paired, pair
from calib.prior import TRANSFER, Learnt, general_prior, learnt_prior
from calib.sampling import Plan
from calib.simulate import SETTING, Truth, simulate_survey
from calib.survey import Group, Setting, Shape

GROUPS = tuple(sorted(Group("PARTY", name) for name in ("left", "centre", "right")))
SHAPE = Shape(ordered=True, n_options=4)
OTHER = Setting("another", "verbalized", "sd")


def learnt() -> Learnt:
    """A posterior of 1000 draws with known means and spreads."""
    rng = np.random.default_rng(0)

    def draws(mean: object, sd: float) -> np.ndarray:
        mean = np.asarray(mean, dtype=float)
        noise = rng.standard_normal((1000, *mean.shape))
        noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
        values: np.ndarray = mean + sd * noise
        return values[None]

    sites = {
        "beta_between": draws([0.9], 0.03),
        "beta_within": draws([0.2], 0.02),
        "beta_contradiction": draws([0.05], 0.02),
        "log_floor": draws([-4.0], 0.3),
        "scale_linear": draws(0.1, 0.1),
        "scale_curve": draws(-0.5, 0.2),
        "shape_logit": draws(np.full((1, 4), 0.05), 0.05),
        "kappa": np.exp(draws(3.0, 0.1)),
        "phi": np.exp(draws(4.5, 0.05)),
    }
    for site, effects in (
        ("beta_between", [0.1, 0.0, -0.1]),
        ("beta_within", [-0.1, 0.3, -0.2]),
        ("scale_linear", [0.2, -0.1, -0.1]),
        ("scale_curve", [0.0, 0.0, 0.0]),
    ):
        sites[f"{site}_group"] = sites[site][..., None] + np.array(effects)
    tree = arviz_base.from_dict({"posterior": sites})
    return Learnt(tree, (SETTING,), GROUPS, (SHAPE,), "other survey")


def test_means_are_the_other_posteriors_and_variances_add() -> None:
    general = general_prior(1, 3, 1, 4)
    found = learnt_prior(learnt(), (SETTING,), GROUPS, (SHAPE,), general)
    assert found.beta_between.loc == pytest.approx([0.9])
    assert found.beta_between.scale == pytest.approx([np.hypot(0.03, TRANSFER * 0.5)])
    assert found.log_phi.loc == pytest.approx(4.5)
    assert found.log_phi.scale == pytest.approx(np.hypot(0.05, TRANSFER))
    np.testing.assert_allclose(found.shape_logit.loc, 0.05, atol=1e-12)
    np.testing.assert_allclose(found.groups[1], [-0.1, 0.3, -0.2], atol=1e-12)
    assert set(learnt().lacks((SETTING,), GROUPS, (SHAPE,)).values()) == {0}


def test_what_the_other_model_did_not_have_is_general_and_counted() -> None:
    groups = (*GROUPS[:1], Group("SEX", "Female"))
    shapes = (Shape(ordered=False, n_options=4),)
    general = general_prior(2, 2, 1, 4)
    found = learnt_prior(learnt(), (SETTING, OTHER), groups, shapes, general)
    # Two sources share the slope that one had; the unknown one is expected at the mean.
    np.testing.assert_allclose(found.beta_between.loc, 0.45)
    np.testing.assert_allclose(found.shape_logit.loc, 0.0)
    np.testing.assert_allclose(found.groups.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.groups[0], [0.05, -0.05], atol=1e-12)
    assert learnt().lacks((SETTING, OTHER), groups, shapes) == {
        "prior_settings_not_known": 1,
        "prior_groups_not_known": 1,
        "prior_scale_shapes_not_known": 1,
    }


@pytest.fixture(scope="module")
def surveys() -> tuple[Paired, Paired, Paired]:
    """A large survey, and a small one of the same LLM: to learn from, to predict."""
    truth = Truth(beta_within=0.1, sd_within=0.05, llm_spread=1.2)
    large, small = (
        pair(
            simulate_survey(
                n_questions=size, groups=GROUPS, n_options=(4,), truth=truth, seed=seed
            ).table
        )
        for size, seed in ((40, 1), (31, 2))
    )
    few = small.index.question_of_row < 1
    return large, small.take(few), small.take(~few)


def test_with_few_questions_the_other_survey_is_what_is_known(
    surveys: tuple[Paired, Paired, Paired],
) -> None:
    large, few, test = surveys
    prior = Dirichlet(inference="laplace").fit(large).learnt("large")
    plan = Plan(1, 150, 200)
    informed = Dirichlet(plan, prior=prior).fit(few, seed=0)
    alone = Dirichlet(plan).fit(few, seed=0)
    for site, truth in (("beta_between", 1.0), ("beta_within", 0.1)):
        with_prior, without = (
            model.posterior_["posterior"][site].to_numpy() for model in (informed, alone)
        )
        assert with_prior.std() < 0.75 * without.std()
        assert abs(with_prior.mean() - truth) < 2.5 * with_prior.std()
    assert informed.state()["prior"] == "large"
    assert informed.predict(test.elicited).counts["prior_groups_not_known"] == 0

    def error(model: Dirichlet) -> float:
        shares = model.predict(test.elicited).opinions.probs
        return float(np.square(shares - test.human.probs).sum())

    # The twin: a prior that is wrong about the LLM does harm.
    wrong = Dirichlet(
        plan,
        prior=lambda general: general._replace(
            beta_within=general.beta_within._replace(loc=np.array([3.0]), scale=np.array([0.01]))
        ),
    )
    assert error(wrong.fit(few, seed=0)) > 1.2 * error(informed)
