"""The Dirichlet calibrator end to end on a small simulated survey with known truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import arviz_base
import jax
import numpy as np
import pytest
from builders import known_distortion
from scipy.stats import dirichlet_multinomial

from calib.diagnostics import diagnose
from calib.dirichlet import Dirichlet
from calib.errors import FitError
from calib.fitting import Inference, posterior_samples
from calib.opinions import Elicited, Opinions
from calib.paired import Paired, pair
from calib.posterior import dirichlet, log_dirichlet
from calib.sampling import ATTEMPTS, Plan, Samples
from calib.simulate import Truth, simulate_survey
from calib.starting import QuestionStart, question_start, question_told
from calib.survey import Group

FIRST, SMALLER, SMALLEST = ATTEMPTS
GROUPS = [Group("PARTY", name) for name in ("left", "centre", "right", "other")]


@pytest.fixture(scope="module")
def survey() -> Paired:
    simulated = simulate_survey(n_questions=24, groups=GROUPS, n_options=(3, 4), seed=3)
    return pair(simulated.table)


@pytest.fixture(scope="module")
def fitted(survey: Paired) -> Dirichlet:
    training = survey.take(survey.index.question_of_row < 16)
    return Dirichlet(Plan(2, 150, 150)).fit(training, seed=1)


@pytest.mark.parametrize(
    ("diverging", "disagreeing", "plan", "expected"),
    [
        ((0,), 0.0, None, [FIRST]),
        ((3, 0), 0.0, None, [FIRST, SMALLER]),
        ((3, 2, 0), 0.0, None, [FIRST, SMALLER, SMALLEST]),
        ((3, 2, 1), 0.0, None, [FIRST, SMALLER, SMALLEST]),
        ((0, 0), 1.0, None, [FIRST, FIRST]),
        ((3, 0, 0), 1.0, None, [FIRST, SMALLER, SMALLER]),
        ((3,), 1.0, Plan(2, 9, 9), [Plan(2, 9, 9)]),
    ],
)
def test_what_falls_short_is_sampled_again_or_on(
    survey: Paired,
    monkeypatch: pytest.MonkeyPatch,
    diverging: tuple[int, ...],
    disagreeing: float,
    plan: Plan | None,
    expected: list[Plan],
) -> None:
    plans: list[Plan] = []
    keys = set()

    def sampled(*_: object, plan: Plan, key: jax.Array) -> Samples:
        keys.add((plan, *np.asarray(jax.random.key_data(key)).tolist()))
        diverged = np.zeros((2, 500), dtype=bool)
        diverged[0, : diverging[len(plans)]] = True
        plans.append(plan)
        draws = np.random.default_rng(len(plans)).standard_normal((2, 500, 4, 6))
        draws[1, ..., 0] += disagreeing
        # A shape has two options more than any question here: they pad, and say nothing.
        draws[1, ..., 5] += 9.0
        return Samples({"shape_logit": draws}, {"diverging": diverged})

    monkeypatch.setattr("calib.sampling.sample", sampled)
    n = np.full(len(survey), 500.0)
    samples = posterior_samples(survey, n, inference="nuts", plan=plan, seed=1, prior=None)
    assert plans == expected
    assert len(keys) == len(plans)
    # What the last attempt is left with stands in its own statistics.
    assert samples.given_up == sum(diverging[: len(set(expected)) - 1])
    assert samples.n_diverging == diverging[-1]
    on = plan is None and disagreeing > 0
    assert {len(of) for of in (*samples.sites.values(), *samples.stats.values())} == {
        4 if on else 2
    }


def test_predictions_are_distributions_and_joint_draws(survey: Paired, fitted: Dirichlet) -> None:
    test = survey.take(survey.index.question_of_row >= 16)
    prediction = fitted.predict(test.elicited)
    assert prediction.draws is not None
    np.testing.assert_allclose(prediction.draws.sum(axis=2), 1.0, atol=1e-9)
    assert np.all(prediction.draws[:, ~test.index.mask] == 0)


def test_calibration_beats_the_raw_answers(survey: Paired, fitted: Dirichlet) -> None:
    test = survey.take(survey.index.question_of_row >= 16)
    raw, human = test.elicited.pooled(), test.human.probs
    calibrated = fitted.predict(test.elicited).opinions.probs
    assert np.square(calibrated - human).sum() < 0.8 * np.square(raw - human).sum()


def test_a_prediction_depends_on_no_other_question(survey: Paired, fitted: Dirichlet) -> None:
    test = survey.take(survey.index.question_of_row >= 16)
    one = test.index.question_of_row == 2
    alone = fitted.predict(test.take(one).elicited).opinions.probs
    np.testing.assert_allclose(fitted.predict(test.elicited).opinions.probs[one], alone, atol=1e-12)


def test_saved_and_loaded_it_predicts_the_same(
    survey: Paired, fitted: Dirichlet, tmp_path: Path
) -> None:
    fitted.save_files(tmp_path)
    loaded = Dirichlet()
    loaded.restore(fitted.state())
    loaded.load_files(tmp_path)
    loaded.settings_ = fitted.settings_
    assert loaded.respondents_ == fitted.respondents_ == dict.fromkeys(sorted(GROUPS), 500.0)
    np.testing.assert_array_equal(
        loaded.predict(survey.elicited).opinions.probs,
        fitted.predict(survey.elicited).opinions.probs,
    )


def test_same_seed_same_draws_and_another_seed_others(survey: Paired, fitted: Dirichlet) -> None:
    training = survey.take(survey.index.question_of_row < 16)
    same, other = (Dirichlet(Plan(2, 150, 150)).fit(training, seed=seed) for seed in (1, 2))
    assert same.posterior_["posterior"].equals(fitted.posterior_["posterior"])
    np.testing.assert_array_equal(
        same.predict(survey.elicited).draws, fitted.predict(survey.elicited).draws
    )
    assert not other.posterior_["posterior"].equals(fitted.posterior_["posterior"])


def test_log_likelihood_is_that_of_scipy(survey: Paired, fitted: Dirichlet) -> None:
    # The stored mean shares are rounded to single precision: so is what they give.
    training = survey.take(survey.index.question_of_row < 16)
    tree = fitted.posterior_
    n = np.asarray(training.human.n).astype(int)
    counts = np.rint(training.human.probs * n[:, None]).astype(int)
    stored = tree["posterior_predictive"]["shares"].to_numpy()
    every = -(-tree["posterior"].sizes["draw"] // stored.shape[1])
    for row in (0, 17, 40):
        offered = training.index.mask[row]
        concentration = tree["posterior"]["phi"].to_numpy()[0, ::every][5] * stored[0, 5, row]
        expected = dirichlet_multinomial.logpmf(
            counts[row, offered], concentration[offered], n[row]
        )
        found = tree["log_likelihood"]["answers"].to_numpy()[0, ::every][5, row]
        assert found == pytest.approx(expected, abs=1e-4)


def test_the_exaggeration_of_the_llm_is_recovered(fitted: Dirichlet) -> None:
    within = fitted.posterior_["posterior"]["beta_within"].to_numpy().ravel()
    low, high = np.quantile(within, [0.005, 0.995])
    assert low < 0.3 < high  # the simulator's default truth
    # The twin: an LLM that exaggerates nothing has slope one, and is excluded.
    assert high < 1.0


def test_portions_together_are_the_prediction(
    survey: Paired, fitted: Dirichlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = survey.take(survey.index.question_of_row >= 16)
    whole = fitted.predict(test.elicited)
    assert whole.draws is not None
    monkeypatch.setattr("calib.posterior.BLOCK_SIZE", 5_000)
    parts = list(fitted.predict_portions(test.elicited))
    assert len(parts) > 3
    assert sorted(np.concatenate([rows for rows, _ in parts])) == list(range(len(test)))
    for rows, part in parts:
        assert part.draws is not None
        np.testing.assert_allclose(part.draws, whole.draws[:, rows], atol=1e-12)
        np.testing.assert_allclose(part.opinions.probs, whole.opinions.probs[rows], atol=1e-12)
    assert sum((Counter(part.counts) for _, part in parts), Counter()) == Counter(whole.counts)


@pytest.mark.slow
def test_groups_that_the_pilot_left_out_are_learnt_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [Group("a", f"g{number}") for number in range(10)]
    truth = Truth(sd_within=0.3)
    simulated = simulate_survey(n_questions=60, groups=names, n_options=(4,), truth=truth, seed=3)
    paired, found = pair(simulated.table), {}
    for most in (40, 4):
        monkeypatch.setattr("calib.pilot.GROUPS", most)
        posterior = Dirichlet(inference="svi").fit(paired, seed=1).posterior_["posterior"]
        found[most] = posterior.dataset
    for site in ("beta_between", "beta_within_group", "scale_curve_group"):
        whole, part = (found[most][site].to_numpy()[0] for most in (40, 4))
        assert np.abs(whole.mean(axis=0) - part.mean(axis=0)).max() < 0.5 * whole.std(axis=0).max()
    slopes = found[4]["beta_within_group"].to_numpy()[0, :, 0].mean(axis=0)
    assert np.corrcoef(slopes, simulated.group_effects["beta_within"])[0, 1] > 0.8


@pytest.mark.parametrize("inference", ["laplace", "svi"])
def test_approximations_agree_with_the_sampled_posterior(
    survey: Paired, fitted: Dirichlet, inference: Inference
) -> None:
    training = survey.take(survey.index.question_of_row < 16)
    approximate = Dirichlet(inference=inference).fit(training, seed=1)
    ours, sampled = (model.posterior_["posterior"].dataset for model in (approximate, fitted))
    for site in ("beta_between", "beta_within", "scale_linear", "scale_curve"):
        mean, sd = float(sampled[site].mean()), float(sampled[site].std())
        assert abs(float(ours[site].mean()) - mean) < 0.5 * sd
        assert 0.6 * sd < float(ours[site].std()) < 1.5 * sd
    test = survey.take(survey.index.question_of_row >= 16)
    found, expected = (
        model.predict(test.elicited).opinions.probs for model in (approximate, fitted)
    )
    assert np.abs(found - expected).max() < 0.05
    assert diagnose(approximate.posterior_, with_loo=False).inference == inference


@pytest.mark.slow
def test_few_answers_leave_a_mode_at_the_error_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [Group("a", "x"), Group("a", "y"), Group("b", "u"), Group("b", "v")]
    truth = Truth(n=12, kappa=25.0, phi=300.0)

    def kappa(seed: int) -> np.ndarray:
        simulated = simulate_survey(
            n_questions=80, groups=names, n_options=(4,), truth=truth, seed=seed
        )
        fitted = Dirichlet(inference="laplace").fit(pair(simulated.table), seed=0)
        return fitted.posterior_["posterior"]["kappa"].to_numpy().ravel()

    found = [kappa(seed) for seed in range(8)]
    held = [np.quantile(one, 0.01) < truth.kappa < np.quantile(one, 0.99) for one in found]
    assert sum(held) >= 7

    # The twin: about what people said alone there is none, for the error may be nothing at all.
    def about_answers(xp: Any, about: QuestionStart, _kappa: Any, _mean: Any) -> Any:
        return about.logits, xp.ones(len(about.answers))

    monkeypatch.setattr("calib.models.question_told", about_answers)
    monkeypatch.setattr("calib.programs._compiled", {})
    monkeypatch.setenv("CALIB_CACHE", "off")
    with pytest.raises(FitError, match="needs a mode"):
        kappa(0)


def test_a_questions_logits_lie_between_answers_and_expectation() -> None:
    counts = np.array([[[30.0, 20.0, 0.0]], [[3.0, 1.0, 1.0]]])
    mask = np.ones(counts.shape, dtype=bool)
    mask[0, :, 2] = False
    about = question_start(counts, mask, 0.1)
    mean = np.array([[0.2, 0.8, 0.0], [0.2, 0.5, 0.3]])
    # With all its weight the error leaves the answers alone, with none the expectation.
    centre, width = question_told(np, about, np.array(1e-9), mean)
    np.testing.assert_allclose(centre, about.logits, atol=1e-6)
    assert (width > 1).all()
    centre, width = question_told(np, about, np.array(1e12), mean)
    assert centre[0, 0] - centre[0, 1] == pytest.approx(np.log(0.2 / 0.8))
    assert centre[0, 2] == 0.0
    np.testing.assert_allclose(np.diff(centre[1]), np.diff(np.log(mean[1])), atol=1e-6)
    assert (width < 1e-4).all()
    # As many as the answers: half-way, and the one with fewer answers is drawn further.
    centre, _ = question_told(np, about, about.answers[0], mean)
    assert centre[0, 0] - centre[0, 1] == pytest.approx(
        (np.log(0.2 / 0.8) + about.logits[0, 0] - about.logits[0, 1]) / 2
    )


def test_what_labels_say_is_learnt_and_told_of_other_questions() -> None:
    # Without an LLM to speak of, the label is all there is to know of an option.
    truth = Truth(n_labels=8, sd_label=1.0, beta_between=0.0, sd_shape=0.0, scale_curve=0.0)
    simulated = simulate_survey(
        n_questions=60, groups=GROUPS[:2], n_options=(3,), truth=truth, nominal=True, seed=5
    )
    paired = pair(simulated.table)
    late = paired.index.question_of_row >= 40
    training, test = paired.take(~late), paired.take(late)
    fitted = Dirichlet(inference="laplace").fit(training, seed=0)
    assert fitted.labels_[0] == ""
    assert set(fitted.labels_[1:]) == {f"label {number}" for number in range(1, 9)}

    def distance(elicited: Elicited) -> float:
        found = fitted.predict(elicited).opinions.probs
        return float(np.abs(found - test.human.probs).sum(axis=1).mean())

    # The twin: labels that nobody has seen leave the uniform distribution.
    renamed = [
        replace(q, options=tuple(replace(o, label=f"new {o.label}") for o in q.options))
        for q in test.index.questions
    ]
    index = replace(test.index, questions=tuple(renamed))
    [source] = test.elicited.sources
    unknown = Elicited(test.elicited.settings, (Opinions(index, source.probs),))
    assert distance(test.elicited) < 0.7 * distance(unknown)


def test_two_sources_of_several_groups_have_effects_each() -> None:
    pairs = known_distortion(seed=1, n_questions=12, n_sources=2)
    fitted = Dirichlet(Plan(1, 60, 60)).fit(pairs, seed=0)
    effects = fitted.posterior_["posterior"]["beta_between_group"]
    assert effects.sizes["source"] == 2
    assert effects.sizes["group"] == len(pairs.index.groups)
    # Zero-sum deviations: the population's slope is the mean over groups, for each source.
    population = fitted.posterior_["posterior"]["beta_between"]
    np.testing.assert_allclose(effects.mean("group"), population, atol=1e-12)


def shares_by_logarithms(concentration: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    logs = log_dirichlet(concentration, generator)
    assert np.isfinite(logs).all()
    return np.exp(logs)


@pytest.mark.parametrize("drawn_by", [shares_by_logarithms, dirichlet])
@pytest.mark.parametrize(
    "a",
    [
        [0.02, 0.5, 2.0, 0.0],
        # Gamma variates of every second draw are rounded to zero, all three of them.
        [0.001, 0.0005, 0.0002],
    ],
)
def test_dirichlet_draws_have_their_moments_and_stay_finite(
    drawn_by: Callable[[np.ndarray, np.random.Generator], np.ndarray], a: list[float]
) -> None:
    # Mean m = a/A and variance m(1-m)/(A+1); with concentrations rounded to zero too.
    draws = drawn_by(np.tile(a, (200_000, 1)), np.random.default_rng(0))
    total, mean = sum(a), np.array(a) / sum(a)
    np.testing.assert_allclose(draws.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=3e-3)
    np.testing.assert_allclose(draws.var(axis=0), mean * (1 - mean) / (total + 1), atol=3e-3)


def test_an_undefined_parameter_counts_against_a_fit(fitted: Dirichlet) -> None:
    broken = fitted.posterior_.copy(deep=True)
    broken["posterior"]["scale_linear"].loc[{"chain": 0}] = np.nan
    diagnosis = diagnose(broken, with_loo=False)
    assert not diagnosis.trusted
    assert np.isnan(diagnosis.r_hat_max)


def test_a_bound_that_still_rises_is_not_trusted() -> None:
    rows, steps = 100, np.arange(400.0)
    noise = np.random.default_rng(0).normal(size=steps.size)

    def of(bound: np.ndarray) -> bool:
        tree = arviz_base.from_dict(
            {
                "posterior": {"kappa": np.ones((1, 50))},
                "sample_stats": {"bound": bound[None]},
                "constant_data": {"n": np.ones(rows)},
            },
            dims={"n": ["row"]},
            attrs={"/": {"inference": "svi"}},
        )
        return diagnose(tree, with_loo=False).trusted

    assert of(-np.exp(-steps / 20.0) + noise)
    assert not of(0.1 * steps + noise)


def test_chains_that_disagree_are_not_trusted(fitted: Dirichlet) -> None:
    broken = fitted.posterior_.copy(deep=True)
    broken["posterior"]["kappa"].loc[{"chain": 0}] += 10.0
    diagnosis = diagnose(broken)
    assert not diagnosis.trusted
    assert any("R-hat" in problem for problem in diagnosis.problems)
