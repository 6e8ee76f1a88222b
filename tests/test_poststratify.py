"""Population estimates: closed forms, brute force, and coverage of a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from populations import GROUPS, SIZES, known, of, one_question, shared_error_draws
from scipy.stats import binomtest

from calib.draws import GroupShares, read_group_shares, write_draws
from calib.errors import DataError, FitError
from calib.files import write_table
from calib.population.frame import Frame, check_population, read_frame_file
from calib.population.poststratify import (
    ALL_ATTRIBUTES,
    poststratify,
)
from calib.rules import CELL_KEY
from calib.survey import Group

FRAME = Frame(SIZES, {})


def sizes(text: str) -> Frame:
    """``a0=3 a1=1 b2=7``: attribute A has groups a0, a1."""
    pairs = (word.split("=") for word in text.split())
    return Frame({Group(name[0].upper(), name): float(size) for name, size in pairs}, {})


def test_a_population_is_its_groups_by_size() -> None:
    draws = np.array([[[0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [[0.4, 0.6], [0.8, 0.2], [0.5, 0.5]]])
    found = poststratify(one_question(draws, "AAB"), sizes("a0=3 a1=1 b2=7"), level=0.5)
    by = found.table.set_index(["attribute", "option_index"])
    # (3·0.2 + 0.6)/4 = 0.3 and 0.5 in the two draws.
    assert by.loc[("A", 0), "p_pop"] == pytest.approx(0.4)
    assert by.loc[("A", 0), "p_pop_lo"] == pytest.approx(0.35)
    assert by.loc[("A", 0), "p_pop_hi"] == pytest.approx(0.45)
    assert by.loc[("B", 1), "p_pop"] == pytest.approx(0.6)
    assert list(found.table["n_groups"]) == [2, 2, 1, 1, 3, 3]
    assert found.counts["questions"] == 1 and found.counts["attributes"] == 2
    assert by.loc[(ALL_ATTRIBUTES, 0), "p_pop"] == pytest.approx(0.4)


def test_points_have_no_interval_and_say_so() -> None:
    draws = np.array([[[0.2, 0.8], [0.6, 0.4]]])
    joint = one_question(draws, "AB")
    found = poststratify(GroupShares(joint.keys, joint.draws, joint=False), sizes("a0=1 b1=1"))
    assert found.table[["p_pop_lo", "p_pop_hi"]].isna().all(axis=None)
    assert found.counts["estimates_without_interval"] == len(found.table) == 6
    assert found.table["p_pop"].iloc[-2] == pytest.approx(0.4)


def test_estimates_are_shares_and_the_same_as_brute_force() -> None:
    case = known(8)
    found = poststratify(case.shares, FRAME)
    total = found.table.groupby(["question_id", "attribute"])["p_pop"].sum()
    np.testing.assert_allclose(total, 1.0)
    keys = case.shares.keys
    for row in found.table[found.table["attribute"] != ALL_ATTRIBUTES].itertuples():
        expected, people = 0.0, 0.0
        for group, size in SIZES.items():
            if group.attribute == row.attribute:
                at = (keys["question_id"] == row.question_id) & (keys["group"] == group.name)
                at &= keys["option_index"] == row.option_index
                expected = expected + size * case.shares.draws[:, at.to_numpy()][:, 0]
                people += size
        assert row.p_pop == pytest.approx(np.mean(expected / people))
        assert row.p_pop_hi == pytest.approx(np.quantile(expected / people, 0.95))


def test_together_is_what_is_known_given_that_the_attributes_agree() -> None:
    """Draws in which both attributes have the same share, picked out of very many."""
    rng = np.random.default_rng(1)
    draws = shared_error_draws(rng, 200_000, 6, [0.35, 0.65], kappa=40, phi=80)
    shares = one_question(draws, "AABBBB")
    found = poststratify(shares, sizes("a0=8 a1=1 b2=1 b3=1 b4=1 b5=1")).table.iloc[4]
    assert found["attribute"] == ALL_ATTRIBUTES and found["n_groups"] == 6
    a, b = (8 * draws[:, 0, 0] + draws[:, 1, 0]) / 9, draws[:, 2:, 0].mean(axis=1)
    agree = (a + b)[np.abs(a - b) < 0.004] / 2
    assert len(agree) > 10_000

    def holds(low: float, high: float) -> float:
        return float(((low <= agree) & (agree <= high)).mean())

    assert holds(found["p_pop_lo"], found["p_pop_hi"]) == pytest.approx(0.9, abs=0.01)
    # Twin: as if the two attributes' errors had nothing in common.
    apart = (a + rng.permutation(b)) / 2
    assert holds(*np.quantile(apart, [0.05, 0.95])) < 0.85


def apart(shares: GroupShares) -> GroupShares:
    """Each cell's draws in an order of their own: its own interval is as before."""
    rng = np.random.default_rng(0)
    cell = shares.keys.groupby(CELL_KEY, sort=False).ngroup().to_numpy()
    orders = np.argsort(rng.random((cell.max() + 1, len(shares.draws))), axis=1)
    return GroupShares(shares.keys, np.take_along_axis(shares.draws, orders[cell].T, axis=0), True)


