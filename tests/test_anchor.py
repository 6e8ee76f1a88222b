"""Predictions anchored on toplines, by a model that knows the truth of a simulated survey."""

from __future__ import annotations

import json
from copy import copy

import numpy as np
import pytest
from builders import index, opinions, question, silence
from builders import paired as pairs_of
from known_posterior import knows_the_truth

from calib.anchor import anchors_of, group_weights, respondents_by_group
from calib.base import REGISTRY, make_calibrator
from calib.dirichlet import Dirichlet
from calib.errors import CalibError, FitError
from calib.opinions import Elicited, Index, Opinions, close
from calib.paired import Paired, pair
from calib.scores import SCORES, coverage, interval
from calib.simulate import Truth, simulate_survey
from calib.survey import Group
from calib.toplines import EVERYBODY

GROUPS = sorted(Group("PARTY", name) for name in ("left", "centre", "right", "other"))
# So many respondents that their shares are the population's.
TRUTH = Truth(sd_shape=0.0, phi=200.0, n=10_000_000)
N_QUESTIONS = 80


def toplines_of(
    of_index: Index, shares: np.ndarray, n: float | None = None, questions: slice = slice(None)
) -> Opinions:
    """Toplines of some questions; shares [question, option]."""
    asked = of_index.questions[questions]
    offered = np.zeros(shares.shape, dtype=bool)
    np.logical_or.at(offered, of_index.question_of_row, of_index.mask)
    own = Index(
        asked, (EVERYBODY,), np.arange(len(asked)), np.zeros(len(asked), int), offered[questions]
    )
    size = None if n is None else np.full(len(asked), float(n))
    return Opinions(own, close(shares[questions], own.mask), size)


def mean_over_groups(of_index: Index, shares: np.ndarray) -> np.ndarray:
    """Plain means [question, option]: groups of one attribute and as many respondents each."""
    total = np.zeros((len(of_index.questions), shares.shape[-1]))
    np.add.at(total, of_index.question_of_row, shares)
    return np.asarray(total / np.bincount(of_index.question_of_row)[:, None])


@pytest.fixture(scope="module")
def known() -> tuple[Paired, Dirichlet, np.ndarray]:
    """Pairs whose human shares are the truth, the model that made them, true toplines."""
    simulated = simulate_survey(
        n_questions=N_QUESTIONS, groups=GROUPS, n_options=(3, 5), truth=TRUTH, seed=5
    )
    paired = pair(simulated.table)
    model = knows_the_truth(simulated, paired)
    return paired, model, mean_over_groups(paired.index, paired.human.probs)


def distance(paired: Paired, shares: np.ndarray) -> float:
    return float(SCORES["w1"](paired.human.probs, shares, paired.index).mean())


def covered(paired: Paired, draws: np.ndarray) -> float:
    low, high = interval(draws, 0.9)
    return float(coverage(paired.human.probs, low, high, paired.index.mask).mean())


def draws_of(model: Dirichlet, elicited: Elicited, toplines: Opinions) -> np.ndarray:
    draws = model.predict(elicited, toplines).draws
    assert draws is not None
    return draws


def with_site(model: Dirichlet, name: str, value: float) -> Dirichlet:
    """The same model with another value of one parameter."""
    changed = copy(model)
    changed.posterior_ = model.posterior_.copy(deep=True)
    changed.posterior_["posterior"][name][:] = value
    return changed


