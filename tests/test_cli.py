from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import known_distortion, table
from click.testing import CliRunner, Result

from calib.cli import main
from calib.files import write_table
from calib.modelfile import MARKER
from calib.table import check_table


def calib(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def ok(*words: object) -> Result:
    done = calib(*words)
    assert done.exit_code == 0, done.stderr or done.exception
    return done


def refused(*words: object) -> str:
    """Exit code 5 with one message and nothing on standard output; returns the message."""
    done = calib(*words)
    assert done.exit_code == 5, (done.exit_code, done.exception, done.stderr)
    assert done.stdout == "" and done.stderr.startswith("error: ")
    assert "remedy: " in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return check_table(table(known_distortion(n_questions=15, n_groups=3, n_sources=2)))


@pytest.fixture
def here(frame: pd.DataFrame, tmp_path: Path) -> Path:
    """A folder with the whole table, its first ten questions and its other five."""
    early = frame["question_id"] < "q010"
    write_table(frame, tmp_path / "all.parquet")
    write_table(frame[early], tmp_path / "train.csv")
    write_table(frame[~early], tmp_path / "test.jsonl")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fitted(here: Path, name: str = "ridge") -> Path:
    ok("fit", here / "train.csv", "-o", here / "model", "--calibrator", name)
    return here / "model"


def test_fit_predict_score(here: Path) -> None:
    model = fitted(here)
    done = ok("predict", model, here / "test.jsonl", "-o", here / "out.parquet")
    assert "warning" not in done.stderr
    predictions = pd.read_parquet(here / "out.parquet")
    assert not predictions["in_training"].any()
    assert set(predictions["model"]) == {"m0+m1"} and set(predictions["prompt"]) == {"sd"}
    sums = predictions.groupby(["question_id", "group"])["p_cal"].sum()
    np.testing.assert_allclose(sums, 1.0)
    document = json.loads(ok("score", here / "out.parquet", here / "test.jsonl", "--json").stdout)
    rows = {row["calibrator"]: row for row in document["rows"]}
    assert set(rows) == {"calibrated", "raw", "train-mean", "uniform"}
    assert rows["calibrated"]["kl_1e3"] < rows["raw"]["kl_1e3"] < rows["uniform"]["kl_1e3"] * 9
    assert rows["raw"]["gap_closed_w1"] == 0 and rows["calibrated"]["n_questions"] == 5
    assert rows["calibrated"]["coverage_interval"] is None
    assert "calibrated" in ok("score", here / "out.parquet", here / "test.jsonl").stdout


def test_predictions_do_not_depend_on_the_human_side(here: Path, frame: pd.DataFrame) -> None:
    model = fitted(here)
    later = frame[frame["question_id"] >= "q010"]
    write_table(later.assign(p_human=np.nan, n_human=np.nan), here / "nobody.csv")
    ok("predict", model, here / "test.jsonl", "-o", here / "a.parquet")
    ok("predict", model, here / "nobody.csv", "-o", here / "b.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(here / "a.parquet"), pd.read_parquet(here / "b.parquet")
    )


def test_unanswered_cells_are_kept_without_prediction(here: Path, frame: pd.DataFrame) -> None:
    model = fitted(here)
    later = frame[frame["question_id"] >= "q010"].copy()
    silent = (later["question_id"] == "q012") & (later["group"] == "g01")
    later.loc[silent, ["outcome", "p_llm"]] = ["refused", np.nan]
    write_table(later, here / "silent.parquet")
    done = ok("predict", model, here / "silent.parquet", "-o", here / "out.csv")
    assert "cells_without_prediction" in done.stdout
    predictions = pd.read_csv(here / "out.csv")
    rows = (predictions["question_id"] == "q012") & (predictions["group"] == "g01")
    assert rows.any() and predictions.loc[rows, "p_cal"].isna().all()
    document = json.loads(ok("score", here / "out.csv", here / "test.jsonl", "--json").stdout)
    assert document["counts"]["cells_scored"] == 14
    assert document["counts"]["cells_predicted_without_answer"] == 1


def test_a_question_in_train_and_test(here: Path) -> None:
    model = fitted(here)
    done = ok("predict", model, here / "all.parquet", "-o", here / "out.csv")
    assert "warning: 10 questions" in done.stderr
    message = refused("score", here / "out.csv", here / "all.parquet", "--json")
    assert "a question in train and test" in message and "10 questions" in message
    # Against the table of the other questions, the same file has a held-out score.
    ok("score", here / "out.csv", here / "test.jsonl")


Damage = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: pd.concat([f, f.iloc[:1]]), "one prediction per"),
        (lambda f: f.assign(p_cal=f["p_cal"] * 1.1), "sum to one"),
        (lambda f: f.assign(p_cal=-f["p_cal"]), "from 0 up"),
        (lambda f: f.iloc[1:], "sum to one"),
        (lambda f: f.assign(group="nobody" + f["group"]), "in common"),
        (lambda f: f.assign(option_index=f["option_index"] + 1), "same options"),
        (lambda f: f.drop(columns="p_cal"), "no column p_cal"),
        (lambda f: f.assign(p_cal="many"), "must be numbers"),
        (lambda f: f.assign(in_training="perhaps"), "in_training"),
    ],
)
def test_predictions_that_cannot_be_scored(here: Path, damage: Damage, said: str) -> None:
    ok("predict", fitted(here), here / "test.jsonl", "-o", here / "out.csv")
    write_table(damage(pd.read_csv(here / "out.csv")), here / "bad.csv")
    assert said in refused("score", here / "bad.csv", here / "test.jsonl")


