"""What is known before sampling: information about labels, and the units that follow from it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from builders import known_distortion

from calib.fitting import regression_arrays, start_of
from calib.models import RegressionData
from calib.prior import GROUP_PARTS
from calib.starting import (
    LABEL_SPREAD_GUESSED,
    PRECISION_GUESSED,
    Information,
    known_effects,
    label_information,
    stretch,
)


@pytest.fixture(scope="module")
def arrays() -> RegressionData:
    pairs = known_distortion(seed=1, n_questions=12)
    return regression_arrays(pairs, np.full(len(pairs), 200.0))


def test_labels_are_known_as_well_as_their_questions_tell(arrays: RegressionData) -> None:
    n_labels = len(arrays.label_number)
    told = label_information(arrays.covariates, arrays.about, n_labels)
    label, shares = np.asarray(arrays.covariates.label), np.asarray(arrays.about.shares)
    for number in range(1, n_labels):
        share = shares[label == number]
        assert told[number] == pytest.approx(PRECISION_GUESSED / 10 * (share * (1 - share)).sum())
    # Five options at most, the first two of them on every question; the rest is padding.
    assert (told[1:6] > 0).all()
    assert told[1:3].min() > told[5]
    assert told[0] == 0.0
    assert (told[6:] == 0.0).all()


def test_units_of_a_label_lie_between_its_own_and_those_of_its_spread(
    arrays: RegressionData,
) -> None:
    prior = LABEL_SPREAD_GUESSED**-2
    nothing = dict.fromkeys(GROUP_PARTS, Information(np.array(0.0), np.array(0.0)))
    known = known_effects(nothing, np.array([0.0, prior, 9 * prior]))
    np.testing.assert_allclose(known.label, [0.0, 0.5, 0.9])
    assert (known.within, known.scale_curve) == (0.0, 0.0)
    with jax.enable_x64(True):
        sampled, approximated = (
            np.asarray(start_of(arrays, centred=centred)[0].known.label)
            for centred in (True, False)
        )
    assert 0.0 < sampled[5] < sampled[1] < 1.0
    # What needs a mode has units of the spread alone.
    assert approximated == 0.0


def slopes_about_zero(log_growth: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """From below and from above."""
    near = 1e-6
    far_below, below, above, far_above = log_growth(near * np.array([[-2.0, -1.0, 1.0, 2.0]]))[0]
    return (below - far_below) / near, (far_above - above) / near


def test_units_of_logits_grow_downwards_and_without_a_ridge() -> None:
    tail, step = np.full((1, 1), 0.4), 1e-5
    unit = np.linspace(-30.0, 30.0, 601)[None]
    tails = np.broadcast_to(tail, unit.shape)
    ahead, behind = (stretch(np, unit + sign * step, tails)[0] for sign in (1, -1))
    log_growth = stretch(np, unit, tails)[1]
    np.testing.assert_allclose((ahead - behind) / (2 * step), np.exp(log_growth), rtol=1e-7)
    assert stretch(np, np.zeros((1, 1)), tail)[0] == 0.0
    assert np.exp(log_growth[0, 0]) == pytest.approx(1 + 0.4 * 30, rel=1e-3)
    assert np.exp(log_growth[0, -1]) == pytest.approx(1.0, rel=1e-2)
    np.testing.assert_array_equal(stretch(np, unit, 0 * unit), (unit, 0 * unit))

    below, above = slopes_about_zero(lambda at: stretch(np, at, np.full(at.shape, 0.4))[1])
    assert below == pytest.approx(above, abs=1e-5)
    # The twin: what grows from zero on has a ridge there, which looked like a mode.
    below, above = slopes_about_zero(lambda at: np.log1p(0.4 * np.maximum(-at, 0.0)))
    assert below == pytest.approx(-0.4, abs=1e-3)
    assert above == 0.0