def test_anchored_is_better_than_the_topline_alone_and_than_no_topline(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    of_question = paired.index.question_of_row
    found = {
        name: distance(paired, model.predict(paired.elicited, toplines).opinions.probs)
        for name, toplines in {
            "anchored": toplines_of(paired.index, truth),
            "unanchored": None,
            # The twin: the topline of the question after the next, which has as many options.
            "wrong": toplines_of(paired.index, np.roll(truth, 2, axis=0)),
        }.items()
    }
    alone = distance(paired, close(truth[of_question], paired.index.mask))
    assert found["anchored"] < 0.6 * alone
    assert found["anchored"] < 0.4 * found["unanchored"]
    assert found["wrong"] > found["unanchored"]


def test_intervals_hold_given_the_topline_and_its_sample_size(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    drawn = np.random.default_rng(8).multinomial(30, truth / truth.sum(axis=1, keepdims=True))
    sampled = drawn / 30
    rate = {
        name: covered(paired, draws_of(model, paired.elicited, toplines))
        for name, toplines in {
            "exact": toplines_of(paired.index, truth),
            "sampled": toplines_of(paired.index, sampled, 30),
            # The twin: few respondents, taken as exact.
            "unsaid": toplines_of(paired.index, sampled),
        }.items()
    }
    # The errors of four cells are drawn apart, though the topline holds their mean: somewhat
    # too wide, at most by the square root of 4/3.
    assert 0.88 < rate["exact"] < 0.95, rate
    assert 0.88 < rate["sampled"] < 0.95, rate
    assert rate["unsaid"] < 0.8, rate


def test_without_error_of_cells_every_draw_adds_up_to_the_topline(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    exact = with_site(model, "phi", 1e12)
    draws = draws_of(exact, paired.elicited, toplines_of(paired.index, truth))
    rows = paired.index.question_of_row == 3
    np.testing.assert_allclose(
        draws[:, rows].mean(axis=1), np.tile(truth[3], (len(draws), 1)), atol=1e-5
    )


def test_many_respondents_are_as_good_as_all_and_few_leave_the_prediction_as_it_was(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    exact, many, few, none = (
        model.predict(paired.elicited, toplines).opinions.probs
        for toplines in (
            toplines_of(paired.index, truth),
            toplines_of(paired.index, truth, 1e9),
            toplines_of(paired.index, truth, 1e-3),
            None,
        )
    )
    # A draw's random numbers are the same, but for the few that its share just rejects.
    assert np.abs(many - exact).mean() < 1e-4
    # Means of other random numbers, 400 draws of shares whose spread is 0.1.
    assert np.abs(few - none).mean() < 0.01 < np.abs(exact - none).mean()


def test_an_anchored_prediction_depends_on_no_other_question(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    of_question = paired.index.question_of_row
    some = toplines_of(paired.index, truth, 200, slice(10, 12))
    together = model.predict(paired.elicited, some)
    without = model.predict(paired.elicited).opinions.probs
    anchored = (of_question == 10) | (of_question == 11)
    np.testing.assert_array_equal(together.opinions.probs[~anchored], without[~anchored])
    assert together.counts["questions_anchored"] == 2
    assert together.counts["questions_without_topline"] == N_QUESTIONS - 2
    alone = model.predict(paired.elicited.take(of_question == 11), some)
    np.testing.assert_array_equal(alone.opinions.probs, together.opinions.probs[of_question == 11])
    assert not np.allclose(alone.opinions.probs, without[of_question == 11], atol=1e-3)


def test_an_option_without_share_in_an_exact_topline_has_none_in_any_group(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    emptied = truth.copy()
    emptied[:, 1] = 0.0
    draws = draws_of(model, paired.elicited, toplines_of(paired.index, emptied))
    assert np.all(draws[:, :, 1] == 0)
    np.testing.assert_allclose(draws.sum(axis=2), 1.0, atol=1e-9)


def test_with_one_group_the_topline_says_all() -> None:
    simulated = simulate_survey(
        n_questions=6, groups=GROUPS[:1], n_options=(3, 4), truth=TRUTH, seed=2
    )
    paired = pair(simulated.table)
    model = knows_the_truth(simulated, paired)
    toplines = toplines_of(paired.index, paired.human.probs)
    draws = draws_of(model, paired.elicited, toplines)
    np.testing.assert_allclose(draws, np.tile(toplines.probs, (len(draws), 1, 1)), atol=1e-12)


def test_unanswered_cells_stay_unknown_and_the_others_add_up(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    paired, model, truth = known
    [source] = paired.elicited.sources
    gappy = Elicited(paired.elicited.settings, (silence(source, [4]),))
    found = with_site(model, "phi", 1e12).predict(gappy, toplines_of(gappy.index, truth))
    assert np.flatnonzero(~found.opinions.known).tolist() == [4]
    assert found.draws is not None
    np.testing.assert_allclose(found.draws[:, 5:8].mean(axis=(0, 1)), truth[1], atol=1e-5)
    assert found.counts["questions_anchored_without_all_groups"] == 1


def test_a_topline_that_the_groups_cannot_have_is_refused(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    _, model, _ = known
    mask = np.ones((4, 3), dtype=bool)
    mask[1:, 2] = False  # offered to a quarter of the people
    of_index = index([question("q")], GROUPS, mask)
    block = opinions(of_index, np.random.default_rng(0))
    elicited = Elicited(model.settings_, (block,))
    possible, impossible = np.array([[0.5, 0.3, 0.2]]), np.array([[0.3, 0.3, 0.4]])
    found = model.predict(elicited, toplines_of(of_index, possible))
    assert np.all(found.opinions.probs[1:, 2] == 0)
    with pytest.raises(FitError, match=r"test/q cannot in 400 of 400 draws.* take the question"):
        model.predict(elicited, toplines_of(of_index, impossible))


@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "dirichlet"])
def test_other_calibrators_say_that_they_cannot_anchor(
    name: str, known: tuple[Paired, Dirichlet, np.ndarray]
) -> None:
    paired, model, truth = known
    calibrator = make_calibrator(name)
    calibrator.settings_ = model.settings_
    with pytest.raises(FitError, match=f"got {name}; .*dirichlet"):
        calibrator.predict(paired.elicited, toplines_of(paired.index, truth))


A, B, C, D = Group("A", "a"), Group("A", "b"), Group("B", "c"), Group("B", "d")


@pytest.mark.parametrize(
    ("respondents", "weights", "n_assumed"),
    [
        ({A: 30.0, B: 10.0, C: 7.0, D: 7.0}, [3 / 8, 1 / 8, 1 / 4, 1 / 4], 0),
        # Unknown: as the mean of its attribute, of all, or alike.
        ({A: 30.0, B: np.nan, C: 1.0, D: 3.0}, [1 / 4, 1 / 4, 1 / 8, 3 / 8], 1),
        ({A: 30.0, B: 10.0}, [3 / 8, 1 / 8, 1 / 4, 1 / 4], 2),
        ({A: np.nan}, [1 / 4] * 4, 4),
    ],
)
def test_attributes_count_alike_and_groups_by_their_respondents(
    respondents: dict[Group, float], weights: list[float], n_assumed: int
) -> None:
    of_index = index([question("q"), question("r")], [A, B, C, D])
    found, assumed = group_weights(of_index, respondents)
    np.testing.assert_allclose(found, weights * 2)
    assert assumed.sum() == 2 * n_assumed
    # A question of fewer groups has its weights among these.
    found, _ = group_weights(of_index.take(np.array([0, 2, 3, 4])), respondents)
    assert found[:3].sum() == pytest.approx(1.0) and found[3] == pytest.approx(1.0)
    assert found[0] == pytest.approx(0.5)


def test_respondents_are_means_over_training_questions_and_survive_saving_where_unknown(
    known: tuple[Paired, Dirichlet, np.ndarray],
) -> None:
    of_index = index([question("q"), question("r")], [A, B])
    human = opinions(of_index, np.random.default_rng(2))
    n = np.array([10.0, np.nan, 30.0, np.nan])
    found = respondents_by_group(pairs_of(Opinions(of_index, human.probs, n), human))
    assert found[A] == 20.0 and np.isnan(found[B])
    model = copy(known[1])
    model.groups_, model.respondents_ = (A, B), found
    again = Dirichlet()
    again.restore(json.loads(json.dumps(model.state(), allow_nan=False)))
    np.testing.assert_equal(again.respondents_, found)


def test_what_is_assumed_of_toplines_is_counted() -> None:
    of_index = index([question("q"), question("r")], [A, C])
    toplines = opinions(
        index([question("q"), question("s")], [EVERYBODY]), np.random.default_rng(1)
    )
    anchors, counts = anchors_of(of_index, toplines, {A: 30.0, B: 10.0})
    assert anchors.known.tolist() == [True, False] and np.isnan(anchors.n).all()
    assert counts == {
        "questions_anchored": 1,
        "questions_without_topline": 1,
        "questions_anchored_without_all_groups": 1,  # B is not there
        "toplines_closed_over_offered_options": 0,
        "anchored_rows_of_assumed_weight": 1,  # C was not seen
    }


def test_options_that_nobody_was_offered_are_left_out_and_counted() -> None:
    mask = np.array([[True, True, False]] * 2)
    of_index = index([question("q")], [A, B], mask)
    whole = index([question("q")], [EVERYBODY])
    anchors, counts = anchors_of(of_index, Opinions(whole, np.array([[0.2, 0.6, 0.2]])), {})
    np.testing.assert_allclose(anchors.topline, [[0.25, 0.75, 0.0]])
    assert counts["toplines_closed_over_offered_options"] == 1


def test_a_topline_over_other_options_is_refused() -> None:
    toplines = opinions(index([question("q", 4)], [EVERYBODY]), np.random.default_rng(1))
    with pytest.raises(CalibError, match="test/q has others"):
        anchors_of(index([question("q")], [A, B]), toplines, {})
