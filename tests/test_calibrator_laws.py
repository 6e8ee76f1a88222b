"""What every calibrator must do, each law with a calibrator that breaks it."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import (
    groups,
    index,
    known_distortion,
    opinions,
    paired,
    question,
    reordered,
    reordering,
    silence,
)

from calib.base import REGISTRY, Calibrator, Prediction, make_calibrator
from calib.opinions import Elicited, Index, Opinions, close
from calib.paired import Paired
from calib.scores import kl_1e3
from calib.trivial import Identity, prediction_of

Make = Callable[[], Calibrator]
Law = Callable[[Make, float], None]

MONTE_CARLO_ERROR: Mapping[str, float] = {"dirichlet": 0.05}
"""How far shares of calibrators that sample may move where others move by rounding only."""
ROUNDING = 1e-7
TAKES_LONG = ("forest-per-group", "dirichlet")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in TAKES_LONG else name for name in REGISTRY
]


def pairs(n_sources: int = 1) -> Paired:
    """Four groups, twelve questions of two to five options, some nominal."""
    return known_distortion(seed=1, n_questions=12, n_sources=n_sources)


def shares(make: Make, training: Paired, asked: Elicited, seed: int = 0) -> np.ndarray:
    return make().fit(training, seed=seed).predict(asked).opinions.probs


def assert_distributions(prediction: Prediction, asked: Elicited) -> None:
    """Proper shares exactly where a source answered."""
    probs, mask = prediction.opinions.probs, asked.index.mask
    answered = asked.answered.any(axis=0)
    assert np.all(probs[~mask] == 0)
    assert np.all(probs[answered] >= 0)
    np.testing.assert_allclose(probs[answered].sum(axis=1), 1.0, atol=1e-9)
    assert np.isnan(probs[~answered][mask[~answered]]).all()


def assert_same_index(found: Index, expected: Index) -> None:
    assert found.questions == expected.questions
    assert found.groups == expected.groups
    np.testing.assert_array_equal(found.question_of_row, expected.question_of_row)
    np.testing.assert_array_equal(found.group_of_row, expected.group_of_row)
    np.testing.assert_array_equal(found.mask, expected.mask)


def law_of_index(make: Make, tolerance: float) -> None:
    """Every row gets a distribution over its own options, however many; the index stays."""
    data = pairs()
    prediction = make().fit(data).predict(data.elicited)
    assert_distributions(prediction, data.elicited)
    assert_same_index(prediction.opinions.index, data.index)


def law_of_row_order(make: Make, tolerance: float) -> None:
    data = pairs()
    order = np.random.default_rng(2).permutation(len(data))
    straight = shares(make, data, data.elicited)
    shuffled = shares(make, data.take(order), data.elicited.take(order))
    np.testing.assert_allclose(shuffled, straight[order], atol=tolerance)


def law_of_option_order(make: Make, tolerance: float) -> None:
    """Options listed in another order, values and shares with them: the same answer to each."""
    data, rng = pairs(), np.random.default_rng(3)
    order_of = [rng.permutation(len(q.options)) for q in data.index.questions]
    turned = reordered(data, order_of)
    straight = shares(make, data, data.elicited)
    expected = np.take_along_axis(straight, reordering(data.index, order_of), axis=1)
    np.testing.assert_allclose(shares(make, turned, turned.elicited), expected, atol=tolerance)


def law_of_refitting(make: Make, tolerance: float) -> None:
    """A second fit forgets the first."""
    data, other = pairs(), known_distortion(seed=9, n_questions=10, n_options=(3, 5))
    once = make().fit(data).predict(data.elicited)
    twice = make().fit(other).fit(data).predict(data.elicited)
    np.testing.assert_array_equal(twice.opinions.probs, once.opinions.probs)


def law_of_inputs(make: Make, tolerance: float) -> None:
    data = pairs()
    before = copy.deepcopy((data.human.probs, data.elicited.probs, data.index.mask))
    make().fit(data).predict(data.elicited)
    sources = np.stack([source.probs for source in data.elicited.sources])
    for left, right in zip(before, (data.human.probs, sources, data.index.mask), strict=True):
        np.testing.assert_array_equal(left, right)


def law_of_seeds(make: Make, tolerance: float) -> None:
    data = pairs()
    first = shares(make, data, data.elicited, seed=4)
    np.testing.assert_array_equal(shares(make, data, data.elicited, seed=4), first)


def law_of_the_unseen(make: Make, tolerance: float) -> None:
    """New questions, of other option counts, and new groups get distributions too."""
    training = known_distortion(seed=1, n_questions=12, n_options=(3, 4))
    asked = [question("new2", 2), question("new6", 6), question("newn", 3, "nominal")]
    of_index = index(asked, groups(6))
    block = opinions(of_index, np.random.default_rng(5))
    new = paired(block, block).elicited
    assert_distributions(make().fit(training).predict(new), new)


def law_of_silent_sources(make: Make, tolerance: float) -> None:
    """One of two sources silent: predicted still; both silent: unknown, and only that."""
    data = pairs(n_sources=2)
    first, second = data.elicited.sources
    gappy = paired(data.human, silence(first, [0, 5, 7]), silence(second, [5, 9]))
    prediction = make().fit(gappy).predict(gappy.elicited)
    assert_distributions(prediction, gappy.elicited)
    assert np.flatnonzero(~prediction.opinions.known).tolist() == [5]


def law_of_saving(make: Make, tolerance: float) -> None:
    data = pairs(n_sources=2)
    saved, loaded = make().fit(data), make()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(saved.state(), allow_nan=False)
        saved.save_files(Path(folder))
        loaded.settings_ = saved.settings_
        loaded.restore(json.loads(text))
        loaded.load_files(Path(folder))
    found = loaded.predict(data.elicited).opinions.probs
    np.testing.assert_allclose(found, saved.predict(data.elicited).opinions.probs, atol=1e-12)


def law_of_gain(make: Make, tolerance: float) -> None:
    """An LLM that exaggerates all shares alike is corrected on questions not trained on."""
    data = known_distortion(seed=6, n_questions=80, n_groups=2)
    held_out = data.index.question_of_row % 4 == 0
    training, test = data.take(~held_out), data.take(held_out)
    predicted = shares(make, training, test.elicited)
    human, mask = test.human.probs, test.index.mask
    calibrated = kl_1e3(human, predicted, mask).mean()
    assert calibrated < 0.5 * kl_1e3(human, test.elicited.pooled(), mask).mean()


LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        law_of_index, law_of_row_order, law_of_option_order, law_of_refitting, law_of_inputs,
        law_of_seeds, law_of_the_unseen, law_of_silent_sources, law_of_saving, law_of_gain,
    )
}  # fmt: skip
WITHOUT_GAIN = ("identity", "uniform", "train-mean")
"""Do not learn the LLM's error, so they are not bound by the law of gain."""


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", NAMES)
def test_law(name: str, law: str) -> None:
    if law == "law_of_gain" and name in WITHOUT_GAIN:
        return
    LAWS[law](lambda: make_calibrator(name), MONTE_CARLO_ERROR.get(name, ROUNDING))