def coverage_test(shares: GroupShares, frame: Frame, true: np.ndarray) -> float:
    """p-value of 90 % coverage: the first option by the first attribute, a question a vote."""
    table = poststratify(shares, frame).table
    rows = table[(table["attribute"] == frame.attributes[0]) & (table["option_index"] == 0)]
    low, high = rows["p_pop_lo"].to_numpy(), rows["p_pop_hi"].to_numpy()
    inside = int(((low <= true) & (true <= high)).sum())
    return float(binomtest(inside, len(true), 0.9).pvalue)


def test_intervals_cover_truths_that_are_one_more_draw() -> None:
    rng = np.random.default_rng(2)
    cases, true = [], []
    for number in range(250):
        draws = shared_error_draws(rng, 401, 4, [0.2, 0.3, 0.5])
        shares = one_question(draws[1:], "AAAA")
        cases.append((shares.keys.assign(question_id=f"q{number:03}"), shares.draws))
        true.append(np.array([0.4, 0.3, 0.2, 0.1]) @ draws[0, :, 0])
    keys = pd.concat([keys for keys, _ in cases], ignore_index=True)
    shares = GroupShares(keys, np.concatenate([draws for _, draws in cases], axis=1), True)
    frame = sizes("a0=4 a1=3 a2=2 a3=1")
    assert coverage_test(shares, frame, np.array(true)) > 0.01
    # Twin: groups without the error that they share.
    assert coverage_test(apart(shares), frame, np.array(true)) < 1e-6


@pytest.mark.slow
def test_intervals_of_the_model_cover_the_simulated_population() -> None:
    case = known(400, seed=3)
    people = case.survey.true_shares.query("attribute == 'PARTY' and option_index == 0")
    size = people["group"].map({group.name: n for group, n in SIZES.items()})
    true = (people["p_true"] * size).groupby(people["question_id"]).sum().to_numpy() / 100.0
    assert coverage_test(case.shares, FRAME, true) > 0.01
    assert coverage_test(apart(case.shares), FRAME, true) < 1e-4


def test_groups_that_one_side_lacks() -> None:
    draws = np.array([[[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]]])
    shares, frame = one_question(draws, "AAA"), sizes("a0=3 a1=1 a7=5")
    with pytest.raises(DataError) as failed:
        poststratify(shares, frame)
    assert "not A: a2 in 1 questions" in str(failed.value)
    assert "not A: a7 in 1 questions" in str(failed.value)
    found = poststratify(shares, frame, missing="redistribute")
    assert found.counts["groups_redistributed"] == 2
    assert found.table["p_pop"].iloc[0] == pytest.approx((3 * 0.2 + 0.6) / 4)
    with pytest.raises(DataError, match="size for every predicted group"):
        poststratify(shares, sizes("a8=1"), missing="redistribute")


