"""``calib predict --draws``, ``poststratify``, ``combine`` and ``design`` from files to files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from populations import GROUPS, SIZES, saved
from test_cli import calib, files, ok, refused

from calib.files import write_table
from calib.modelfile import save_model
from calib.paired import pair
from calib.simulate import Truth, simulate_survey


@dataclass(frozen=True)
class Place:
    """A folder with draws, points, frames and human answers."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    here = Place(tmp_path_factory.mktemp("population"))
    simulated = simulate_survey(
        n_questions=14, groups=GROUPS, n_options=(2, 3), truth=Truth(sd_shape=0.0), seed=1
    )
    frame = simulated.table
    early = frame["question_id"] <= "q008"
    model = saved(simulated, frame[early]).calibrator
    save_model(
        model, here / "model", paired=pair(frame[early]), seed=0, table_name="t", data_hash="h"
    )
    new = frame[~early]
    write_table(new.assign(p_human=np.nan, n_human=np.nan), here / "new.parquet")
    ok(
        "predict", here / "model", here / "new.parquet", "-o", here / "points.csv",
        "--draws", here / "draws.nc",
    )  # fmt: skip
    margins = pd.DataFrame([(*group, size) for group, size in SIZES.items()])
    write_table(margins.set_axis(["attribute", "group", "size"], axis=1), here / "frame.csv")
    asked = new[(new["question_id"] <= "q011") & (new["attribute"] == "PARTY")]
    write_table(asked.assign(n_human=60.0), here / "human.parquet")
    return here


def test_from_draws_to_a_population(place: Place) -> None:
    done = ok(
        "poststratify", place / "draws.nc", place / "frame.csv", "-o", place / "pop.csv", "--json"
    )
    document = json.loads(done.stdout)
    assert document["rows"] == len(pd.read_csv(place / "pop.csv"))
    assert document["counts"]["questions"] == 6 and document["counts"]["attributes"] == 2
    ok("poststratify", place / "points.csv", place / "frame.csv", "-o", place / "points-pop.csv")
    joint, points = pd.read_csv(place / "pop.csv"), pd.read_csv(place / "points-pop.csv")
    np.testing.assert_allclose(joint["p_pop"], points["p_pop"], atol=1e-6)
    assert (joint["p_pop_lo"] < joint["p_pop"]).all() and points["p_pop_lo"].isna().all()
    narrow = place / "narrow.csv"
    ok("poststratify", place / "draws.nc", place / "frame.csv", "-o", narrow, "--interval", "0.5")
    assert (pd.read_csv(narrow)["p_pop_lo"] > joint["p_pop_lo"]).all()


def test_a_crossed_frame_is_its_margins(place: Place) -> None:
    cells = [
        {"PARTY": party.name, "SEX": sex.name, "size": SIZES[party] * SIZES[sex]}
        for party in GROUPS[:3]
        for sex in GROUPS[3:]
    ]
    write_table(pd.DataFrame(cells), place / "crossed.jsonl")
    for frame in ("frame.csv", "crossed.jsonl"):
        ok("poststratify", place / "draws.nc", place / frame, "-o", place / f"{frame}.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(place / "frame.csv.parquet"),
        pd.read_parquet(place / "crossed.jsonl.parquet"),
    )


def test_a_frame_that_lacks_a_group(place: Place) -> None:
    write_table(pd.read_csv(place / "frame.csv")[1:], place / "fewer.csv")
    words = ["poststratify", place / "draws.nc", place / "fewer.csv", "-o", place / "none.csv"]
    assert "not PARTY: centre in 6 questions" in refused(*words)
    assert not (place / "none.csv").exists()
    done = ok(*words, "--missing-groups", "redistribute")
    assert "groups_redistributed" in done.stdout


def test_combined_shares_can_be_added_up(place: Place) -> None:
    words = ["combine", place / "draws.nc", place / "human.parquet", "-o", place / "both.parquet"]
    done = ok(*words, "--draws", place / "both.nc", "--json")
    counts = json.loads(done.stdout)["counts"]
    assert counts["human_cells"] == 9 and counts["cells"] == 30
    assert "warning" not in done.stderr
    both = pd.read_parquet(place / "both.parquet")
    assert "respondents a cell (median)" in ok(*words).stdout
    pd.testing.assert_frame_equal(both, pd.read_parquet(place / "both.parquet"))
    early = both["question_id"] <= "q011"
    assert (both.loc[early, "n_total"] > both.loc[early, "n_llm"]).all()
    np.testing.assert_allclose(both.loc[~early, "p_comb"], both.loc[~early, "p_cal"])
    widths = {}
    for name in ("draws.nc", "both.nc"):
        ok("poststratify", place / name, place / "frame.csv", "-o", place / "w.parquet")
        table = pd.read_parquet(place / "w.parquet").query("attribute == 'SEX'")
        asked = table["question_id"] <= "q011"
        widths[name] = (table["p_pop_hi"] - table["p_pop_lo"])[asked].mean()
    assert widths["both.nc"] < 0.8 * widths["draws.nc"]


def test_prediction_powered(place: Place) -> None:
    words = ["combine", place / "points.csv", place / "human.parquet", "-o", place / "ppi.csv"]
    done = ok(*words, "--method", "ppi", "--frame", place / "frame.csv", "--json")
    assert json.loads(done.stdout)["method"] == "ppi"
    found = pd.read_csv(place / "ppi.csv")
    assert set(found["attribute"]) == {"PARTY"} and found["question_id"].nunique() == 3
    np.testing.assert_allclose(found.groupby("question_id")["p_comb"].sum(), 1.0)
    assert "joint draws" in refused(*words)


def test_a_plan_of_whom_to_ask(place: Place) -> None:
    words = ["design", place / "draws.nc", "-o", place / "plan.csv", "--answers", 210]
    document = json.loads(ok(*words, "--block", "20", "--json").stdout)
    plan = pd.read_csv(place / "plan.csv")
    assert document["counts"]["answers"] == plan["n_answers"].sum() == 200
    variance = document["variance"]
    assert variance["planned"] < variance["even"] < variance["now"]
    assert "variance left: " in ok(*words).stdout
    assert "points alone" in refused(
        "design", place / "points.csv", "-o", place / "none.csv", "--answers", 100
    )


@pytest.mark.parametrize(
    "words", [["--method", "ppi"], ["--frame", "f.csv"], ["--method", "ppi", "--draws", "d.nc"]]
)
def test_wrong_usage(words: list[str], place: Place) -> None:
    done = calib("combine", place / "draws.nc", place / "human.parquet", "-o", "x.csv", *words)
    assert done.exit_code == 2 and "ppi" in done.stderr


def test_answers_that_the_model_has_learnt_from_are_told(place: Place) -> None:
    table = pd.read_csv(place / "points.csv").assign(in_training=True)
    write_table(table, place / "known.csv")
    done = ok(
        "combine", place / "known.csv", place / "human.parquet", "-o", place / "twice.csv",
        "--method", "ppi", "--frame", place / "frame.csv",
    )  # fmt: skip
    assert "would then count twice" in done.stderr


@pytest.mark.parametrize(
    ("command", "wrong"),
    [("poststratify", "draws.nc"), ("poststratify", "human.parquet"), ("combine", "frame.csv")],
)
def test_the_file_at_fault_is_named(command: str, wrong: str, place: Place) -> None:
    before = files(place.folder)
    assert f"{wrong}: " in refused(
        command, place / "draws.nc", place / wrong, "-o", place / "no.csv"
    )
    assert files(place.folder) == before