class Broken(Identity):
    """Identity but for one fault, which a subclass adds."""

    def _predict(self, elicited: Elicited) -> Prediction:
        return prediction_of(elicited, self.spoil(elicited.pooled(), elicited.index), {})

    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        return np.where(of_index.mask, probs, 0.0)


class MovesGroups(Broken):
    def _predict(self, elicited: Elicited) -> Prediction:
        kept = super()._predict(elicited).opinions
        moved = Index(
            kept.index.questions, kept.index.groups[::-1], kept.index.question_of_row,
            kept.index.group_of_row, kept.index.mask,
        )  # fmt: skip
        return Prediction(Opinions(moved, kept.probs))


class TrustsRowOrder(Broken):
    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        weight = np.linspace(0, 1, len(probs))[:, None]
        return weight * probs + (1 - weight) * of_index.uniform()


class LikesTheFirstOption(Broken):
    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        bonus = np.where(np.arange(probs.shape[1]) == 0, 0.1, 0.0)
        return close(probs + bonus, of_index.mask)


class Remembers(Broken):
    fits = 0

    def _fit(self, _training: Paired, _seed: int) -> None:
        self.fits += 1

    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        return close(probs + self.fits, of_index.mask)


class WritesIntoItsInput(Broken):
    def _predict(self, elicited: Elicited) -> Prediction:
        prediction = super()._predict(elicited)
        elicited.sources[0].probs[0, :2] = elicited.sources[0].probs[0, 1::-1].copy()
        return prediction


class IgnoresItsSeed(Broken):
    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        return close(probs + np.random.default_rng().random(probs.shape), of_index.mask)


class KnowsItsGroupsOnly(Broken):
    def _fit(self, training: Paired, _seed: int) -> None:
        self.groups_ = training.index.groups

    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        known = np.array([group in self.groups_ for group in of_index.groups])
        return np.where(of_index.mask & ~known[of_index.group_of_row, None], np.nan, probs)


class FillsSilenceWithUniform(Broken):
    def _predict(self, elicited: Elicited) -> Prediction:
        pooled = elicited.pooled()
        filled = np.where(np.isnan(pooled), elicited.index.uniform(), pooled)
        return Prediction(Opinions(elicited.index, filled))


class ForgetsWhenSaved(Broken):
    weight_ = 0.0

    def _fit(self, _training: Paired, _seed: int) -> None:
        self.weight_ = 1.0

    def spoil(self, probs: np.ndarray, of_index: Index) -> np.ndarray:
        return close(probs + self.weight_, of_index.mask)

    def state(self) -> dict[str, Any]:
        return {}


TWINS: Mapping[str, type[Calibrator]] = {
    "law_of_index": MovesGroups,
    "law_of_row_order": TrustsRowOrder,
    "law_of_option_order": LikesTheFirstOption,
    "law_of_refitting": Remembers,
    "law_of_inputs": WritesIntoItsInput,
    "law_of_seeds": IgnoresItsSeed,
    "law_of_the_unseen": KnowsItsGroupsOnly,
    "law_of_silent_sources": FillsSilenceWithUniform,
    "law_of_saving": ForgetsWhenSaved,
    "law_of_gain": Identity,
}


@pytest.mark.parametrize("law", LAWS)
def test_law_finds_the_calibrator_that_breaks_it(law: str) -> None:
    with pytest.raises(AssertionError):
        LAWS[law](TWINS[law], ROUNDING)


@pytest.mark.parametrize("law", LAWS)
def test_a_calibrator_without_fault_keeps_the_law(law: str) -> None:
    """So that a twin fails for its own fault and not for the frame it shares."""
    if law != "law_of_gain":
        LAWS[law](Broken, ROUNDING)