def test_cells_without_prediction_are_counted_and_lack() -> None:
    case = known(2)
    silent = case.shares.draws.copy()
    silent[:, (case.shares.keys["group"] == "left").to_numpy()] = np.nan
    shares = of(case.predicted.table, silent)
    with pytest.raises(DataError, match="not PARTY: left in 2 questions"):
        poststratify(shares, FRAME)
    found = poststratify(shares, FRAME, missing="redistribute")
    assert found.counts["cells_without_prediction"] == 2
    assert found.table["p_pop"].notna().all()


def test_crossed_cells_are_their_margins() -> None:
    crossed = pd.DataFrame(
        {"A": ["a0", "a0", "a1"], "region": [1, 2, 1], "B": ["b2", "b2", "b2"], "size": [1, 2, 1.0]}
    )
    frame = check_population(crossed, {"A", "B"})
    assert frame.sizes == sizes("a0=3 a1=1 b2=4").sizes
    assert frame.counts == {
        "frame_groups": 3, "frame_cells_added_to_margins": 3, "frame_columns_added_over": 1,
    }  # fmt: skip


MARGINS = pd.DataFrame({"attribute": ["A", "A"], "group": ["a0", "a1"], "size": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (MARGINS.drop(columns="size"), "attribute, group and size"),
        (MARGINS[:0], "0 rows"),
        (MARGINS.assign(size=[1.0, 0.0]), "column size, row 1: .* found 0;"),
        (MARGINS.assign(size=[-3.0, 1.0]), "row 0: .* found -3;"),
        (MARGINS.assign(size=[np.nan, np.inf]), "rows 0-1"),
        (MARGINS.assign(size=["many", "2"]), "found 'many'"),
        (MARGINS.assign(group=["a0", "a0"]), "a0 more than once"),
        (MARGINS.assign(group=["a0", " "]), "column group, row 1: every row names"),
        (MARGINS.assign(attribute="Z"), "an attribute in common.*Z in the frame"),
        (pd.DataFrame({"A": ["x", "x"], "size": [1, 1]}), "x more than once"),
    ],
)
def test_bad_frames(table: pd.DataFrame, said: str, tmp_path: Path) -> None:
    write_table(table, tmp_path / "frame.csv")
    with pytest.raises(DataError, match=f"frame.csv.*{said}"):
        read_frame_file(tmp_path / "frame.csv", {"A"})


def test_draws_come_back_as_they_were_written(tmp_path: Path) -> None:
    case = known(3)
    write_draws(case.predicted, tmp_path / "draws.nc")
    back = read_group_shares(tmp_path / "draws.nc")
    pd.testing.assert_frame_equal(back.keys, case.shares.keys, check_column_type=False)
    np.testing.assert_allclose(back.draws, case.shares.draws, atol=1e-7)
    assert back.joint
    write_table(case.predicted.table, tmp_path / "points.csv")
    points = read_group_shares(tmp_path / "points.csv")
    assert not points.joint
    np.testing.assert_allclose(points.point, back.point, atol=1e-7)
    assert list(points.keys["option"]) == list(back.keys["option"])


def test_files_that_are_no_draws(tmp_path: Path) -> None:
    case = known(2)
    with pytest.raises(DataError, match="is NetCDF"):
        write_draws(case.predicted, tmp_path / "draws.npz")
    with pytest.raises(FitError, match="without; leave out --draws"):
        write_draws(case.predicted._replace(draws=None), tmp_path / "draws.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(DataError, match="complete as it was written"):
        read_group_shares(tmp_path / "text.nc")
    assert case.predicted.draws is not None
    write_draws(case.predicted._replace(draws=case.predicted.draws * 1.1), tmp_path / "draws.nc")
    with pytest.raises(DataError, match=r"sum to one.*in 10 cells"):
        read_group_shares(tmp_path / "draws.nc")
    write_table(case.predicted.table.assign(act="median"), tmp_path / "median.csv")
    with pytest.raises(DataError, match="of the act median"):
        read_group_shares(tmp_path / "median.csv")


def test_the_groups_of_the_frame_are_those_of_the_survey() -> None:
    assert set(SIZES) == set(GROUPS)
