"""Human tables beside what an LLM answered: everything matched is right, the rest is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError
from calib.files import write_table
from calib.microdata.match import match, match_files, read_human
from calib.paired import pair
from calib.table import check_table

LABELS = ("good", "neither", "bad", "Don't know", "Refused")
KINDS = ("substantive",) * 3 + ("dont_know", "refused")
VALUES = (1.0, 2.0, 4.0, None, None)


def rows(
    question: str, group: str, shares: tuple[float, ...], places: tuple[int, ...], **more: Any
) -> list[dict[str, Any]]:
    """A cell whose options are those at some places of the lists above, numbered anew."""
    return [
        {
            "survey": "s", "question_id": question, "question": f"What of {question}?",
            "scale": "ordinal", "option_index": index, "option": LABELS[place],
            "option_value": VALUES[place], "option_kind": KINDS[place], "attribute": "party",
            "group": group, "p": share, **more,
        }
        for index, (place, share) in enumerate(zip(places, shares, strict=True))
    ]  # fmt: skip


def human(*cells: list[dict[str, Any]], n: float = 50.0) -> pd.DataFrame:
    frame = pd.DataFrame([row for cell in cells for row in cell])
    return frame.rename(columns={"p": "p_human"}).assign(n_human=n)


def elicited(*cells: list[dict[str, Any]]) -> pd.DataFrame:
    setting = {"elicitation": "verbalized", "prompt": "sd", "outcome": "answered"}
    frame = pd.DataFrame([row for cell in cells for row in cell])
    one = frame.rename(columns={"p": "p_llm"}).assign(n_human=np.nan, p_human=np.nan, **setting)
    return pd.concat([one.assign(model="a"), one.assign(model="b")], ignore_index=True)


ALL = (0, 1, 2, 3, 4)
OPINIONS = human(
    rows("q1", "left", (0.5, 0.2, 0.1, 0.1, 0.1), ALL),
    rows("q1", "right", (0.1, 0.2, 0.5, 0.2, 0.0), ALL),
    rows("q2", "left", (0.3, 0.3, 0.4), (0, 1, 2)),
    rows("q3", "left", (0.3, 0.3, 0.4), (0, 1, 2)),
    rows("q1", "none", (0.3, 0.3, 0.4, 0.0, 0.0), ALL),
)
ANSWERS = elicited(
    rows("q1", "left", (0.7, 0.2, 0.1), (0, 1, 2)),
    rows("q1", "right", (0.1, 0.1, 0.8), (0, 1, 2)),
    rows("q1", "green", (0.1, 0.1, 0.8), (0, 1, 2)),
    rows("q2", "left", (0.2, 0.2, 0.2, 0.4), (0, 1, 2, 4)),
    rows("q2", "right", (0.2, 0.2, 0.2, 0.4), (0, 1, 2, 4)),
    rows("q9", "left", (0.2, 0.2, 0.6), (0, 1, 2)),
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write_table(OPINIONS, tmp_path / "human.parquet")
    write_table(ANSWERS, tmp_path / "llm.csv")
    return tmp_path / "human.parquet", tmp_path / "llm.csv"


def cell(table: pd.DataFrame, question: str, group: str) -> pd.DataFrame:
    mine = (table["question_id"] == question) & (table["group"] == group)
    return table[mine & (table["model"] == "a")]


def test_shares_and_sizes(files: tuple[Path, Path]) -> None:
    found = match_files(*files)
    # Options that the LLM was not offered are dropped with their share of n.
    left = cell(found.table, "q1", "left")
    np.testing.assert_allclose(left["p_human"], [0.625, 0.25, 0.125])
    np.testing.assert_allclose(left["n_human"], 40)
    # One that only the LLM was offered has no human share.
    assert cell(found.table, "q2", "left")["p_human"].to_list() == [0.3, 0.3, 0.4, 0.0]
    assert set(cell(found.table, "q2", "left")["n_human"]) == {50.0}
    for nobody in (("q1", "green"), ("q2", "right"), ("q9", "left")):
        assert cell(found.table, *nobody)[["p_human", "n_human"]].isna().to_numpy().all()
    pd.testing.assert_frame_equal(check_table(found.table), found.table)
    assert len(found.table) == len(ANSWERS)
    assert found.table["p_llm"].to_list() == ANSWERS["p_llm"].to_list()
    # Three cells have both sides; each is a row of the pairs, with two sources.
    assert pair(found.table).complete.sum() == 3


def test_what_did_not_match_is_named(files: tuple[Path, Path]) -> None:
    found = match_files(*files)
    assert {name: those for name, those in found.unmatched.items() if those} == {
        "questions_only_human": ["s/q3"],
        "questions_only_elicited": ["s/q9"],
        "groups_only_human": ["party: none"],
        "groups_only_elicited": ["party: green"],
        "options_only_human": ["s/q1/Don't know", "s/q1/Refused"],
        "options_only_elicited": ["s/q2/Refused"],
    }
    counts = found.counts
    assert counts["cells"] == 12 and counts["cells_with_human_answers"] == 6
    assert counts["cells_without_human_answers"] == 6
    assert counts["human_cells_that_no_llm_was_asked"] == 2
    assert counts["cells_with_no_answer_dropped_and_rest_renormalised"] == 2
    assert counts["shares_0_of_options_that_only_the_llm_was_offered"] == 1
    assert counts["questions_only_human"] == 1


def test_a_cell_of_refusals_only_has_no_share() -> None:
    people = human(
        rows("q1", "left", (0, 0, 0, 0.5, 0.5), ALL), rows("q1", "right", (1, 0, 0, 0, 0), ALL)
    )
    found = match(people, check_table(ANSWERS))
    assert cell(found.table, "q1", "left")["p_human"].isna().all()
    assert found.counts["cells_of_people_without_any_answer_left"] == 1


def test_a_wording_that_differs_is_named_and_kept() -> None:
    people = OPINIONS.assign(question="Otherwise?")
    found = match(people, check_table(ANSWERS))
    assert found.unmatched["questions_worded_differently"] == ["s/q1", "s/q2"]
    assert "Otherwise?" not in set(found.table["question"])


def changed(column: str, value: object, where: str = "good") -> pd.DataFrame:
    """The human table with another value in q1, for one option or all (where is empty)."""
    frame = OPINIONS.copy()
    mine = (frame["question_id"] == "q1") & ((frame["option"] == where) | (where == ""))
    frame.loc[mine, column] = value
    return frame


@pytest.mark.parametrize(
    ("people", "column", "n_rows"),
    [
        (changed("option", "Good"), "option", 6),
        (changed("option_value", 0.0), "option_value", 6),
        (changed("scale", "nominal", ""), "scale", 18),
        (changed("option_kind", "other", "bad"), "option", 6),
    ],
)
def test_what_must_agree(people: pd.DataFrame, column: str, n_rows: int) -> None:
    with pytest.raises(DataError) as error:
        match(people, check_table(ANSWERS))
    [fault] = error.value.faults
    assert fault.column == column and len(fault.rows) == n_rows
    assert set(ANSWERS["question_id"].iloc[list(fault.rows)]) == {"q1"}


def test_an_answer_that_the_llm_was_not_offered() -> None:
    answers = elicited(rows("q1", "left", (0.5, 0.5), (0, 1)))
    with pytest.raises(DataError) as error:
        match(OPINIONS, check_table(answers))
    [fault] = error.value.faults
    assert "offered every answer" in fault.rule and "'bad'" in fault.value
    assert fault.rows == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"survey": "other"}, "question in common"),
        ({"attribute": "PARTY"}, "group in common"),
    ],
)
def test_nothing_in_common(change: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        match(OPINIONS.assign(**change), check_table(ANSWERS))


def test_human_answers_are_given_once() -> None:
    with pytest.raises(DataError, match="no human answers yet"):
        match(OPINIONS, check_table(match(OPINIONS, check_table(ANSWERS)).table))


def test_a_paired_table_can_be_the_human_side(files: tuple[Path, Path], tmp_path: Path) -> None:
    first = match_files(*files)
    write_table(first.table, tmp_path / "paired.parquet")
    again = match_files(tmp_path / "paired.parquet", files[1])
    pd.testing.assert_frame_equal(again.table, first.table)


def test_a_human_table_keeps_the_rules(tmp_path: Path) -> None:
    write_table(OPINIONS.drop(columns="scale"), tmp_path / "a.csv")
    with pytest.raises(DataError, match="no column scale"):
        read_human(tmp_path / "a.csv")
    write_table(OPINIONS.assign(p_human=0.1), tmp_path / "b.csv")
    with pytest.raises(DataError, match="sum to one") as error:
        read_human(tmp_path / "b.csv")
    assert error.value.file == str(tmp_path / "b.csv")
