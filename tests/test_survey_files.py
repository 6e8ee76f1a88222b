"""Survey files of every format to human tables: labels, missing codes, kinds, scales, repairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError
from calib.microdata.coding import read_coding
from calib.microdata.human import Human, human_side
from calib.microdata.rows import COLUMNS

pyreadstat = pytest.importorskip("pyreadstat")

SEX = {1: "Man", 2: "Woman"}
TRUST = {1: "None", 2: "Some", 5: "A lot", 8: "Don't know", 9: "Refused", 99: "Not asked"}
PEOPLE = pd.DataFrame(
    {
        "sex": [1, 1, 1, 2, 2, 2, 2, 2],
        "trust": [1, 2, 5, 1, 1, 8, 9, 99],
        "yes": [1, 2, 1, 1, 2, 2, 2, np.nan],
        "w": [1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0, 4.0],
        "age": [17, 18, 29, 30, 64, 65, 90, 999],
    }
)
LABELS: dict[str, Any] = {"sex": SEX, "trust": TRUST, "yes": {1: "Yes", 2: "No"}}
WORDS: dict[str, Any] = {"trust": "How much do you trust?", "yes": "Do you agree?"}


@pytest.fixture
def sav(tmp_path: Path) -> Path:
    pyreadstat.write_sav(
        PEOPLE,
        tmp_path / "people.sav",
        column_labels=WORDS,
        variable_value_labels=LABELS,
        missing_ranges={"trust": [8, 9, 99], "age": [999]},
    )
    return tmp_path / "people.sav"


@pytest.fixture
def dta(tmp_path: Path) -> Path:
    people = PEOPLE.astype({"trust": object})
    letters = {8: "d", 9: "r", 99: "n"}
    people["trust"] = [letters.get(one, float(one)) for one in PEOPLE["trust"]]
    labels = {letters.get(code, code): label for code, label in TRUST.items()}
    pyreadstat.write_dta(
        people,
        tmp_path / "people.dta",
        column_labels=[WORDS.get(name, "") for name in people],
        variable_value_labels=LABELS | {"trust": labels},
        missing_user_values={"trust": ["d", "r", "n"]},
        version=15,
    )
    return tmp_path / "people.dta"


def coded(folder: Path, text: str) -> Any:
    (folder / "coding.toml").write_text(text, encoding="utf-8")
    return read_coding(folder / "coding.toml")


def cell(found: Human, question: str, group: str = "all") -> pd.DataFrame:
    frame = found.frame
    return frame[(frame["question_id"] == question) & (frame["group"] == group)]


def shares(found: Human, question: str, group: str = "all") -> dict[str, float]:
    rows = cell(found, question, group)
    return dict(zip(rows["option"], rows["p_human"], strict=True))


@pytest.mark.parametrize("kind", ["sav", "dta"])
def test_labels_missing_codes_and_kinds(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    found = human_side(path, groups=["sex"], items=["trust", "yes"], weight="w")
    assert list(found.frame) == list(COLUMNS)
    rows = cell(found, "trust")
    assert rows["option"].to_list() == ["None", "Some", "A lot", "Don't know", "Refused"]
    assert rows["option_kind"].to_list() == ["substantive"] * 3 + ["dont_know", "refused"]
    # Codes with a gap stay as they are; options that are no answer have no place on the scale.
    assert rows["option_value"].to_list()[:3] == [1, 2, 5] and rows["option_value"][3:].isna().all()
    assert set(rows["question"]) == {"How much do you trust?"} and set(rows["scale"]) == {"ordinal"}
    assert set(rows["survey"]) == {"people"}
    # Who was not asked is no respondent of the question: weights 1 2 3 1 1 1 1.
    np.testing.assert_allclose(rows["p_human"], np.array([3, 2, 3, 1, 1]) / 10)
    np.testing.assert_allclose(rows["n_human"], 100 / (1 + 4 + 9 + 4))
    assert set(rows["n_respondents"]) == {7} and set(rows["sum_weights"]) == {10.0}
    women = shares(found, "trust", "Woman")
    assert women == {"None": 0.5, "Some": 0, "A lot": 0, "Don't know": 0.25, "Refused": 0.25}
    binary = cell(found, "yes")
    assert set(binary["scale"]) == {"binary"} and binary["option_value"].to_list() == [1, 2]
    assert found.counts["answers_dont_know"] == found.counts["answers_refused"] == 1
    assert found.counts["no_answer_by_code"] == found.counts["no_answer_empty"] == 1
    assert found.counts["cells_with_few_respondents"] == found.counts["cells"] == 6
    assert found.warnings[0].startswith("6 of 6 cells with few respondents")
    assert found.assumed["scale ordinal"] == ["trust"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_codes_of_files_without_labels_are_their_own(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"people{suffix}"
    people = PEOPLE.assign(colour=["red", "blue", "red", "green", "red", None, "blue", "red"])
    people.to_csv(path, index=False) if suffix == ".csv" else people.to_parquet(path)
    found = human_side(path, groups=["sex"], weight="w")
    assert cell(found, "trust")["option"].to_list() == ["1", "2", "5", "8", "9", "99"]
    assert cell(found, "colour")["option"].to_list() == ["blue", "green", "red"]
    assert set(cell(found, "colour")["scale"]) == {"nominal"}
    assert cell(found, "colour")["option_value"].isna().all()
    assert "trust" in found.assumed["labels are the codes"]
    assert found.assumed["groups are named by their codes"] == ["sex"]
    assert found.counts["respondents"] == 8


def test_a_coding_says_what_codes_are(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    PEOPLE.to_csv(path, index=False)
    coding = coded(
        tmp_path,
        """
        survey = "mine"
        [variables.sex]
        labels = { 1 = "Man", 2 = "Woman" }
        attribute = "SEX"
        [variables.trust]
        question = "Trust?"
        labels = { 1 = "None", 2 = "Some", 5 = "A lot" }
        dont_know = [8]
        refused = 9
        missing = [99]
        [variables.yes]
        recode = { 1 = "Yes", 2 = "No" }
        order = ["No", "Yes"]
        [variables.age]
        cut = [18, 30, 65]
        missing = [999]
        """,
    )
    found = human_side(path, groups=["sex", "age"], items=["trust", "yes"], coding=coding)
    assert set(found.frame["attribute"]) == {"all", "SEX", "age"}
    assert set(found.frame["survey"]) == {"mine"}
    rows = cell(found, "trust")
    assert rows["option_kind"].to_list() == ["substantive"] * 3 + ["dont_know", "refused"]
    assert set(found.frame.loc[found.frame["attribute"] == "age", "group"]) == {
        "18-29", "30-64", "65+",
    }  # fmt: skip
    # 17 is below the first cut, 999 is missing.
    assert found.counts["respondents_without_age"] == 2
    assert shares(found, "yes", "18-29") == {"No": 0.5, "Yes": 0.5}
    assert cell(found, "yes", "65+")["n_respondents"].to_list() == [2, 2]
    assert cell(found, "yes")["option_value"].to_list() == [2, 1]


def test_recoded_answers_are_joined(sav: Path, tmp_path: Path) -> None:
    coding = coded(tmp_path, '[variables.trust.recode]\n1 = "low"\n2 = "low"\n5 = "high"')
    found = human_side(sav, items=["trust"], coding=coding)
    assert shares(found, "trust") == pytest.approx(
        {"low": 4 / 7, "high": 1 / 7, "Don't know": 1 / 7, "Refused": 1 / 7}
    )
    assert cell(found, "trust")["option_value"].to_list()[:2] == [1, 2]


def test_the_order_of_categories_makes_a_scale(tmp_path: Path) -> None:
    levels = pd.CategoricalDtype(["low", "middle", "high", "top"], ordered=True)
    answers = pd.Series(["high", "low", "high", "middle"]).astype(levels)
    pd.DataFrame({"q": answers}).to_parquet(tmp_path / "a.parquet")
    rows = human_side(tmp_path / "a.parquet").frame
    # One that nobody chose is an answer all the same.
    assert rows["option"].to_list() == ["low", "middle", "high", "top"]
    assert rows["p_human"].to_list() == [0.25, 0.25, 0.5, 0]
    assert rows["option_value"].to_list() == [1, 2, 3, 4] and set(rows["scale"]) == {"ordinal"}
    pd.DataFrame({"q": answers.astype(str)}).to_parquet(tmp_path / "b.parquet")
    coding = coded(tmp_path, 'variables.q = { order = ["low", "middle", "high"] }')
    rows = human_side(tmp_path / "b.parquet", coding=coding).frame
    assert rows["option"].to_list() == ["low", "middle", "high"]
    assert set(rows["scale"]) == {"ordinal"}


def test_a_weight_a_wave_and_a_weight_a_question(tmp_path: Path) -> None:
    people = pd.DataFrame(
        {
            "wave": [2016, 2016, 2018, 2018],
            "w16": [1.0, 3.0, np.nan, np.nan],
            "w18": [np.nan, np.nan, 1.0, 1.0],
            "own": [1.0, 0.0, 0.0, 1.0],
            "a": ["x", "y", "x", "y"],
            "b": ["x", "y", "x", "y"],
        }
    )
    people.to_csv(tmp_path / "waves.csv", index=False)
    coding = coded(
        tmp_path,
        '[weights]\nby = "wave"\nuse = { 2016 = "w16", 2018 = "w18" }\n'
        '[variables.b]\nweight = "own"',
    )
    found = human_side(tmp_path / "waves.csv", groups=["wave"], items=["a", "b"], coding=coding)
    assert shares(found, "a") == pytest.approx({"x": 2 / 6, "y": 4 / 6})
    assert shares(found, "a", "2016") == {"x": 0.25, "y": 0.75}
    assert shares(found, "a", "2018") == {"x": 0.5, "y": 0.5}
    assert shares(found, "b", "2016") == {"x": 1, "y": 0}
    assert found.counts["answers_with_zero_weight"] == 2


def test_all_others_leaves_out_what_is_no_question(sav: Path) -> None:
    found = human_side(sav, groups=["sex"], weight="w")
    assert set(found.frame["question_id"]) == {"trust", "yes"}
    assert found.left_out == {"age": "no value labels"}
    assert found.counts["variables_left_out"] == 1


def test_pieces_of_a_file_make_the_same_table(
    sav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PEOPLE.to_parquet(tmp_path / "people.parquet")
    PEOPLE.to_csv(tmp_path / "people.csv", index=False)
    paths = [sav, tmp_path / "people.parquet", tmp_path / "people.csv"]
    options: dict[str, Any] = {"groups": ["sex"], "items": ["trust", "yes"], "weight": "w"}
    whole = [human_side(path, **options).frame for path in paths]
    monkeypatch.setattr("calib.microdata.read._rows_at_once", lambda _: 3)
    monkeypatch.setattr("calib.microdata.read.CSV_BLOCK", 40)
    for path, frame in zip(paths, whole, strict=True):
        pd.testing.assert_frame_equal(human_side(path, **options).frame, frame)


def test_texts_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes("q,place\nja,Trøndelag\nnei,Ås\n".encode("latin-1"))
    with pytest.raises(DataError, match="encoding latin-1"):
        human_side(path, groups=["place"], items=["q"])
    found = human_side(path, groups=["place"], items=["q"], encoding="latin-1")
    assert set(found.frame["group"]) == {"all", "Trøndelag", "Ås"}


def test_na_is_empty_among_numbers_and_an_answer_among_texts(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("q,land\n1,NA\n2,NO\nNA,NO\n", encoding="utf-8")
    found = human_side(path, groups=["land"], items=["q"])
    assert shares(found, "q") == {"1": 0.5, "2": 0.5}
    assert set(found.frame["group"]) == {"all", "NA", "NO"}
    assert found.counts["no_answer_by_code"] == 1
    coding = coded(tmp_path, 'missing = ["NA"]')
    found = human_side(path, groups=["land"], items=["q"], coding=coding)
    assert set(found.frame["group"]) == {"all", "NO"}


def test_two_questions_of_one_wording_are_told(tmp_path: Path) -> None:
    people = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    labels = {1: "Yes", 2: "No"}
    pyreadstat.write_sav(
        people,
        tmp_path / "p.sav",
        column_labels=["Agree?", "Agree?"],
        variable_value_labels={"a": labels, "b": labels},
    )
    found = human_side(tmp_path / "p.sav")
    assert len(found.frame) == 4
    assert any("a, b have one wording" in one for one in found.warnings)
    assert found.counts["questions_of_one_wording"] == 2


def test_who_has_no_weight_is_left_out_only_if_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("q,w\na,1\nb,1\na,\n,\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        human_side(path, weight="w")
    [fault] = error.value.faults
    # The fourth respondent answered nothing and needs no weight.
    assert fault.column == "w" and fault.rows == (2,) and "leave_out" in fault.remedy
    coding = coded(tmp_path, '[weights]\nmissing = "leave_out"')
    found = human_side(path, weight="w", coding=coding)
    assert shares(found, "q") == {"a": 0.5, "b": 0.5}
    assert found.counts["answers_without_weight_left_out"] == 1


def test_a_country_of_two_letters_is_a_country(tmp_path: Path) -> None:
    people = pd.DataFrame(
        {"land": ["DK", "NO", "DK"], "q": ["yes", "DK", "no"], "l": [[1], [2], []]}
    )
    people.to_parquet(tmp_path / "p.parquet")
    found = human_side(tmp_path / "p.parquet", groups=["land"], items=["q"])
    assert set(found.frame["group"]) == {"all", "DK", "NO"}
    coding = coded(tmp_path, 'variables.q = { dont_know = ["DK"] }')
    found = human_side(tmp_path / "p.parquet", coding=coding)
    kinds = found.frame.set_index(["question_id", "option"])["option_kind"].to_dict()
    assert kinds["q", "DK"] == "dont_know" and kinds["land", "DK"] == "substantive"
    # A column of lists is made of texts like any other.
    assert kinds["l", "[1]"] == "substantive"


def test_who_does_not_know_can_be_recoded_to_an_answer(sav: Path, tmp_path: Path) -> None:
    coding = coded(tmp_path, '[variables.trust.recode]\n8 = "Some"\n2 = "Some"\n9 = "No answer"')
    found = human_side(sav, items=["trust"], coding=coding)
    kinds = dict(zip(found.frame["option"], found.frame["option_kind"], strict=True))
    assert kinds == {
        "None": "substantive", "Some": "substantive", "A lot": "substantive",
        "No answer": "refused",
    }  # fmt: skip
    assert shares(found, "trust")["Some"] == pytest.approx(2 / 7)
