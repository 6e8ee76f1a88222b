"""The manifest: how a table was made, in plain values, without what must not be told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from survey_files import write_survey

from elicit.budget import Meter, Prices
from elicit.job import read_job, run_job
from elicit.manifest import describe_run, file_hash, manifest_path, versions, write_manifest
from elicit.send import Memory

BIAS = [1.0, 0.0, -1.0]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    survey = write_survey(
        tmp_path_factory.mktemp("m") / "survey.toml",
        model={"fake": {"position_bias": BIAS, "mass": 0.9}},
        ask={"elicitation": ["logprob", "verbalized"], "orders": "both"},
    )
    job = read_job(survey, seed=5)
    meter = Meter(prices=Prices(1.0, 1.0))
    finished = asyncio.run(run_job(job, Memory(), meter, known={}))
    return describe_run(job, finished, meter)


def test_it_names_what_the_table_was_made_from(document: dict[str, Any]) -> None:
    assert document["survey"]["file"] == "survey.toml"
    assert len(document["survey"]["sha256"]) == 64
    assert document["model"]["name"] == "fake"
    assert document["seed"] == 5
    (template,) = document["templates"]
    assert (template["name"], template["version"], len(template["sha256"])) == ("sd-qa", 1, 64)
    assert document["versions"] == versions()
    assert document["versions"]["numpy"]


def test_it_counts_calls_tokens_and_money(document: dict[str, Any]) -> None:
    calls = document["calls"]
    # Four cells in both orders, by one and by three draws.
    assert calls["made"] == calls["requests"] == 4 * 2 * (1 + 3)
    assert calls["from_store"] == calls["failed"] == 0
    assert calls["cost"] == pytest.approx((calls["tokens_in"] + calls["tokens_out"]) / 1e6)


def test_another_wording_is_told_by_the_hash_of_what_was_asked(
    document: dict[str, Any], tmp_path: Path
) -> None:
    def asked(**changed: Any) -> str:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"fake": {"position_bias": BIAS, "mass": 0.9}},
            ask={"elicitation": ["logprob", "verbalized"], "orders": "both"} | changed,
        )
        job = read_job(survey, seed=5)
        finished = asyncio.run(run_job(job, Memory(), Meter(), known={}))
        return str(describe_run(job, finished, Meter())["calls"]["requests_sha256"])

    assert asked() == document["calls"]["requests_sha256"]
    assert asked(template="base") != asked()


def test_it_says_mass_and_position_effect(document: dict[str, Any]) -> None:
    logprob, verbalized = document["settings"]
    assert logprob["counts"]["cells_answered"] == 4
    assert logprob["captured_mass"] == pytest.approx(0.9)
    assert verbalized["captured_mass"] is None
    (effect,) = logprob["position_effects"]
    assert effect["n_options"] == 3
    assert effect["effect"][0] > 0.1
    assert effect["effect"][1] is None  # in the middle either way
    assert effect["effect"][2] < -0.1
    assert logprob["reversal_distance"] > 0.3


def test_it_is_written_as_json(document: dict[str, Any], tmp_path: Path) -> None:
    path = manifest_path(tmp_path / "table.parquet")
    assert path == tmp_path / "table.parquet.manifest.json"
    write_manifest(document, path)
    assert json.loads(path.read_text("utf-8")) == document


def test_hashes_are_of_the_files_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert file_hash(tmp_path / "empty") == empty
