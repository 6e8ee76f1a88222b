"""Weighted shares, effective sizes and standard errors against what is known of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from svy_reference import respondents

from calib.microdata.design import settle_design
from calib.microdata.design_errors import Design, standard_errors
from calib.microdata.shares import Cells, join, tabulate

REFERENCE = json.loads((Path(__file__).parent / "svy_reference.json").read_text("utf-8"))
DESIGNS = REFERENCE["designs"]


def one_attribute(
    option: np.ndarray, n_options: int, group: np.ndarray, n_groups: int, weight: np.ndarray
) -> Cells:
    """The cells of a single attribute."""
    [cells] = tabulate(option, n_options, join([group], [n_groups]), weight)
    return cells


def random_survey(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Options −1 to 3, groups −1 to 2, weights with some zeros."""
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=n) * (rng.random(n) > 0.1)
    return rng.integers(-1, 4, n), rng.integers(-1, 3, n), weight


def by_hand(option: np.ndarray, group: np.ndarray, weight: np.ndarray) -> dict[tuple, list[float]]:
    """n, Σ w, n_eff and shares by a loop over people."""
    found = {}
    for one in range(3):
        people = [
            (c, w)
            for c, g, w in zip(option.tolist(), group.tolist(), weight.tolist(), strict=True)
            if g == one and c >= 0
        ]
        total = sum(w for _, w in people)
        found[one,] = [
            len(people),
            total,
            total**2 / sum(w * w for _, w in people),
            *(sum(w for c, w in people if c == choice) / total for choice in range(4)),
        ]
    return found


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_those_of_a_loop_over_people(seed: int) -> None:
    option, group, weight = random_survey(seed)
    cells = one_attribute(option, 4, group, 3, weight)
    for (one,), (n, total, n_eff, *shares) in by_hand(option, group, weight).items():
        assert cells.n[one] == n
        assert cells.sum_w[one] == pytest.approx(total, rel=1e-12)
        assert cells.n_eff[one] == pytest.approx(n_eff, rel=1e-9)
        np.testing.assert_allclose(cells.shares[one], shares, rtol=0, atol=1e-9)


def test_shares_without_weights_are_others() -> None:
    option, group, weight = random_survey(0)
    weighted = one_attribute(option, 4, group, 3, weight)
    plain = one_attribute(option, 4, group, 3, np.ones(len(weight)))
    assert np.abs(weighted.shares - plain.shares).max() > 1e-2
    assert (weighted.n_eff < 0.8 * plain.n_eff).all()


@pytest.mark.parametrize(("most", "n_joints"), [(1, 3), (20, 2), (4096, 1)])
def test_attributes_joined_or_alone_have_the_same_cells(most: int, n_joints: int) -> None:
    rng = np.random.default_rng(0)
    option, weight = rng.integers(-1, 3, 500), rng.exponential(size=500)
    sizes = [2, 4, 7]
    groups = [rng.integers(-1, size, 500) for size in sizes]
    joints = join(groups, sizes, most)
    assert len(joints) == n_joints
    for group, size, cells in zip(groups, sizes, tabulate(option, 3, joints, weight), strict=True):
        for one in range(size):
            mine = (group == one) & (option >= 0)
            mass = np.bincount(option[mine], weight[mine], minlength=3)
            assert cells.n[one] == mine.sum()
            np.testing.assert_allclose(cells.shares[one], mass / mass.sum(), atol=1e-12)
            assert cells.sum_w2[one] == pytest.approx((weight[mine] ** 2).sum())


def test_closed_forms_of_the_effective_size() -> None:
    option, group = np.zeros(100, dtype=int), np.zeros(100, dtype=int)
    equal = one_attribute(option, 2, group, 1, np.full(100, 3.7))
    assert equal.n_eff[0] == pytest.approx(100, rel=1e-12)
    # Half of weight 1, half of weight k: n·(1 + k)² / (2·(1 + k²)).
    halves = one_attribute(option, 2, group, 1, np.repeat([1.0, 4.0], 50))
    assert halves.n_eff[0] == pytest.approx(100 * 25 / (2 * 17), rel=1e-12)
    # Zero weights count as respondents and for nothing else.
    zeros = one_attribute(option, 2, group, 1, np.repeat([0.0, 1.0], [90, 10]))
    assert zeros.n[0] == 100 and zeros.n_eff[0] == pytest.approx(10, rel=1e-12)


