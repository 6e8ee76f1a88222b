"""The benchmark of growth: its exponents, its surveys; and what large tables rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from benchmarks.scale import Size, exponent, size_of, write_survey
from calib.blocks import Block
from calib.fitting import regression_arrays
from calib.formulas import design, peer_roots
from calib.paired import pair
from calib.pilot import pilot_of, some_groups
from calib.simulate import simulate_survey
from calib.survey import Group
from calib.table import read_table

SIZES = np.array([1e3, 1e4, 1e5, 1e6])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power: float) -> None:
    found = exponent(SIZES, 3.0 * SIZES**power)
    np.testing.assert_allclose(found, power, atol=1e-6)


def test_the_interval_of_an_exponent_is_that_of_least_squares() -> None:
    noise = np.array([0.1, -0.1, -0.1, 0.1])
    found = exponent(SIZES, SIZES * np.exp(noise))
    # The noise is at right angles to the line; t(0.975, 2) = 4.303.
    x = np.log(SIZES) - np.log(SIZES).mean()
    assert found.slope == pytest.approx(1.0)
    assert found.high - 1.0 == pytest.approx(4.302653 * np.sqrt(0.04 / 2 / (x**2).sum()))


def test_two_sizes_have_no_interval_and_one_has_no_exponent() -> None:
    assert exponent(SIZES[:2], SIZES[:2]).slope == pytest.approx(1.0)
    assert np.isnan(exponent(SIZES[:2], SIZES[:2]).low)
    assert np.isnan(exponent(SIZES[:1], SIZES[:1]).slope)


def test_a_survey_has_the_size_asked_for(tmp_path: Path) -> None:
    held = write_survey(tmp_path / "t.parquet", Size(40, groups=4, options=3, sources=3), 0)
    paired = pair(read_table(tmp_path / "t.parquet"))
    assert len(paired) == held["cells"] == 40
    assert held["table_lines"] == 40 * 3 * 3
    assert len(paired.elicited.settings) == 3
    assert {len(question.options) for question in paired.index.questions} == {3}
    assert np.ptp(paired.elicited.probs, axis=0).max() > 0.01
    assert size_of("groups", 30) == Size(6_000, 30, 5, 1)


def mean_over_peers(attribute: np.ndarray) -> Float[np.ndarray, "slot slot"]:
    """By the definition: each group's row takes the mean over those of its attribute."""
    same = attribute[:, None] == attribute[None, :]
    count = same.sum(axis=1, keepdims=True)
    return np.where(count > 1, same / count, 0.0)


def test_roots_take_the_mean_over_an_attributes_groups() -> None:
    attribute = np.array([2, 0, 2, 1, 0, 2])
    mask = np.ones((1, 6, 2), bool)
    root = peer_roots(attribute[None], mask)[0]
    np.testing.assert_allclose(root.T @ root, mean_over_peers(attribute), atol=1e-15)
    # The twin: a slot that nobody was asked in belongs to no mean.
    mask[0, 5] = False
    root = peer_roots(attribute[None], mask)[0]
    assert np.all(root[:, 5] == 0)
    assert not np.allclose(root.T @ root, mean_over_peers(attribute))


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [1, 3, 4], [0, 2, 5]])
def test_the_pilots_groups_are_those_of_a_table_of_them_alone(chosen: list[int]) -> None:
    names = [Group(f"a{number % 2}", f"g{number}") for number in range(6)]
    frame = simulate_survey(n_questions=9, groups=names, n_options=(3, 4), seed=2).table
    whole = pair(frame[~((frame["question_id"] == "q002") & (frame["group"] == "g1"))])
    alone = whole.take(np.isin(whole.index.group_of_row, chosen))
    assert whole.human.n is not None and alone.human.n is not None
    found = some_groups(regression_arrays(whole, whole.human.n), np.array(chosen))
    expected = regression_arrays(alone, alone.human.n)
    width = expected.counts.shape[1]
    np.testing.assert_array_equal(found.counts[:, :width], expected.counts)
    assert not found.counts[:, width:].any()
    for name in ("mask", "group"):
        ours, theirs = (getattr(one.covariates, name) for one in (found, expected))
        np.testing.assert_array_equal(ours[:, :width], theirs)
    floor = np.array([-4.0])
    ours, theirs = (design(np, one.covariates, floor) for one in (found, expected))
    for name in ("between", "within", "contradiction"):
        one, other = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(one if name == "between" else one[:, :, :width], other)
    np.testing.assert_allclose(found.prior.groups, expected.prior.groups)


def test_a_pilot_stands_for_the_questions_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calib.pilot.QUESTIONS", 8)
    monkeypatch.setattr("calib.pilot.GROUPS", 3)
    names = [Group("a", f"g{number}") for number in range(5)]
    survey = pair(simulate_survey(n_questions=24, groups=names, n_options=(3,), seed=2).table)
    assert survey.human.n is not None
    arrays = regression_arrays(survey, survey.human.n)
    pilot = pilot_of(arrays, 0)
    assert pilot.counts.shape == (8, 3, 3)
    assert float(pilot.repeats) == 3.0
    assert len(pilot.group_number) == 3
    assert Block(survey.index, ("",)).n_slots == 5
