"""The file of a study: what it may say, and what is told of its faults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from calib.errors import DataError
from calib.study.plan import StudyPlan, study_plan

PLAN: Mapping[str, Any] = {
    "name": "tiny",
    "folds": 3,
    "calibrators": ["temperature"],
    "sources": ["prompt=sd"],
    "tables": [{"path": "t.parquet"}],
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": ["row"]}, "splits is among question"),
        ({"seed": 1}, "found 'seed'"),
        ({"name": 3}, "name is a text"),
        ({"folds": 1}, "whole number from 2"),
        ({"folds": True}, "whole number from 2"),
        ({"seeds": [0, 0]}, "named once"),
        ({"seeds": []}, "list of whole numbers"),
        ({"training_sizes": [0]}, "training_sizes are numbers"),
        ({"training_sizes": [5, 5]}, "each training size is named once"),
        ({"calibrators": ["magic"]}, "calibrators is among identity"),
        ({"tables": []}, "at least one table"),
        ({"tables": [{"path": "a"}, {"path": "a"}]}, "each table is named once"),
        ({"sources": []}, "list of texts"),
        ({"variants": [{"name": "x", "calibrator": "ridge", "inference": "svi"}]}, "dirichlet's"),
        ({"variants": [{"name": "ridge", "calibrator": "ridge"}], "calibrators": ["ridge"]},
         "each calibrator is named once"),
        ({"variants": [{"name": "x", "calibrator": "dirichlet", "inference": "magic"}]},
         "inference is among"),
    ],
)  # fmt: skip
def test_faults_of_the_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        study_plan({**PLAN, **changes})
    assert message in str(caught.value) and all(fault.remedy for fault in caught.value.faults)


def test_all_faults_of_a_file_at_once() -> None:
    with pytest.raises(DataError) as caught:
        study_plan({"folds": 0, "extra": 1})
    assert len(caught.value.faults) == 4  # name, tables, folds, extra


def test_variants_have_settings_of_their_own() -> None:
    plan: StudyPlan = study_plan(
        {
            **PLAN,
            "variants": [
                {"name": "quick", "calibrator": "dirichlet", "inference": "laplace"},
                {"name": "short", "calibrator": "dirichlet", "n_draws": 50, "n_warmup": 20},
            ],
        }
    )
    quick, short = (variant.make() for variant in plan.variants[-2:])
    assert quick.inference == "laplace"  # type: ignore[attr-defined]
    assert short.plan.n_draws == 50 and short.plan.n_chains == 2  # type: ignore[attr-defined]
    assert plan.as_dict()["variants"][-1]["chains"] == {"n_warmup": 20, "n_draws": 50}


def test_the_file_of_the_documentation() -> None:
    text = (Path(__file__).parents[1] / "docs" / "study.md").read_text("utf-8")
    plan = study_plan(tomllib.loads(text.split("```toml\n")[1].split("```")[0]))
    assert [one.name for one in plan.variants[-2:]] == ["dirichlet", "dirichlet-laplace"]
    assert plan.training_sizes == (3, 10, None)
    assert plan.tables[1].sources == ("prompt=base",)