def test_a_cell_without_answers_is_undefined() -> None:
    cells = one_attribute(np.array([-1, 0]), 2, np.array([0, 1]), 2, np.ones(2))
    assert np.isnan(cells.shares[0]).all() and np.isnan(cells.n_eff[0])
    assert cells.shares[1].tolist() == [1.0, 0.0]


def reference(name: str) -> tuple[pd.DataFrame, Design]:
    people = pd.DataFrame(respondents())
    alone = pd.Series(np.arange(len(people)), name="row")
    strata = people["stratum"] if "strata" in name else None
    design, _, faults = settle_design(
        len(people), strata, people["unit"] if "units" in name else alone, None
    )
    assert design is not None and not faults
    return people, design


def estimates(people: pd.DataFrame, design: Design, *, by_group: bool) -> tuple[Cells, np.ndarray]:
    group = people["group"].to_numpy() if by_group else np.zeros(len(people), dtype=int)
    option, weight = people["answer"].to_numpy(), people["weight"].to_numpy()
    cells = one_attribute(option, 3, group, 3 if by_group else 1, weight)
    return cells, standard_errors(option, group, weight, cells, design)


@pytest.mark.parametrize("name", list(DESIGNS))
def test_standard_errors_are_those_of_svy(name: str) -> None:
    people, design = reference(name)
    for row in DESIGNS[name]:
        cells, errors = estimates(people, design, by_group=row["group"] != "all")
        at = (0 if row["group"] == "all" else int(row["group"]), row["answer"])
        assert cells.shares[at] == pytest.approx(row["p"], abs=1e-12)
        assert errors[at] == pytest.approx(row["se"], abs=1e-9)


@pytest.mark.parametrize("name", ["strata", "units", "weights"])
def test_another_design_has_other_standard_errors(name: str) -> None:
    people, design = reference(name)
    _, errors = estimates(people, design, by_group=False)
    clustered = [row["se"] for row in DESIGNS["strata and units"] if row["group"] == "all"]
    assert np.abs(errors[0] - clustered).max() > 1e-3


def test_a_group_is_no_sample_of_its_own() -> None:
    """Units without a member of the group count: cut out, they change the standard errors."""
    people, _ = reference("strata and units")
    # Group 2 lives in one unit of each stratum and a few others.
    part = people[people["group"] == 2].reset_index(drop=True)
    design, _, _ = settle_design(len(part), None, part["unit"], None)
    assert design is not None
    _, wrong = estimates(part, design, by_group=True)
    right = [row["se"] for row in DESIGNS["units"] if row["group"] == "2"]
    assert np.abs(wrong[2] - right).max() > 1e-4


def test_simple_random_sampling_has_the_textbook_standard_error() -> None:
    option = np.repeat([0, 1], [30, 70])
    group = np.zeros(100, dtype=int)
    design, counts, _ = settle_design(100, None, pd.Series(np.arange(100), name="id"), None)
    assert design is not None and counts["sampling_units"] == 100
    cells = one_attribute(option, 2, group, 1, np.ones(100))
    errors = standard_errors(option, group, np.ones(100), cells, design)
    np.testing.assert_allclose(errors, np.sqrt(0.3 * 0.7 / 99), rtol=1e-12)


def test_strata_with_one_unit() -> None:
    strata = pd.Series([0, 0, 0, 1], name="stratum")
    none, counts, [fault] = settle_design(4, strata, None, None)
    assert none is not None and counts["strata_with_one_unit"] == 1
    assert fault.column == "stratum" and fault.rows == (3,)
    option, group, weight = np.array([0, 1, 1, 1]), np.zeros(4, dtype=int), np.ones(4)
    cells = one_attribute(option, 2, group, 1, weight)
    # p = 1/4; deviations (3/4, −1/4, −1/4 | −1/4)/4, stratum of three: 3/2·(2/3)/16 = 1/16.
    for single, variance in (("certainty", 1 / 16), ("centre", 1 / 16 + 1 / 256)):
        design, _, faults = settle_design(4, strata, None, single)
        assert design is not None and not faults
        errors = standard_errors(option, group, weight, cells, design)
        np.testing.assert_allclose(errors**2, variance, rtol=1e-12)


def test_units_are_nested_in_strata() -> None:
    strata = pd.Series([0, 0, 1, 1], name="stratum")
    units = pd.Series([1, 2, 1, 2], name="unit")
    design, counts, faults = settle_design(4, strata, units, None)
    assert design is not None and not faults
    assert counts["sampling_units"] == 4 and counts["unit_numbers_in_several_strata"] == 2
