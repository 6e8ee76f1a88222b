"""``calib predict`` with acts and toplines, and what ``calib score`` makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from known_posterior import knows_the_truth
from test_cli import calib, ok, refused

from calib.acts import Act, median_act, median_cumulative_act
from calib.cli import main
from calib.files import write_table
from calib.modelfile import load_model, save_model
from calib.opinions import Opinions
from calib.paired import pair
from calib.rules import CELL_KEY, OPTION_KEY
from calib.simulate import Truth, simulate_survey
from calib.survey import Group

GROUPS = [Group("PARTY", name) for name in ("centre", "left", "right")]


@dataclass(frozen=True)
class Place:
    """A folder with a model, a table of new questions and their toplines."""

    folder: Path
    model: Path
    table: Path
    toplines: Path

    def predict(self, *words: object, out: str = "out.parquet") -> pd.DataFrame:
        ok("predict", self.model, self.table, "-o", self.folder / out, *words)
        return pd.read_parquet(self.folder / out)

    def score(self, out: str = "out.parquet") -> dict[str, dict[str, float]]:
        done = ok("score", self.folder / out, self.table, "--json")
        return {row["calibrator"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("predict")
    simulated = simulate_survey(
        n_questions=26, groups=GROUPS, n_options=(3, 4),
        truth=Truth(sd_shape=0.0, phi=200.0, n=5000), seed=4,
    )  # fmt: skip
    frame = simulated.table
    early = frame["question_id"] <= "q010"
    paired = pair(frame[early])
    save_model(
        knows_the_truth(simulated, paired), folder / "model",
        paired=paired, seed=0, table_name="train.csv", data_hash="abc",
    )  # fmt: skip
    write_table(frame[~early], folder / "new.parquet")
    # Groups of one attribute and as many respondents each: their plain mean.
    toplines = frame[~early].groupby(OPTION_KEY, as_index=False)["p_human"].mean()
    write_table(toplines, folder / "toplines.csv")
    return Place(folder, folder / "model", folder / "new.parquet", folder / "toplines.csv")


def test_anchored_end_to_end(place: Place) -> None:
    plain = place.predict(out="plain.parquet")
    anchored = place.predict("--anchor", place.toplines)
    assert anchored["anchored"].all() and not plain["anchored"].any()
    assert "p_topline" in anchored and "p_topline" not in plain
    before, after = place.score("plain.parquet"), place.score()
    assert set(before) == {"calibrated", "raw", "train-mean", "uniform"}
    assert set(after) == {*before, "topline"}
    assert after["calibrated"]["w1"] < 0.6 * after["topline"]["w1"]
    assert after["calibrated"]["w1"] < 0.4 * before["calibrated"]["w1"]
    assert after["raw"] == before["raw"]


def test_some_questions_without_topline(place: Place) -> None:
    whole = place.predict("--anchor", place.toplines, out="whole.parquet")
    toplines = pd.read_csv(place.toplines)
    write_table(toplines[toplines["question_id"] <= "q018"], place.folder / "some.jsonl")
    done = ok(
        "predict", place.model, place.table, "--anchor", place.folder / "some.jsonl",
        "-o", place.folder / "some.parquet",
    )  # fmt: skip
    counts = " ".join(done.stdout.split())
    assert "questions_anchored │ 8" in counts and "questions_without_topline │ 8" in counts
    some = pd.read_parquet(place.folder / "some.parquet")
    early = some["question_id"] <= "q018"
    assert (some["anchored"] == early).all()
    assert some.loc[~early, "p_topline"].isna().all()
    # The same with other questions in the toplines, and as unanchored where there is none.
    pd.testing.assert_series_equal(some.loc[early, "p_cal"], whole.loc[early, "p_cal"])
    plain = place.predict(out="plain.parquet")
    pd.testing.assert_series_equal(some.loc[~early, "p_cal"], plain.loc[~early, "p_cal"])
    # A yardstick for some of the cells is none for all.
    assert "topline" not in place.score("some.parquet")
    scored = json.loads(ok("score", place.folder / "some.parquet", place.table, "--json").stdout)
    assert scored["counts"]["cells_anchored"] == 24


def test_predictions_do_not_depend_on_the_human_side_of_the_table(place: Place) -> None:
    frame = pd.read_parquet(place.table)
    write_table(frame.assign(p_human=np.nan, n_human=np.nan), place.folder / "nobody.csv")
    words = ["--anchor", place.toplines, "-o"]
    ok("predict", place.model, place.folder / "nobody.csv", *words, place.folder / "a.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(place.folder / "a.parquet"), place.predict("--anchor", place.toplines)
    )


def test_faulty_toplines_are_refused_and_nothing_is_written(place: Place) -> None:
    toplines = pd.read_csv(place.toplines)
    write_table(toplines.assign(p_human=30.0, option_index=9), place.folder / "bad.csv")
    message = refused(
        "predict", place.model, place.table, "--anchor", place.folder / "bad.csv",
        "-o", place.folder / "none.csv",
    )  # fmt: skip
    assert "bad.csv: 2 faults" in message and "option_index" in message and "per cent" in message
    assert not (place.folder / "none.csv").exists()


@pytest.mark.parametrize("kind", get_args(Act))
@pytest.mark.parametrize("anchored", [False, True])
def test_the_point_is_the_act_of_the_draws_and_scores_name_it(
    kind: str, anchored: bool, place: Place
) -> None:
    words = ["--anchor", place.toplines] if anchored else []
    found = place.predict("--act", kind, *words)
    assert set(found["act"]) == {kind}
    elicited = pair(pd.read_parquet(place.table)).elicited
    toplines = None
    if anchored:
        from calib.toplines import read_toplines

        toplines = read_toplines(place.toplines, pd.read_parquet(place.table)).opinions
    assert toplines is None or isinstance(toplines, Opinions)
    draws = load_model(place.model).calibrator.predict(elicited, toplines).draws
    assert draws is not None
    index = elicited.index
    expected = {
        "mean": draws.mean(axis=0),
        "median": median_act(draws, index.mask),
        "median_cumulative": median_cumulative_act(draws, index.places, index.mask),
    }[kind]
    np.testing.assert_allclose(found["p_cal"], expected[index.mask], atol=1e-12)
    np.testing.assert_allclose(found.groupby(CELL_KEY)["p_cal"].sum(), 1.0)
    out = place.folder / "out.parquet"
    assert json.loads(ok("score", out, place.table, "--json").stdout)["act"] == kind
    assert f"calibrated: the {kind.replace('_', ' ')}" in ok("score", out, place.table).stdout


def test_the_act_made_for_a_score_is_best_at_it(place: Place) -> None:
    w1 = {}
    for kind in get_args(Act):
        place.predict("--act", kind)
        w1[kind] = place.score()["calibrated"]["w1"]
    assert w1["median_cumulative"] < w1["mean"]


def test_predictions_without_an_act_or_of_several(place: Place) -> None:
    found = place.predict()
    write_table(found.drop(columns=["act", "anchored"]), place.folder / "former.csv")
    former = json.loads(ok("score", place.folder / "former.csv", place.table, "--json").stdout)
    assert former["act"] is None and "cells_anchored" not in former["counts"]
    ok("score", place.folder / "former.csv", place.table)
    found.loc[:4, "act"] = "median"
    write_table(found, place.folder / "mixed.csv")
    assert "are of one act" in refused("score", place.folder / "mixed.csv", place.table)
    write_table(found.assign(act="best"), place.folder / "best.csv")
    assert "'best'" in refused("score", place.folder / "best.csv", place.table)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--act", "median"], "got median of ridge; predict with --act mean"),
        (["--anchor", "toplines.csv"], "got ridge; fit with --calibrator dirichlet"),
    ],
)
def test_calibrators_without_draws(words: list[str], said: str, place: Place) -> None:
    simple = place.folder / "ridge"
    ok("fit", place.table, "-o", simple, "--calibrator", "ridge")
    option, value = words
    given = place.toplines if option == "--anchor" else value
    done = calib("predict", simple, place.table, "-o", place.folder / "none.csv", option, given)
    assert done.exit_code == 1 and said in done.stderr and done.stdout == ""
    assert not (place.folder / "none.csv").exists()
    ok("predict", simple, place.table, "-o", place.folder / "point.csv", "--act", "mean")
    assert set(pd.read_csv(place.folder / "point.csv")["act"]) == {"mean"}


def test_the_command_line_knows_the_acts() -> None:
    [option] = [one for one in main.commands["predict"].params if one.name == "act"]
    assert tuple(option.type.choices) == get_args(Act)  # type: ignore[attr-defined]
    done = calib("predict", "m", "t.csv", "-o", "p.csv", "--act", "magic")
    assert done.exit_code == 2 and "magic" in done.stderr
