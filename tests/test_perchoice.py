"""Per-choice regressions against closed forms, scikit-learn and known truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import groups, index, known_distortion, opinions, paired, question, with_probs
from sklearn.linear_model import Ridge as SklearnRidge
from skops.io import dump

from calib.base import make_calibrator
from calib.errors import CalibError
from calib.opinions import Opinions
from calib.paired import Paired, pair
from calib.perchoice import Forest, ForestPerGroup, Lasso, Ridge, RidgePerGroup
from calib.regress import LINEAR_DEFAULTS, Choices, Linear, choices, closed_prediction, fit_linear
from calib.scores import SCORES
from calib.structured import RidgeStructured
from calib.survey import Group, Setting
from calib.table import read_table

REAL = Path(__file__).parents[2] / "shared" / "data" / "opinionqa_dev.parquet"


def shrunk(slope: float = 0.4, seed: int = 0, n_questions: int = 30) -> Paired:
    """People are the LLM drawn towards uniform: a line of that slope through (1/4, 1/4)."""
    of_index = index([question(f"q{i:02}", 4) for i in range(n_questions)], groups(3))
    llm = opinions(of_index, np.random.default_rng(seed))
    return paired(with_probs(llm, slope * llm.probs + (1 - slope) / 4), llm)


@pytest.mark.parametrize("make", [Ridge, Lasso])
def test_linear_regressions_find_a_line(make: type[Ridge] | type[Lasso]) -> None:
    data = shrunk()
    fitted = make().fit(data)
    line = fitted.regressors_[0]
    assert line.coefficients[0] == pytest.approx(0.4, abs=1e-3)
    assert line.intercept == pytest.approx(0.15, abs=1e-3)
    prediction = fitted.predict(data.elicited)
    np.testing.assert_allclose(prediction.opinions.probs, data.human.probs, atol=1e-3)
    other = make().fit(shrunk(slope=0.5)).predict(data.elicited)
    assert np.abs(other.opinions.probs - data.human.probs).max() > 1e-2


def test_a_forest_finds_a_step() -> None:
    """A share above one half is really .7 and one below .3, which no line can say."""
    of_index = index([question(f"q{i:02}", 2) for i in range(60)], groups(2))
    llm = opinions(of_index, np.random.default_rng(1))
    data = paired(with_probs(llm, np.where(llm.probs > 0.5, 0.7, 0.3)), llm)
    error = {}
    for make in (Forest, Ridge):
        found = make().fit(data).predict(data.elicited).opinions.probs
        error[make.name] = np.abs(found - data.human.probs).mean()
    assert error["forest"] < 0.01 < error["ridge"]


def test_few_questions_take_the_default_penalty() -> None:
    for n_questions, tuned in ((1, False), (2, False), (12, True)):
        line = Ridge().fit(shrunk(n_questions=n_questions)).regressors_[0]
        assert (line.penalty != LINEAR_DEFAULTS["ridge"]) == tuned


def test_the_penalty_has_the_least_error_over_folds_of_questions() -> None:
    """Entries of one question are copies: folds that split questions would not shrink."""
    rng = np.random.default_rng(2)
    features = np.repeat(rng.normal(size=(12, 8)), 10, axis=0)
    target = np.repeat(rng.normal(size=12), 10)
    of_copies = np.repeat(np.arange(12), 10)
    by_question = fit_linear(Choices(features, target, of_copies), "ridge", seed=0)
    by_entry = fit_linear(Choices(features, target, np.arange(120)), "ridge", seed=0)
    assert by_question.penalty >= 100
    assert by_entry.penalty <= 1
    plain = SklearnRidge(alpha=by_entry.penalty).fit(features, target)
    np.testing.assert_allclose(by_entry.predict(features), plain.predict(features))


def test_choices_know_neither_row_nor_option_order() -> None:
    data = known_distortion(n_questions=6)
    features = data.elicited.filled[:, data.index.mask].T
    straight = choices(data, features)
    assert len(straight.target) == data.index.mask.sum()
    assert straight.n_questions == 6
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = data.take(order)
    again = choices(shuffled, shuffled.elicited.filled[:, shuffled.index.mask].T)
    for left, right in zip(straight, again, strict=True):
        np.testing.assert_array_equal(left, right)


def test_repairs_are_made_by_hand_and_counted() -> None:
    of_index = index([question("a", 2), question("b", 3)], groups(2))
    llm = opinions(of_index, np.random.default_rng(0))
    elicited = paired(llm, llm).elicited
    predicted = np.array([0.4, 0.6, -0.2, -0.1, 0.5, -0.1, 1.5, 0.2, 0.2, 0.4])
    prediction = closed_prediction(elicited, np.ones(4, dtype=bool), predicted, {"mine": 7})
    np.testing.assert_allclose(
        prediction.opinions.probs,
        [[0.4, 0.6, 0], [0.5, 0.5, 0], [0.25, 0, 0.75], [0.25, 0.25, 0.5]],
    )
    assert prediction.counts == {
        "source_cells_filled": 0,
        "shares_clipped_at_zero": 3,
        "rows_renormalised": 2,
        "rows_without_mass_set_to_uniform": 1,
        "mine": 7,
        "rows_no_source_answered": 0,
    }


def two_slopes() -> Paired:
    """The first group is the LLM, the second has people drawn halfway to uniform."""
    of_index = index([question(f"q{i:02}", 4) for i in range(20)], groups(2))
    llm = opinions(of_index, np.random.default_rng(3))
    halfway = 0.5 * llm.probs + 0.125
    own = (of_index.group_of_row == 0)[:, None]
    return paired(with_probs(llm, np.where(own, llm.probs, halfway)), llm)


def test_per_group_regressors_differ_and_the_pooled_one_does_not() -> None:
    data = two_slopes()
    error = {}
    for name in ("ridge", "ridge-per-group", "lasso-per-group", "forest-per-group"):
        found = make_calibrator(name).fit(data).predict(data.elicited).opinions.probs
        error[name] = np.abs(found - data.human.probs).mean()
    assert error["ridge-per-group"] < 1e-3
    assert error["lasso-per-group"] < 1e-3
    assert error["forest-per-group"] < error["ridge"]
    assert error["ridge"] > 0.03


def test_groups_new_or_seldom_seen_take_the_pooled_regressor_and_are_counted() -> None:
    data = two_slopes()
    seldom = data.take((data.index.group_of_row == 0) | (data.index.question_of_row == 0))
    fitted = RidgePerGroup().fit(seldom)
    assert fitted.groups_ == (Group("ATTR", "g00"),)
    prediction = fitted.predict(data.elicited)
    assert prediction.counts["rows_of_groups_without_own_regressor"] == 20
    pooled = Ridge().fit(seldom).predict(data.elicited)
    second = data.index.group_of_row == 1
    np.testing.assert_allclose(
        prediction.opinions.probs[second], pooled.opinions.probs[second], atol=1e-12
    )
    assert "rows_of_groups_without_own_regressor" not in pooled.counts


def exaggerated(within: float, seed: int = 4) -> Paired:
    """The LLM is right in a question's mean and exaggerates its groups' deviations."""
    rng = np.random.default_rng(seed)
    of_index = index([question(f"q{i:02}", 4) for i in range(40)], groups(5))
    mean = np.repeat(rng.dirichlet(np.full(4, 8.0), size=40), 5, axis=0)
    deviation = rng.uniform(-0.02, 0.02, size=mean.shape)
    deviation -= deviation.mean(axis=1, keepdims=True)
    by_question = deviation.reshape(40, 5, 4)
    deviation = (by_question - by_question.mean(axis=1, keepdims=True)).reshape(mean.shape)
    llm = Opinions(of_index, mean + deviation)
    return paired(with_probs(llm, mean + within * deviation), llm)


def test_the_structured_ridge_tells_means_from_deviations() -> None:
    data = exaggerated(within=0.2)
    fitted = RidgeStructured().fit(data)
    between, within = np.array(fitted.regressor_.coefficients[:2]) / fitted.scale_[:2]
    assert between == pytest.approx(1.0, abs=0.05)
    assert within == pytest.approx(0.2, abs=0.05)
    structured = fitted.predict(data.elicited).opinions.probs
    plain = Ridge().fit(data).predict(data.elicited).opinions.probs
    human = data.human.probs
    assert np.abs(structured - human).mean() < 0.5 * np.abs(plain - human).mean()


def test_the_structured_ridge_gives_a_new_group_the_common_part() -> None:
    data = known_distortion(n_groups=5)
    fitted = RidgeStructured().fit(data)
    renamed = index(data.index.questions, [*groups(4), Group("ATTR", "new")])
    llm = Opinions(renamed, data.elicited.sources[0].probs)
    prediction = fitted.predict(paired(llm, llm).elicited)
    assert prediction.counts["rows_with_unseen_group"] == 40
    common = fitted.regressor_.coefficients[:5]
    only_common = Linear(
        fitted.regressor_.intercept, (*common, *[0.0] * 25), fitted.regressor_.penalty
    )
    fitted.regressor_ = only_common
    without_groups = fitted.predict(data.elicited).opinions.probs
    new = renamed.group_of_row == 4
    np.testing.assert_allclose(prediction.opinions.probs[new], without_groups[new], atol=1e-12)
    assert np.abs(prediction.opinions.probs - without_groups)[~new].max() > 1e-6


def test_the_structured_ridge_learns_the_scale_and_ignores_it_on_nominal_questions() -> None:
    """People sit at the upper end of every ordinal scale, whatever the LLM says."""
    of_index = index([question(f"q{i:02}", 3) for i in range(20)], groups(2))
    llm = opinions(of_index, np.random.default_rng(5))
    human = with_probs(llm, np.tile([0.1, 0.2, 0.7], (40, 1)))
    fitted = RidgeStructured().fit(paired(human, llm))
    np.testing.assert_allclose(
        fitted.predict(paired(human, llm).elicited).opinions.probs, human.probs, atol=0.02
    )
    nominal = index([question("n", 3, "nominal")], groups(2))
    flat = Opinions(nominal, nominal.uniform())
    found = fitted.predict(paired(flat, flat).elicited).opinions.probs
    np.testing.assert_allclose(found, nominal.uniform(), atol=1e-9)


def test_linear_state_is_small_and_plain() -> None:
    data = known_distortion(n_questions=6)
    state = RidgePerGroup().fit(data).state()
    assert json.loads(json.dumps(state)) == state
    assert len(state["regressors"]) == len(state["groups"]) + 1


def test_forests_come_back_from_their_file(tmp_path: Path) -> None:
    data = known_distortion(n_questions=6, n_groups=2)
    saved, loaded = ForestPerGroup().fit(data), ForestPerGroup()
    saved.save_files(tmp_path)
    loaded.load_files(tmp_path)
    loaded.restore(saved.state())
    loaded.settings_ = saved.settings_
    np.testing.assert_array_equal(
        loaded.predict(data.elicited).opinions.probs, saved.predict(data.elicited).opinions.probs
    )


class Stranger:
    """A type that no forest holds."""


def test_a_forest_file_with_other_types_is_refused(tmp_path: Path) -> None:
    dump([Stranger()], tmp_path / "forests.skops")
    with pytest.raises(CalibError, match="Stranger"):
        Forest().load_files(tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason="the real table is not at hand")
def test_structure_helps_on_real_answers() -> None:
    data = pair(read_table(REAL), [Setting("gpt-4", "verbalized", "sd")])
    fold = np.random.default_rng(1).permutation(len(data.index.questions)) % 5
    of_row = fold[data.index.question_of_row]
    alignment, divergence = {}, {}
    for name in ("identity", "ridge", "ridge-structured"):
        predicted = np.empty(data.human.probs.shape)
        for number in range(5):
            test = of_row == number
            fitted = make_calibrator(name).fit(data.take(~test))
            predicted[test] = fitted.predict(data.elicited.take(test)).opinions.probs
        mean = {
            score: SCORES[score](data.human.probs, predicted, data.index).mean()
            for score in ("w1", "kl_1e3")
        }
        alignment[name], divergence[name] = 100 * (1 - mean["w1"]), mean["kl_1e3"]
    assert divergence["ridge"] < divergence["identity"]
    assert divergence["ridge-structured"] < 0.9 * divergence["ridge"]
    assert divergence["ridge-structured"] < 0.097
    assert alignment["ridge-structured"] > alignment["ridge"] + 0.7