def halved(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(p_human=frame["p_human"] / 2)


def with_value(column: str, value: object) -> Damage:
    def damage(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.copy()
        changed.loc[changed.index[0], column] = value
        return changed

    return damage


@pytest.mark.parametrize(
    ("damage", "column"),
    [
        (halved, "p_human"),
        (with_value("p_llm", -0.2), "p_llm"),
        (with_value("p_llm", np.nan), "p_llm"),
        (lambda f: pd.concat([f, f.iloc[:3]]), "option_index"),
        (lambda f: f[f["option_index"] == 0], "option_index"),
        (lambda f: f.assign(option_value=np.nan), "option_value"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "fit", "evaluate"])
def test_bad_tables_are_refused_and_nothing_is_written(
    command: str, damage: Damage, column: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    write_table(damage(frame), tmp_path / "bad.parquet")
    words = [] if command == "validate" else ["-o", tmp_path / "out"]
    message = refused(command, tmp_path / "bad.parquet", *words)
    assert "bad.parquet" in message and "row" in message and f"column {column}" in message
    assert files(tmp_path) == {"bad.parquet"}


@pytest.mark.parametrize("command", ["validate", "fit", "evaluate"])
def test_truncated_and_missing_files(command: str, here: Path) -> None:
    whole = (here / "all.parquet").read_bytes()
    (here / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    before = files(here)
    words = [] if command == "validate" else ["-o", here / "out"]
    assert "cut.parquet" in refused(command, here / "cut.parquet", *words)
    assert "none.csv" in refused(command, here / "none.csv", *words)
    assert files(here) == before


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize("sources", ["model=m9", "tone=polite", "", "model=m0,prompt=base"])
def test_sources_that_are_not_there(command: str, sources: str, here: Path) -> None:
    before = files(here)
    message = refused(command, here / "all.parquet", "-o", here / "out", "--sources", sources)
    assert "m0/verbalized/sd" in message and "all.parquet" in message
    assert files(here) == before


def test_a_model_of_another_version_and_one_without_its_sources(
    here: Path, frame: pd.DataFrame
) -> None:
    model = fitted(here)
    write_table(frame[frame["model"] == "m0"], here / "one.csv")
    message = refused("predict", model, here / "one.csv", "-o", here / "out.csv")
    assert "m1/verbalized/sd" in message
    content = json.loads((model / MARKER).read_text("utf-8"))
    (model / MARKER).write_text(json.dumps(content | {"format_version": 99}), "utf-8")
    assert "format version" in refused("predict", model, here / "test.jsonl", "-o", here / "o.csv")
    assert not {"out.csv", "o.csv"} & files(here)


def test_models_without_posterior_have_no_diagnosis(here: Path) -> None:
    assert "only models with a posterior" in refused("diagnose", fitted(here), "--json")


def test_evaluate_json(here: Path) -> None:
    words = ["evaluate", here / "all.parquet", "--calibrators", "ridge", "--json"]
    done = ok(*words, "-o", here / "out")
    document = json.loads(done.stdout)
    assert document == json.loads((here / "out" / "results.json").read_text("utf-8"))
    assert len(document["rows"]) == 8
    assert {
        "sources", "calibrator", "n_questions", "n_cells", "n_cells_unanswered", "oa", "w1",
        "kl_1e3", "tv", "jsd", "rps", "coverage_50", "coverage_80", "coverage_90", "width_90",
        "log_score", "energy", "floor_w1", "floor_tv", "floor_kl_1e3", "gap_closed_w1",
        "gap_closed_kl_1e3", "gap_closed_tv", "llm_share_w1", "llm_share_kl_1e3", "acts",
        "mean_act", "w1_is_tv_cells", "fit_seconds", "counts", "trusted", "problems", "model",
    } <= set(document["rows"][0])  # fmt: skip
    assert set(document["differences"][0]) == {"sources", "a", "b", "score", "mean", "lo", "hi"}
    joined = json.loads(ok(*words, "--sources", "all").stdout)
    assert [row["sources"] for row in joined["rows"]] == ["m0+m1/verbalized/sd"] * 4


def test_evaluate_prints_a_table(here: Path) -> None:
    done = ok("evaluate", here / "all.parquet", "--calibrators", "ridge", "--sources", "model=m0")
    for word in ("m0/verbalized/sd", "train-mean", "noise floor", "ridge minus", "acts of ridge"):
        assert word in done.stdout


def test_evaluate_does_not_write_over_other_things(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "notes.txt").write_text("mine")
    words = ["--calibrators", "uniform", "-o", here / "out"]
    refused("evaluate", here / "all.parquet", *words)
    assert files(here / "out") == {"notes.txt"}


def test_too_many_folds(here: Path) -> None:
    assert "16 folds for 15" in refused("evaluate", here / "all.parquet", "--folds", 16)


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "all.parquet", "-o", "x", "--calibrator", "magic"],
        ["evaluate", "all.parquet", "--calibrators", "ridge,magic"],
        ["fit", "all.parquet"],
        ["predict", "m", "t.csv", "-o", "p.csv", "--interval", "1.5"],
        ["import", "magic", "x", "-o", "t.csv"],
        ["import", "meister", "x", "-o", "t.csv", "--scales", "info.csv"],
        ["nothing"],
    ],
)
def test_usage_errors(words: list[str]) -> None:
    done = calib(*words)
    assert done.exit_code == 2 and done.stdout == ""


def test_validate(here: Path, frame: pd.DataFrame) -> None:
    document = json.loads(ok("validate", here / "all.parquet", "--json").stdout)
    assert document["valid"] is True and document["faults"] == []
    assert (document["questions"], document["groups"], document["settings"]) == (15, 3, 2)
    assert (document["cells"], document["outcomes"]) == (45, {"answered": 90})
    assert sum(document["scales"].values()) == 15
    assert "valid paired table" in ok("validate", here / "train.csv").stdout
    write_table(halved(frame), here / "bad.parquet")
    done = calib("validate", here / "bad.parquet", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 5 and document["valid"] is False
    assert document["faults"][0]["column"] == "p_human" and document["faults"][0]["rows"]


def test_help_and_version() -> None:
    assert "evaluate" in ok("--help").stdout and "calib" in ok("--version").stdout
    for command in main.commands:
        assert "Usage" in ok(command, "--help").stdout


@pytest.mark.parametrize("kind", ["meister", "synthbench"])
def test_import(kind: str, real_data: Path, tmp_path: Path) -> None:
    source = real_data / f"{kind}_layout"
    ok("import", kind, source, "-o", tmp_path / "t.parquet")
    ok("validate", tmp_path / "t.parquet")
    refused("import", kind, tmp_path / "nowhere", "-o", tmp_path / "u.parquet")
    assert files(tmp_path) == {"t.parquet"}
