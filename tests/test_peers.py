"""The peers of the benchmark against truths that they must find, and must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import groups, index, known_distortion, opinions, paired, question, tempered

from benchmarks.peer_calibrators import (
    PEERS,
    Boosting,
    BoostingStructured,
    DirichletMap,
    Rectifier,
    Similarity,
    fit_map,
    mapped,
)
from benchmarks.peers import best_peer, peer_names, report_lines, run_setting
from calib.base import Calibrator
from calib.errors import CalibError
from calib.evaluate import folds_of_questions
from calib.heldout import held_out
from calib.opinions import Opinions, close
from calib.paired import Paired
from calib.trivial import Temperature

QUESTIONS = [question(f"q{number:02}", 3) for number in range(40)]


def llm(seed: int = 0) -> Opinions:
    return opinions(index(QUESTIONS, groups(3)), np.random.default_rng(seed), concentration=2.0)


def error_of(calibrator: Calibrator, data: Paired) -> float:
    """Largest error of a share on the last ten questions, by a fit on the others."""
    late = data.index.question_of_row >= 30
    predicted = calibrator.fit(data.take(~late), seed=0).predict(data.take(late).elicited)
    return float(np.abs(predicted.opinions.probs - data.take(late).human.probs).max())


def through_a_map(block: Opinions) -> tuple[Opinions, np.ndarray, np.ndarray]:
    weights = np.array([[0.5, 0.2, -0.1], [0.0, 0.6, 0.1], [-0.3, 0.0, 0.4]])
    intercept = np.array([0.3, -0.5, 0.2])
    logs = np.log(np.maximum(block.probs, 1e-3))
    shares, _ = mapped(logs, block.index.mask, weights, intercept)
    return Opinions(block.index, shares), weights, intercept


def test_a_dirichlet_map_is_recovered_where_a_temperature_is_not_enough() -> None:
    said = llm()
    human, _, _ = through_a_map(said)
    data = paired(human, said)
    assert error_of(DirichletMap(), data) < 0.03
    assert error_of(Temperature(), data) > 0.1


def test_without_penalty_a_map_is_found_up_to_what_softmax_cannot_tell() -> None:
    said = llm()
    human, weights, intercept = through_a_map(said)
    logs = np.log(np.maximum(said.probs, 1e-3))
    found, at = fit_map(logs, said.index.mask, human.probs, 1e-10)
    np.testing.assert_allclose(found - found.mean(0), weights - weights.mean(0), atol=0.02)
    np.testing.assert_allclose(at - at.mean(), intercept - intercept.mean(), atol=0.02)
    heavy, at = fit_map(logs, said.index.mask, human.probs, 1e6)
    np.testing.assert_allclose([heavy - np.diag(np.diag(heavy)), np.diag(at)], 0.0, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_temperature_of_an_llm_is_recovered(temperature: float) -> None:
    human = llm()
    fitted = Temperature().fit(paired(human, tempered(human, temperature)))
    assert fitted.temperature_ == pytest.approx(1 / temperature, rel=0.02)


def test_unordered_options_have_a_temperature_and_no_map() -> None:
    data = known_distortion()
    fitted = DirichletMap().fit(data)
    assert all(shape.ordered for shape in fitted.maps_)
    nominal = ~data.index.ordered
    prediction = fitted.predict(data.elicited)
    assert prediction.counts["rows_without_a_map_of_their_scale"] == nominal.sum()
    alone = fitted.fallback_.predict(data.elicited).opinions.probs
    np.testing.assert_allclose(prediction.opinions.probs[nominal], alone[nominal], atol=1e-12)


def test_the_rectifier_takes_off_a_constant_error_and_an_llm_that_knows_nothing() -> None:
    human = Opinions(llm().index, close(llm().probs + 0.5, llm().index.mask))
    constant = Opinions(human.index, human.probs + np.array([0.05, 0.0, -0.05]))
    assert error_of(Rectifier(), paired(human, constant)) < 0.01
    # The twin: what was said of other questions tells nothing, and λ is near nought.
    shuffled = Opinions(human.index, np.random.default_rng(5).permutation(constant.probs))
    fitted = Rectifier().fit(paired(human, shuffled))
    power, mean = fitted.rectifiers_[QUESTIONS[0].shape]
    assert power < 0.2
    np.testing.assert_allclose(mean, human.probs.mean(0) - power * shuffled.probs.mean(0))


def test_similar_questions_share_their_error() -> None:
    words = ["tax budget money", "church faith prayer"]
    asked = [replace(q, text=words[n % 2]) for n, q in enumerate(QUESTIONS)]
    said = llm()
    of_index = index(asked, groups(3))
    gain = np.where(of_index.question_of_row % 2, 1.0, -1.0)[:, None] * np.array([0.03, 0, -0.03])
    said = Opinions(of_index, close(said.probs + 0.5, said.index.mask))
    data = paired(Opinions(of_index, said.probs + gain), said)
    assert error_of(Similarity(), data) < 1e-9
    # The twin: without the topic the errors cancel.
    assert error_of(Rectifier(), data) > 0.02


@pytest.mark.parametrize("make", [Boosting, BoostingStructured])
def test_boosting_finds_a_curve_that_no_line_is(make: type[Calibrator]) -> None:
    asked = [question(f"q{number:02}", 2) for number in range(60)]
    said = opinions(index(asked, groups(3)), np.random.default_rng(1))
    bent = np.where(said.probs > 0.5, 0.8, 0.2)
    data = paired(Opinions(said.index, bent), said)
    late = data.index.question_of_row >= 45
    found = make().fit(data.take(~late), seed=0).predict(data.take(late).elicited).opinions.probs
    assert np.abs(found - bent[late]).mean() < 0.05
    assert np.abs(said.probs[late] - bent[late]).mean() > 0.1


def figures(data: Paired) -> dict[str, dict[str, float]]:
    """As the held-out results would have them."""
    fold_of = folds_of_questions(data.index.question_keys, 5, 0)
    of_row = np.array([fold_of[key] for key in data.index.question_keys])
    known = {}
    for name in ("identity", "train-mean"):
        result = held_out(name, data, of_row[data.index.question_of_row], 0)
        known[name] = {s: float(result.own_act[s].mean()) for s in ("kl_1e3", "w1")}
    others = {name: {"kl_1e3": 9.0, "w1": 9.0} for name in ("ridge", "lasso", "forest")}
    structured = {"ridge-structured": {"kl_1e3": 9.0, "w1": 9.0}}
    return known | others | structured | {"dirichlet": {"kl_1e3": 0.01, "w1": 0.01}}


@pytest.mark.slow
def test_peers_run_on_the_folds_of_the_held_out_figures_and_say_where_they_are_others() -> None:
    data = known_distortion(n_questions=15, n_options=(3,))
    former = figures(data)
    row = run_setting(data, former, dirichlet=False)
    assert set(row["scores"]) >= {*peer_names(), *PEERS, "dirichlet"}
    assert best_peer(row, "w1") not in ("ridge", "lasso", "forest")
    text = "\n".join(report_lines({"table": [row | {"sources": "here"}]}))
    assert f"| {best_peer(row, 'w1')} |" in text
    former["train-mean"]["w1"] *= 1.01
    with pytest.raises(CalibError, match="train-mean must score on these folds"):
        run_setting(data, former, dirichlet=False)
