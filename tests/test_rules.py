"""Every rule of the paired table: broken once, told once, with the right rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from tables import HUMAN, LLM, cell, frame_of, rows_where, toy_table

from calib.errors import DataError, Fault
from calib.table import check_table


def faults_of(frame: pd.DataFrame) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        check_table(frame)
    return caught.value.faults


class Breach(NamedTuple):
    """A way to break a good table, and what must be said of it."""

    name: str
    change: Callable[[pd.DataFrame], pd.DataFrame]
    column: str
    rows: tuple[int, ...]
    rule: str


def put(
    column: str, rows: int | list[int], value: object
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Write a value into some rows."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.loc[rows, column] = value
        return changed

    return change


def drop(*rows: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Leave out some rows."""
    return lambda frame: frame.drop(index=list(rows))


def again(*rows: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Repeat some rows at the end."""
    return lambda frame: pd.concat([frame, frame.loc[list(rows)]])


# Rows of the toy table: q1 of Democrats 0-3 and Republicans 4-7, q2 8-9 and 10-11, q3 12-14
# and 15-17.
BREACHES = [
    Breach("human sum", put("p_human", 0, 0.6), "p_human", (0, 1, 2, 3), "sum to one"),
    Breach("llm sum", put("p_llm", 10, 0.5), "p_llm", (10, 11), "sum to one"),
    Breach("human negative", put("p_human", 1, -0.3), "p_human", (1,), "between 0 and 1"),
    Breach("llm negative", put("p_llm", 12, -0.1), "p_llm", (12,), "between 0 and 1"),
    Breach("per cent", put("p_llm", [8, 9], 50.0), "p_llm", (8, 9), "between 0 and 1"),
    Breach("infinite", put("p_human", 5, np.inf), "p_human", (5,), "between 0 and 1"),
    Breach("llm NaN", put("p_llm", 8, np.nan), "p_llm", (8,), "share for every option"),
    Breach("human NaN", put("p_human", 2, np.nan), "p_human", (2,), "all its options or for none"),
    Breach("n zero", put("n_human", [8, 9], 0.0), "n_human", (8, 9), "must be positive"),
    Breach("n negative", put("n_human", [8, 9], -5.0), "n_human", (8, 9), "must be positive"),
    Breach("n varies", put("n_human", 8, 5.0), "n_human", (8, 9), "same in every setting"),
    Breach("duplicate", again(3), "option_index", (3, 18), "one row per setting"),
    Breach("one option", drop(9), "option_index", (8,), "at least two"),
    Breach("no value", put("option_value", [1, 5], None), "option_value", tuple(range(8)), "value"),
    Breach(
        "values all the same",
        put("option_value", [0, 1, 2, 4, 5, 6], 1.0),
        "option_value",
        tuple(range(8)),
        "not all the same",
    ),
    Breach("infinite value", put("option_value", [2, 6], np.inf), "option_value", (2, 6), "finite"),
    Breach(
        "binary of three",
        put("scale", list(range(12, 18)), "binary"),
        "scale",
        tuple(range(12, 18)),
        "binary question has two",
    ),
    Breach("scale", put("scale", 4, "likert"), "scale", (4,), "one of ordinal, nominal, binary"),
    Breach("kind", put("option_kind", 4, "dk"), "option_kind", (4,), "must be one of"),
    Breach("elicitation", put("elicitation", 0, "guess"), "elicitation", (0,), "must be one of"),
    Breach("outcome", put("outcome", 0, "ok"), "outcome", (0,), "must be one of"),
    Breach("no group", put("group", [8, 9], None), "group", (8, 9), "filled in every row"),
    Breach("blank model", put("model", 0, "  "), "model", (0,), "filled in every row"),
    Breach("index", put("option_index", 1, 0.5), "option_index", (1,), "whole number"),
    Breach("negative index", put("option_index", 1, -1), "option_index", (1,), "whole number"),
    Breach("wording", put("question", 8, "Else?"), "question", tuple(range(8, 12)), "one question"),
    Breach("label", put("option", 9, "aye"), "option", (9, 11), "one option in all"),
    Breach(
        "value varies", put("option_value", 9, 2.0), "option_value", (9, 11), "one option_value"
    ),
    Breach("outcomes", put("outcome", 9, "refused"), "outcome", (8, 9), "same outcome"),
    Breach("unanswered", put("outcome", [8, 9], "failed"), "p_llm", (8, 9), "empty unless"),
    Breach("text in numbers", put("p_llm", 8, "35%"), "p_llm", (8,), "must be numbers"),
    Breach("decimal comma", put("p_human", 8, "0,6"), "p_human", (8,), "must be numbers"),
    Breach("text as index", put("option_index", 8, "A"), "option_index", (8,), "must be numbers"),
]


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_a_broken_rule_is_told_once_with_its_rows_and_a_remedy(breach: Breach) -> None:
    faults = faults_of(breach.change(toy_table()))
    told = [fault for fault in faults if fault.column == breach.column]
    assert [fault.rows for fault in told] == [breach.rows]
    assert breach.rule in told[0].rule
    assert told[0].value
    assert told[0].remedy
    # "outcomes" also leaves a share in a refused row: two causes, two faults.
    assert len(faults) == (2 if breach.name == "outcomes" else 1)


def test_a_second_model_must_stand_beside_the_same_human_answers() -> None:
    frame = toy_table(["model-a", "model-b"])
    rows = rows_where(frame, {"model": "model-b", "question_id": "q2", "group": "Democrat"})
    frame.loc[list(rows), "p_human"] = [0.5, 0.5]
    (fault,) = faults_of(frame)
    both = rows_where(frame, {"question_id": "q2", "group": "Democrat"})
    assert (fault.column, fault.rows) == ("p_human", both)
    assert "same in every setting" in fault.rule


def test_human_answers_beside_one_setting_only() -> None:
    frame = toy_table(["model-a", "model-b"])
    rows = rows_where(frame, {"model": "model-b", "question_id": "q2", "group": "Democrat"})
    frame.loc[list(rows), "p_human"] = np.nan
    (fault,) = faults_of(frame)
    assert (fault.column, fault.rows) == ("p_human", rows)


def test_all_settings_offer_the_same_options() -> None:
    # Without its last option, of share 0, the cell still sums to one in the second setting.
    frame = toy_table(["model-a", "model-b"])
    cut = rows_where(frame, {"model": "model-b", "question_id": "q1", "group": "Republican"})[3]
    frame = frame.drop(index=cut).reset_index(drop=True)
    (fault,) = faults_of(frame)
    partial = {"question_id": "q1", "group": "Republican", "option_index": 3}
    assert (fault.column, fault.rows) == ("option_index", rows_where(frame, partial))
    assert "same options in every setting" in fault.rule


def test_an_option_may_be_withheld_from_a_group_but_not_all_but_one() -> None:
    good = toy_table()
    check_table(good.drop(index=7))
    alone = good.drop(index=[16, 17]).reset_index(drop=True)
    alone.loc[15, ["p_human", "p_llm"]] = 1.0
    (fault,) = faults_of(alone)
    assert fault.rows == (15,)
    assert "at least two" in fault.rule


def test_a_group_offered_only_refusals_is_not_lost_in_silence() -> None:
    frame = toy_table().drop(index=[4, 5, 6]).reset_index(drop=True)
    frame.loc[4, ["p_human", "p_llm"]] = 1.0
    (fault,) = faults_of(frame)
    assert fault.rows == (4,)
    assert fault.value.startswith("0 for")


def test_all_faults_are_reported_at_once() -> None:
    frame = toy_table().astype({"p_human": object})
    frame.loc[0, "p_human"] = "half"
    frame.loc[8, "p_llm"] = -0.1
    frame.loc[[12, 13, 14], "n_human"] = 0.0
    frame.loc[[15, 16, 17], "option"] = ["rot", "green", "blue"]
    frame = pd.concat([frame, frame.loc[[10]]])
    faults = faults_of(frame)
    assert {(fault.column, fault.rows) for fault in faults} == {
        ("p_human", (0,)),
        ("p_llm", (8,)),
        ("n_human", (12, 13, 14)),
        ("option", (12, 15)),
        ("option_index", (10, 18)),
    }


def test_shares_are_checked_even_where_keys_are_broken() -> None:
    frame = toy_table()
    frame.loc[0, "scale"] = "likert"
    frame.loc[9, "p_llm"] = -0.1
    assert {fault.column for fault in faults_of(frame)} == {"scale", "p_llm"}


def test_rows_are_positions_in_the_file_whatever_the_index_of_the_frame() -> None:
    frame = toy_table().set_index(np.arange(100, 118))
    frame.loc[108, "p_llm"] = -0.1
    (fault,) = faults_of(frame)
    assert fault.rows == (8,)


def good_tables() -> dict[str, pd.DataFrame]:
    """Tables that look odd and break no rule."""
    nobody_asked = toy_table().assign(p_human=np.nan, n_human=np.nan)
    unknown_n = toy_table().assign(n_human=np.nan)
    rounded = toy_table()
    rounded.loc[[12, 13, 14], "p_human"] = [0.333, 0.333, 0.333]
    binary_without_values = toy_table()
    binary_without_values.loc[8:11, "option_value"] = np.nan
    unanswered = frame_of(
        [
            cell("q2", "Democrat", HUMAN["q2", "Democrat"], (None, None), outcome="refused"),
            cell("q2", "Republican", HUMAN["q2", "Republican"], (None, None), outcome="failed"),
        ]
    )
    part_of_the_settings = frame_of(
        [
            cell("q2", "Democrat", HUMAN["q2", "Democrat"], LLM["q2", "Democrat"]),
            cell("q2", "Republican", HUMAN["q2", "Republican"], (0.5, 0.5), model="model-b"),
        ]
    )
    two_attributes = toy_table()
    two_attributes.loc[rows_where(two_attributes, {"group": "Republican"}), "attribute"] = "REGION"
    two_attributes["group"] = "Other"
    two_surveys = toy_table()
    two_surveys = pd.concat(
        [two_surveys, two_surveys.assign(survey="toy2", question="Something else?")]
    )
    return {
        "as it is": toy_table(),
        "two models": toy_table(["model-a", "model-b"]),
        "shuffled": toy_table().sample(frac=1, random_state=np.random.default_rng(1)),
        "nobody asked": nobody_asked,
        "n unknown": unknown_n,
        "rounded shares": rounded,
        "binary without values": binary_without_values,
        "unanswered": unanswered,
        "part of the settings": part_of_the_settings,
        "one name under two attributes": two_attributes,
        "one id in two surveys": two_surveys,
        "one question only": toy_table().loc[8:9],
    }


@pytest.mark.parametrize("name", good_tables())
def test_no_rule_fires_on_a_good_table(name: str) -> None:
    frame = good_tables()[name]
    assert len(check_table(frame)) == len(frame)
