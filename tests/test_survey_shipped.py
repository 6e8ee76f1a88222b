"""Surveys in the layout they are published in, by a shipped coding: shares known by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from published_people import WGM, WVS, write_people

from calib.cli import main
from calib.errors import DataError
from calib.microdata.coding import Coding, as_code, read_coding
from calib.microdata.human import Human, human_side
from calib.microdata.kinds import compiled, kind_of
from calib.microdata.layers import shipped_codings


def tabulated(people: pd.DataFrame, folder: Path, kind: str, coding: str) -> Human:
    return human_side(write_people(people, folder, kind), coding=read_coding(Path(coding)))


def shares(found: Human, question: str, attribute: str = "all", group: str = "all") -> Any:
    frame = found.frame
    cell = frame[(frame["question_id"] == question) & (frame["attribute"] == attribute)]
    cell = cell[cell["group"] == group]
    return dict(zip(cell["option"], cell["p_human"], strict=True))


@pytest.mark.parametrize("kind", [".csv", ".sav", ".dta"])
def test_the_world_values_survey(tmp_path: Path, kind: str) -> None:
    found = tabulated(WVS, tmp_path, kind, "wvs7")
    frame = found.frame
    assert set(frame["survey"]) == {"wvs7"}
    # Parties, identifiers and weights are no questions, nor is what nobody was asked; Q240
    # divides the respondents.
    assert set(frame["question_id"]) == {"Q1", "Q7", "Q56", "Q111", "Q119", "Q152", "Q177"}
    assert found.left_out["Q90"] == "nobody answered"
    assert found.left_out["Q240"] == "divides the respondents"
    assert found.left_out["Q2"] == "not in the file"
    assert len(found.left_out) == 256 - 7
    scales = frame.drop_duplicates("question_id").set_index("question_id")["scale"].to_dict()
    assert scales == {
        "Q1": "ordinal", "Q7": "binary", "Q56": "ordinal", "Q111": "binary", "Q119": "ordinal",
        "Q152": "nominal", "Q177": "ordinal",
    }  # fmt: skip
    assert shares(found, "Q1") == {
        "Very important": 2 / 8, "Rather important": 2 / 8, "Not very important": 0,
        "Not at all important": 1 / 8, "Don't know": 3 / 8,
    }  # fmt: skip
    assert shares(found, "Q7", "sex", "Female") == {"Important": 3 / 5, "Not mentioned": 2 / 5}
    # The order is that of the words, don't-know and the like at the end.
    assert list(shares(found, "Q56")) == [
        "Better off", "About the same", "Worse off", "No answer",
    ]  # fmt: skip
    assert list(shares(found, "Q119").values()) == [2 / 8, 1 / 8, 2 / 8, 0, 3 / 8]
    assert shares(found, "Q111", "sex", "Male") == {
        "Protect the environment": 1 / 2, "Economic growth": 0, "Don't know": 0,
        "Other answer": 1 / 2,
    }  # fmt: skip
    steps = frame[(frame["question_id"] == "Q177") & (frame["attribute"] == "all")]
    assert steps["option_value"].to_list()[:10] == list(range(1, 11))
    assert steps["p_human"].to_list() == [4 / 8, 0, 0, 0, 1 / 8, 0, 0, 0, 0, 2 / 8, 1 / 8]
    groups = frame.groupby("attribute")["group"].unique().map(set).to_dict()
    assert groups == {
        "all": {"all"},
        "country": {"India", "United States", "999"},
        "sex": {"Male", "Female"},
        "age": {"16-24", "25-34", "55-64", "65+"},
        "education": {"Lower", "Middle", "Higher"},
        "income": {"Low", "Medium", "High"},
        "religion": {"None", "Roman Catholic", "Protestant", "Hindu", "Other"},
        "settlement": {"Urban", "Rural"},
        "politics": {"left (1-3)", "centre (4-7)", "right (8-10)"},
    }
    assert found.counts["respondents_without_age"] == 1
    assert set(found.assumed) == ({"wording is the variable's name"} | (
        {"groups are named by their codes"} if kind == ".csv" else set()
    ))  # fmt: skip


@pytest.mark.parametrize("kind", [".csv", ".sav"])
def test_the_wellcome_global_monitor(tmp_path: Path, kind: str) -> None:
    found = tabulated(WGM, tmp_path, kind, "wgm2018")
    frame = found.frame
    # Q5A, whose code 97 is not known, and the index are no questions.
    assert set(frame["question_id"]) == {"Q1", "Q11C", "Q19", "Q20", "Q23", "Q25", "Q30"}
    assert shares(found, "Q1") == {
        "A lot": 3 / 8, "Some": 0, "Not much": 0, "Nothing at all": 3 / 8, "Don't know": 2 / 8,
    }  # fmt: skip
    assert shares(found, "Q11C")["Refused"] == 2 / 8
    assert list(shares(found, "Q19")) == ["Increase", "Neither / have no effect", "Decrease"]
    assert shares(found, "Q25")["Strongly disagree"] == 2 / 6
    assert shares(found, "Q23", "sex", "Female") == {"Yes": 1, "No": 0}
    kinds = frame[frame["question_id"] == "Q30"].drop_duplicates("option")
    assert kinds.set_index("option")["option_kind"].to_dict() == {
        "Science": "substantive", "The teachings of your religion": "substantive",
        "It depends": "other",
    }  # fmt: skip
    countries = set(frame.loc[frame["attribute"] == "country", "group"])
    assert countries == {"United States", "Bosnia and Herzegovina", "Bulgaria"}
    assert set(frame.loc[frame["attribute"] == "region", "group"]) == {
        "Northern America", "Eastern Europe",
    }  # fmt: skip
    assert found.counts["respondents_without_region"] == 1
    by_age = human_side(write_people(WGM, tmp_path, kind), coding=read_coding(Path("wgm2018")),
                        groups=["Age"], items=["Q1"])  # fmt: skip
    assert set(by_age.frame["group"]) == {"all", "15-29", "50+"}
    assert by_age.counts["respondents_without_age"] == 1


@pytest.mark.parametrize("name", shipped_codings())
def test_every_question_of_a_shipped_coding_is_whole(name: str) -> None:
    coding = read_coding(Path(name))
    assert coding.items is not None and len(set(coding.items)) == len(coding.items)
    assert len(coding.items) == {"wvs7": 256, "wgm2018": 37}[name]
    assert [question for question in coding.items if gaps(coding, question)] == []
    # The check sees a scale of one answer too few.
    short = {**coding.variables["Q1"].labels}
    del short[1.0], short[2.0], short[3.0]
    variables = {**coding.variables, "Q1": type(coding.variables["Q1"])(labels=short)}
    assert gaps(Coding(variables=variables), "Q1")


def gaps(coding: Coding, question: str) -> str:
    """What a variable lacks to be a question, codes alone given."""
    variable = coding.of(question)
    patterns = compiled({})
    answers = [
        code
        for code, label in variable.labels.items()
        if variable.kinds.get(code, kind_of(label, patterns)) == "substantive"
    ]
    numbers = sorted(code for code in answers if isinstance(code, float))
    wanted = 2 if variable.scale == "binary" else 3
    if variable.scale is None or len(answers) < wanted or len(answers) > 11:
        return "scale"
    if variable.order and sorted(map(as_code, variable.order), key=float) != numbers:
        return "order"
    # Codes follow each other: no step has been forgotten.
    return "" if numbers[-1] - numbers[0] == len(numbers) - 1 else "step"


def calib(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_options_win_over_the_coding(tmp_path: Path) -> None:
    source, human = write_people(WVS, tmp_path, ".csv"), tmp_path / "human.csv"
    done = calib("survey", source, "--coding", "wvs7", "--groups", "Q260", "--items", "Q1,Q223",
                 "--weight", "PWGHT", "--survey", "mine", "-o", human, "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    frame = pd.read_csv(human)
    assert set(frame["survey"]) == {"mine"} and set(frame["question_id"]) == {"Q1", "Q223"}
    assert set(frame["attribute"]) == {"all", "sex"}
    assert frame["p_human"].iloc[0] == 2 / 5
    assert json.loads(done.stdout)["left_out"] == {}


def test_a_coding_of_ones_own_builds_on_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        """
based_on = "wvs7"
items = ["Q1", "Q56"]
groups = ["Q260"]
weight = ""

