"""The card of a model: what it holds, what it refuses, and the status of every result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import known_distortion, table
from click.testing import CliRunner, Result

from calib.cli import main
from calib.disclosure import benchmark_status
from calib.files import write_table
from calib.table import check_table

HOSTILE = "<b>m0</b> | x"


def calib(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a model of it, an evaluation, and an evaluation of other data."""
    place = tmp_path_factory.mktemp("card")
    frame = table(known_distortion(n_questions=8, n_groups=2))
    frame["model"] = HOSTILE
    write_table(check_table(frame), place / "t.parquet")
    write_table(check_table(frame.assign(n_human=50.0)), place / "u.parquet")
    done = [
        calib("fit", place / "t.parquet", "-o", place / "model", "--calibrator", "ridge"),
        *(
            calib("evaluate", place / f"{name}.parquet", "-o", place / name, "--folds", 2,
                  "--calibrators", "ridge")
            for name in ("t", "u")
        ),
    ]  # fmt: skip
    assert [one.exit_code for one in done] == [0, 0, 0], done[0].stderr
    return place


def card(*words: object) -> dict[str, Any]:
    done = calib("card", *words, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_it_learnt_from(folder: Path) -> None:
    found = card(folder / "model")
    assert found["benchmark_status"] == "not benchmarked" and found["held_out"] == []
    assert "not respondents" in found["disclosure"] and found["calibrator"] == "ridge"
    trained = found["trained_on"]
    assert trained["questions_by_survey"] == {"test": 8} and trained["cells"] == 16
    assert trained["groups"] == {"ATTR": ["g00", "g01"]}
    expected = {"least": 200, "median": 200, "most": 200, "cells_with_unknown_n": 0}
    assert trained["n_human"] == pytest.approx(expected) and found["diagnosis"] is None


def test_held_out_figures_are_those_of_the_evaluation(folder: Path) -> None:
    found = card(folder / "model", "--evaluation", folder / "t")
    assert found["benchmark_status"] == "benchmarked"
    results = json.loads((folder / "t" / "results.json").read_text("utf-8"))
    assert results["benchmark_status"] == "benchmarked"
    [own] = [row for row in results["rows"] if row["calibrator"] == "ridge"]
    assert own in found["held_out"] and len(found["held_out"]) == 4


def test_the_file_escapes_and_says_what_it_is_not_for(folder: Path) -> None:
    out = folder / "card.md"
    done = calib("card", folder / "model", "-o", out, "--evaluation", folder / "t")
    assert done.exit_code == 0 and str(out) in done.stdout
    text = out.read_text("utf-8")
    assert "<b>" not in text and "&lt;b&gt;" in text
    assert "Not to be used" in text and "200 to 200, median 200" in text
    assert "benchmark\\_status: **benchmarked**" in text and "| ridge | 8 | 16 |" in text
    bare = calib("card", folder / "model").stdout
    assert "not benchmarked" in bare and "Do not quote it as validated" in bare


def test_other_data_and_other_calibrators_are_refused(folder: Path, tmp_path: Path) -> None:
    done = calib("card", folder / "model", "--evaluation", folder / "u")
    assert done.exit_code == 5 and "other data" in done.stderr
    done = calib("card", folder / "model", "--evaluation", tmp_path)
    assert done.exit_code == 5 and "results.json" in done.stderr
    fitted = calib("fit", folder / "t.parquet", "-o", tmp_path / "m", "--calibrator", "temperature")
    assert fitted.exit_code == 0
    done = calib("card", tmp_path / "m", "--evaluation", folder / "t", "-o", tmp_path / "c.md")
    assert done.exit_code == 5 and "none of temperature" in done.stderr
    assert not (tmp_path / "c.md").exists()


def test_a_model_of_before_groups_were_kept(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "model" / "model.json").read_text("utf-8"))
    del content["groups"], content["n_human"]
    (tmp_path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    assert card(tmp_path)["trained_on"]["groups"] is None
    assert "not recorded by the version" in calib("card", tmp_path).stdout


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "not benchmarked"),
        ([{"w1": None, "parts_failed": 5}], "not benchmarked"),
        ([{"w1": 0.1, "trusted": None}], "benchmarked"),
        ([{"w1": 0.1, "trusted": False}], "partly benchmarked"),
        ([{"w1": {"mean": 0.1}, "parts_failed": 0, "parts_untrusted": 0}], "benchmarked"),
        ([{"w1": {"mean": 0.1}, "parts_failed": 0, "parts_untrusted": 1}], "partly benchmarked"),
        ([{"w1": {"mean": 0.1}}, {"w1": None, "parts_failed": 1}], "partly benchmarked"),
    ],
)
def test_the_status_of_results(rows: list[dict[str, Any]], expected: str) -> None:
    assert benchmark_status(rows) == expected


def test_the_report_shows_the_status(folder: Path) -> None:
    done = calib("report", folder / "t", "-o", folder / "r.html")
    assert done.exit_code == 0, done.stderr
    html = (folder / "r.html").read_text("utf-8")
    assert '<meta name="benchmark_status" content="benchmarked">' in html
    assert "not respondents" in html
