"""The yardsticks against closed forms, brute force and known truth."""

from __future__ import annotations

import numpy as np
import pytest
from builders import groups, index, known_distortion, opinions, paired, question, silence, tempered

from calib.opinions import Opinions
from calib.paired import Paired
from calib.scores import kl_1e3
from calib.survey import Question
from calib.trivial import Identity, Simplex, Temperature, TrainMean, Uniform


def same_for_all(asked: list[Question], *answers: list[float]) -> Paired:
    """One group whose human and LLM shares are those given, one list per question."""
    of_index = index(asked, groups(1))
    probs = np.zeros(of_index.mask.shape)
    for row, answer in enumerate(answers):
        probs[row, : len(answer)] = answer
    block = Opinions(of_index, probs)
    return paired(block, block)


def test_identity_is_the_mean_of_the_sources_that_answered() -> None:
    data = known_distortion(n_questions=4, n_sources=2)
    first, second = data.elicited.sources
    gappy = paired(data.human, first, silence(second, [1]))
    prediction = Identity().fit(gappy).predict(gappy.elicited)
    expected = (first.probs + second.probs) / 2
    expected[1] = first.probs[1]
    np.testing.assert_allclose(prediction.opinions.probs, expected)
    assert prediction.counts["source_cells_filled"] == 1


def test_uniform_is_one_over_the_options_offered_where_a_source_answered() -> None:
    data = known_distortion(n_questions=4)
    silent = paired(data.human, silence(data.elicited.sources[0], [0]))
    prediction = Uniform().fit(data).predict(silent.elicited)
    rows = prediction.opinions.probs[1:]
    np.testing.assert_allclose(rows.max(axis=1), 1 / data.index.n_options[1:])
    assert np.isnan(prediction.opinions.probs[0, : data.index.n_options[0]]).all()
    assert prediction.counts["rows_no_source_answered"] == 1


def test_train_mean_matches_options_by_their_place() -> None:
    training = same_for_all(
        [question("up", values=[1, 2, 3]), question("down", values=[30, 20, 10])],
        [0.1, 0.2, 0.7],
        [0.5, 0.4, 0.1],
    )
    asked = same_for_all([question("new", values=[5, 9, 1])], [1.0, 0.0, 0.0])
    prediction = TrainMean().fit(training).predict(asked.elicited)
    # Along the scale the people are (.1, .2, .7) and (.1, .4, .5).
    np.testing.assert_allclose(prediction.opinions.probs, [[0.3, 0.6, 0.1]])


def test_train_mean_shares_a_rank_among_options_of_one_place() -> None:
    training = same_for_all([question("a", 3)], [0.1, 0.2, 0.7])
    asked = same_for_all([question("tied", values=[1, 4, 4])], [1.0, 0.0, 0.0])
    prediction = TrainMean().fit(training).predict(asked.elicited)
    np.testing.assert_allclose(prediction.opinions.probs, [[0.1, 0.45, 0.45]])


def test_train_mean_of_nominal_questions_is_uniform() -> None:
    training = same_for_all([question("a", 3, "nominal")], [0.1, 0.2, 0.7])
    prediction = TrainMean().fit(training).predict(training.elicited)
    np.testing.assert_allclose(prediction.opinions.probs, [[1 / 3] * 3])
    assert prediction.counts["rows_with_unseen_scale_shape"] == 0


def test_train_mean_counts_shapes_not_seen() -> None:
    training = same_for_all([question("a", 3)], [0.1, 0.2, 0.7])
    asked = same_for_all([question("b", 2)], [0.9, 0.1])
    prediction = TrainMean().fit(training).predict(asked.elicited)
    np.testing.assert_allclose(prediction.opinions.probs, [[0.5, 0.5]])
    assert prediction.counts["rows_with_unseen_scale_shape"] == 1


def test_train_mean_is_over_the_cells_that_were_offered_an_option() -> None:
    mask = np.array([[True, True, True], [True, True, False]])
    of_index = index([question("a", 3)], groups(2), mask)
    human = Opinions(of_index, np.array([[0.2, 0.2, 0.6], [0.4, 0.6, 0.0]]))
    training = paired(human, human)
    prediction = TrainMean().fit(training).predict(training.elicited)
    mean = np.array([0.3, 0.4, 0.6])
    np.testing.assert_allclose(prediction.opinions.probs[0], mean / mean.sum())
    np.testing.assert_allclose(prediction.opinions.probs[1], [3 / 7, 4 / 7, 0])


