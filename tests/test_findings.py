"""The findings page: known results give known verdicts, and the reverse of them the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks.findings import CLAIMS, claims_of, main
from benchmarks.outcomes import Estimate, read_outcome
from benchmarks.verdicts import Claim, enough, same_share, unreliable

N_QUESTIONS, N_CELLS = 12, 10
ASKED = {"verbalized": 0.0, "sequence": 0.04, "logprob": 0.08}
PROMPTS = {"sd": 0.03, "base": 0.0, "fewshot": 0.01}
LEARNT = {"identity": 0.30, "uniform": 0.25, "ridge": 0.15, "dirichlet": 0.12,
          "ridge-per-group": 0.14, "simplex": 0.16}  # fmt: skip
SLOPE = {"identity": 1.0, "uniform": 0.0}


def w1_of(calibrator: str, elicitation: str, prompt: str, model: str, size: str) -> float:
    """W1 of a setting: the settings' differences shrink to a tenth when calibrated."""
    setting = ASKED[elicitation] + PROMPTS[prompt] + 0.005 * (model == "m1")
    few = 0.01 if size == "10" and calibrator not in ("identity", "uniform") else 0.0
    return LEARNT[calibrator] + SLOPE.get(calibrator, 0.1) * setting + few


def study(
    folder: Path, name: str, *, reversed_: bool = False, prompts: Sequence[str] = ("sd", "base"),
    sizes: Sequence[str] = ("all",), common: bool = True,
) -> Path:  # fmt: skip
    """A finished study's folder; reversed: every effect has the other sign."""
    rows: list[dict[str, Any]] = []
    settings: dict[str, list[str]] = {}
    rng = np.random.default_rng(1)
    of_question = rng.normal(0, 0.002, N_QUESTIONS)
    choices = product(("m0", "m1"), ASKED, prompts, LEARNT, sizes, range(N_QUESTIONS))
    for model, elicitation, prompt, calibrator, size, number in choices:
        label = f"{model}/{elicitation}/{prompt}"
        settings[label] = [model, elicitation, prompt]
        w1 = w1_of(calibrator, elicitation, prompt, model, size)
        if reversed_:
            w1 = 0.6 - w1
        w1 += of_question[number]
        gap = (0.25 if reversed_ else 4.0) if prompt != "base" else 0.0
        rows.append(
            {"table": "t.parquet", "sources": label, "target": label, "split": "question",
             "size": size, "calibrator": calibrator, "survey": "s", "question_id": f"q{number:02}",
             "n_cells": N_CELLS, "sum_w1": N_CELLS * w1, "sum_tv": N_CELLS * w1,
             "sum_mse": N_CELLS * w1, "sum_shape_gap": gap, "sum_shape_gap_human": 1.0}
        )  # fmt: skip
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "results.parquet")
    summary = {
        "study": name, "failed": [], "done": 1, "cells": 1, "plan": {"seeds": [0]},
        "versions": [{"python": "3"}],
        "left_out": {"t.parquet": {"cells": 130, "cells_left_out": 10}} if common else {},
        "rows": [{"table": "t.parquet", "sources": label, "settings": [setting]}
                 for label, setting in settings.items()],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def told(folder: Path, part: str, measured: str) -> Claim:
    found = [
        one
        for one in claims_of([read_outcome(folder)])
        if part in one.claim and measured in one.measured
    ]
    assert len(found) == 1, [one.measured for one in found]
    return found[0]


# The mean setting of main adds .04 + .015 + .0025 to the raw W1, a tenth of it calibrated.
ADDED = 0.04 + 0.015 + 0.0025


@pytest.mark.parametrize(
    ("study_name", "part", "measured", "expected", "prompts"),
    [
        ("main", "raises alignment", "dirichlet over 12 settings, points",
         100 * (0.18 + 0.9 * ADDED), ("sd", "base")),
        ("main", "raises alignment", "ridge over 12 settings, per cent",
         100 * (0.15 + 0.9 * ADDED) / (0.7 - ADDED), ("sd", "base")),
        ("main", "lowers the variance", "ridge", -90.0, ("sd", "base")),
        ("main", "converge", "dirichlet", -90.0, ("sd", "base")),
        ("main", "verbalized answers", "raw", 4.0, ("sd", "base")),
        ("main", "verbalized answers", "after ridge", 0.4, ("sd", "base")),
        ("main", "exaggerate", "raw", 100.0, ("sd", "base")),
        ("meister", "knowledge-to-simulation", "raw",
         100 * (0.04 / (0.3 + 0.02 + 0.0025)), ("sd", "fewshot")),
        ("meister", "worst expression", "raw", 0.04, ("sd", "fewshot")),
        ("meister", "few-shot steering", "after dirichlet", 0.002, ("sd", "fewshot")),
        ("per-group", "of each group gain", "", 1.0, ("sd",)),
        ("joint", "one by one beat", "", 1.0, ("sd",)),
        ("joint", "joint model", "", 3.0, ("sd",)),
    ],
)  # fmt: skip
def test_a_claim_holds_and_its_reverse_does_not(
    study_name: str, part: str, measured: str, expected: float, prompts: tuple[str, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    found = told(study(tmp_path / "a", study_name, prompts=prompts), part, measured)
    assert found.ours is not None and found.verdict == "holds"
    # The questions' own differences have a mean of a few thousandths.
    assert found.ours.mean == pytest.approx(expected, rel=0.02)
    assert found.ours.lo <= found.ours.mean <= found.ours.hi
    twin = study(tmp_path / "b", study_name, prompts=prompts, reversed_=True)
    if "variance" in part or "converge" in part:
        # Reversing signs keeps a spread; there calibration has to add one.
        frame = pd.read_parquet(twin / "results.parquet")
        swap = {"identity": "ridge", "ridge": "identity", "dirichlet": "uniform"}
        frame["calibrator"] = frame["calibrator"].replace(swap)
        frame.to_parquet(twin / "results.parquet")
        measured = "ridge"
    other = told(
        twin, part, measured if "ridge over" not in measured else "ridge over 12 settings, per"
    )
    assert other.verdict == "does not hold"


def test_prompts_that_always_help_are_reliable(tmp_path: Path) -> None:
    # sd is .03 worse than base in every pair, hence better in the reverse.
    found = told(study(tmp_path / "a", "main"), "sociodemographic", "raw")
    assert found.verdict == "holds" and "6 pairs 0 clearly better, 6" in found.note
    twin = told(study(tmp_path / "b", "main", reversed_=True), "sociodemographic", "raw")
    assert twin.verdict == "does not hold" and twin.ours is not None
    assert twin.ours.mean == pytest.approx(3.0)


def test_exaggeration_that_is_left_and_that_is_gone(tmp_path: Path) -> None:
    left = told(study(tmp_path / "a", "main"), "no exaggeration", "after ridge")
    assert left.ours is not None and left.ours.mean == pytest.approx(100.0)
    assert left.verdict == "does not hold"
    twin = told(study(tmp_path / "b", "main", reversed_=True), "no exaggeration", "after ridge")
    assert twin.ours is not None and twin.ours.mean == pytest.approx(-50.0)
    assert twin.verdict == "holds"


def test_shares_of_settings(tmp_path: Path) -> None:
    folder = study(tmp_path / "a", "main")
    below = told(folder, "below OA 60", "12 raw settings").ours
    # Above .4 are the raw W1 of logprob with sd: .41 and .415.
    assert below is not None and below.mean == pytest.approx(100 * 2 / 12)
    best = told(folder, "log-probabilities are often", "after ridge")
    assert best.ours is not None and best.ours.mean == 0 and best.verdict == "does not hold"


def test_few_examples(tmp_path: Path) -> None:
    folder = study(tmp_path / "a", "data-efficiency", sizes=("10", "all"))
    found = told(folder, "examples suffice", "dirichlet's").ours
    gain = 0.18 + 0.9 * (0.04 + 0.015 + 0.0025)
    assert found is not None and found.mean == pytest.approx(100 * (gain - 0.01) / gain)
    assert told(folder, "examples suffice", "dirichlet's").verdict == "holds"
    frame = pd.read_parquet(folder / "results.parquet")
    few = (frame["size"] == "10") & (frame["calibrator"] == "dirichlet")
    frame.loc[few, "sum_mse"] += N_CELLS * 0.1
    frame.to_parquet(folder / "results.parquet")
    assert told(folder, "examples suffice", "dirichlet's").verdict == "does not hold"


def test_five_questions_in_the_prompt(tmp_path: Path) -> None:
    folder = study(tmp_path / "a", "few-shot", prompts=("sd", "fewshot"), sizes=("5", "all"))
    found = told(folder, "in the prompt", "dirichlet")
    assert found.verdict == "holds" and found.ours is not None
    added = 0.04 + 0.0025
    expected = 0.3 + 0.01 + added - (0.12 + 0.1 * (0.03 + added))
    assert found.ours.mean == pytest.approx(100 * expected)


def test_settings_with_other_cells_are_not_compared(tmp_path: Path) -> None:
    claims = claims_of([read_outcome(study(tmp_path / "a", "main", common=False))])
    assert not [one for one in claims if "verbalized" in one.claim or "prompts" in one.claim]
    assert [one for one in claims if "raises" in one.claim]


def test_a_failed_part_leaves_no_figure(tmp_path: Path) -> None:
    folder = study(tmp_path / "a", "main")
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    summary["failed"] = [{"table": "t.parquet", "sources": "m0/verbalized/sd", "split": "question",
                          "calibrator": "dirichlet", "size": "all"}]  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    found = told(folder, "raises alignment", "dirichlet over 12 settings, points")
    assert found.verdict == "cannot be told"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (same_share(Estimate(20, 10, 30), 14.8), "holds"),
        (same_share(Estimate(20, 15, 30), 14.8), "does not hold"),
        (same_share(Estimate(20, float("nan"), float("nan")), 14.8), "cannot be told"),
        (enough(Estimate(95, 91, 99)), "holds"),
        (enough(Estimate(95, 89, 99)), "cannot be told"),
        (enough(Estimate(80, 70, 89)), "does not hold"),
        (unreliable(Estimate(1, -1, 2), 3, 0, 5), "holds"),
        (unreliable(Estimate(1, 0.5, 2), 4, 1, 5), "holds"),
        (unreliable(Estimate(1, 0.5, 2), 4, 0, 5), "cannot be told"),
        (unreliable(Estimate(1, 0.5, 2), 5, 0, 5), "does not hold"),
    ],
)
def test_rules(found: str, expected: str) -> None:
    assert found == expected


def test_the_page(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name) for name in ("main", "joint")]
    out = tmp_path / "findings.md"
    done = CliRunner().invoke(main, [*map(str, folders), "-o", str(out)])
    assert done.exit_code == 0, done.output
    text = out.read_text("utf-8")
    assert "not respondents" in text and "10 of 130 cells left out" in text
    assert "Not given, so their claims are not told: meister, data-efficiency" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count(" | ") for line in rows} == {8}
    assert "post-training stages" in text
    bad = CliRunner().invoke(main, [str(study(tmp_path / "x", "other")), "-o", str(out)])
    assert bad.exit_code == 2 and set(CLAIMS) >= {"main"} and "main" in bad.output