[[blocks]]
variables = ["Q1", "Q56-Q56"]
question = "A wording"

[variables.Q1]
question = "How important is family in your life?"
labels = { 4 = "Not at all" }
substantive = [-1]
""",
        encoding="utf-8",
    )
    found = human_side(
        write_people(WVS, tmp_path, ".csv"), coding=read_coding(tmp_path / "mine.toml")
    )
    assert shares(found, "Q1") == {
        "Don't know": 1 / 5, "Very important": 2 / 5, "Rather important": 1 / 5,
        "Not very important": 0, "Not at all": 1 / 5,
    }  # fmt: skip
    words = found.frame.drop_duplicates("question_id").set_index("question_id")["question"]
    assert words.to_dict() == {"Q1": "How important is family in your life?", "Q56": "A wording"}


def test_a_file_wins_over_the_name_of_a_shipped_coding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_coding(Path("wvs7")).survey == "wvs7"
    Path("wvs7").write_text('survey = "own"', encoding="utf-8")
    assert read_coding(Path("wvs7")).survey == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "wgm2018 or wvs7"),
        ('based_on = "wvs6"', "wgm2018 or wvs7"),
        ('based_on = "coding.toml"', "not based on itself"),
        ("based_on = 3", "a file or a name"),
        ("partial = 1", "true or false"),
        ("blocks = 3", "list of names"),
        ("[[blocks]]\nscale = 'ordinal'", "list of names"),
        ("[[blocks]]\nvariables = ['Q1-Q2']\nscale = 'likert'", "ordinal or nominal or binary"),
        ("weight = 'w'\n[weights]\nby = 'g'\nuse = { 1 = 'v' }", "said once"),
        ("items = ['q', 'nope']", "no column nope"),
        ("items = ['q', 'g2-g3']", "no column g2"),
    ],
)
def test_codings_that_cannot_be(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "people.csv").write_text("q,g\nyes,1\nno,2\n", encoding="utf-8")
    if text is not None:
        (tmp_path / "coding.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        human_side(tmp_path / "people.csv", coding=read_coding(tmp_path / "coding.toml"))


def test_what_a_partial_coding_names_may_be_absent_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("q1,g\nyes,a\nno,b\n", encoding="utf-8")
    coding = tmp_path / "coding.toml"
    text = "items = ['q1-q3']\ngroups = ['g', 'h']\n[variables.z]\nscale = 'nominal'"
    coding.write_text(f"partial = true\n{text}", encoding="utf-8")
    found = human_side(tmp_path / "people.csv", coding=read_coding(coding))
    assert found.left_out == dict.fromkeys(["q2", "q3", "h"], "not in the file")
    # Not so what a user's own coding says besides, nor options of the command.
    (tmp_path / "own.toml").write_text(
        f"based_on = '{coding.name}'\n[variables.y]\nscale = 'nominal'", encoding="utf-8"
    )
    with pytest.raises(DataError, match="no column y"):
        human_side(tmp_path / "people.csv", coding=read_coding(tmp_path / "own.toml"))
    with pytest.raises(DataError, match="no column q2"):
        human_side(tmp_path / "people.csv", coding=read_coding(coding), items=["q2"])