def test_train_mean_without_mass_on_what_is_offered_is_uniform_and_counted() -> None:
    training = same_for_all([question("a", 3)], [0.0, 0.0, 1.0])
    of_index = index([question("b", 3)], groups(1), np.array([[True, True, False]]))
    asked = Opinions(of_index, np.array([[0.9, 0.1, 0.0]]))
    prediction = TrainMean().fit(training).predict(paired(asked, asked).elicited)
    np.testing.assert_allclose(prediction.opinions.probs, [[0.5, 0.5, 0.0]])
    assert prediction.counts["rows_without_mass_set_to_uniform"] == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(temperature: float) -> None:
    of_index = index([question(f"q{i}", 2 + i % 4) for i in range(30)], groups(2))
    human = opinions(of_index, np.random.default_rng(0), concentration=20.0)
    # Tempering by 1/T is undone by T.
    data = paired(human, tempered(human, 1 / temperature))
    fitted = Temperature().fit(data)
    assert fitted.temperature_ == pytest.approx(temperature, rel=1e-3)
    np.testing.assert_allclose(fitted.predict(data.elicited).opinions.probs, human.probs, atol=1e-3)
    assert fitted.temperature_ != pytest.approx(temperature * 1.05, rel=1e-3)


def test_temperature_takes_the_geometric_mean_and_counts_floored_shares() -> None:
    asked = [question("a", 2)]
    of_index = index(asked, groups(1))
    first, second = (Opinions(of_index, np.array([p])) for p in ([0.8, 0.2], [1.0, 0.0]))
    data = paired(first, first, second)
    fitted = Temperature().fit(data)
    fitted.temperature_ = 1.0
    prediction = fitted.predict(data.elicited)
    odds = np.sqrt(0.8 / 0.2 * 1.0 / 0.001)
    np.testing.assert_allclose(prediction.opinions.probs, [[odds / (1 + odds), 1 / (1 + odds)]])
    assert prediction.counts["shares_raised_to_1e-3"] == 1


def test_temperature_of_noise_goes_to_its_upper_end() -> None:
    of_index = index([question(f"q{i}", 3) for i in range(40)], groups(1))
    human = Opinions(of_index, of_index.uniform())
    noise = opinions(of_index, np.random.default_rng(1))
    fitted = Temperature().fit(paired(human, noise))
    assert fitted.temperature_ > 90


def test_simplex_finds_the_weights_of_a_mixture() -> None:
    of_index = index([question(f"q{i}", 3 + i % 2) for i in range(20)], groups(2))
    rng = np.random.default_rng(2)
    first, second, third = (opinions(of_index, rng) for _ in range(3))
    mixed = 0.5 * first.probs + 0.2 * second.probs + 0.3 * of_index.uniform()
    data = paired(Opinions(of_index, mixed), first, second, third)
    fitted = Simplex().fit(data)
    np.testing.assert_allclose(fitted.weights_, [0.5, 0.2, 0.0, 0.3], atol=1e-9)


def test_simplex_is_the_best_point_of_a_grid() -> None:
    """Where the unconstrained weights would be negative, brute force over the simplex."""
    data = known_distortion(seed=3, n_questions=15, n_sources=2)
    fitted = Simplex().fit(data)
    parts = [source.probs for source in data.elicited.sources] + [data.index.uniform()]

    def loss(weights: np.ndarray) -> float:
        mixed = sum(w * part for w, part in zip(weights, parts, strict=True))
        return float(((mixed - data.human.probs) ** 2).sum())

    steps = np.linspace(0, 1, 41)
    grid = [np.array([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1]
    best = min(map(loss, grid))
    assert loss(fitted.weights_) <= best + 1e-12
    assert loss(np.full(3, 1 / 3)) > best
    assert fitted.weights_.min() >= 0
    assert fitted.weights_.sum() == pytest.approx(1)


def test_simplex_with_a_perfect_source_is_that_source() -> None:
    of_index = index([question("a", 3), question("b", 4)], groups(2))
    rng = np.random.default_rng(4)
    human = opinions(of_index, rng)
    data = paired(human, human, opinions(of_index, rng))
    np.testing.assert_allclose(Simplex().fit(data).weights_, [1.0, 0.0, 0.0], atol=1e-12)


def test_the_yardsticks_are_in_their_order_on_a_known_distortion() -> None:
    data = known_distortion(seed=5, n_questions=60)
    loss = {}
    for make in (Identity, Uniform, Temperature, Simplex):
        predicted = make().fit(data).predict(data.elicited).opinions.probs
        loss[make.name] = kl_1e3(data.human.probs, predicted, data.index.mask).mean()
    assert loss["temperature"] < loss["simplex"] < min(loss["identity"], loss["uniform"])
