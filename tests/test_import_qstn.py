"""Tables of QSTN, in its layout written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_import_answers import OPTIONS, faults, put, shares

from calib.errors import DataError
from calib.importers import qstn


def row(
    answer: str, *, name: str = "anna", item: object = "jobs", **more: object
) -> dict[str, Any]:
    """One item of one interview, as ``parse_json`` returns it."""
    return {
        "questionnaire_name": name,
        "questionnaire_item_id": item,
        "question": "Tell us: how are jobs? Options are: 1: Good, 2: Fair, 4: Bad",
        "answer": answer,
        "party": "D",
        **more,
    }


def read(path: Path, *rows: dict[str, Any], **options: Any) -> Any:
    source = put(path / "qstn.csv", list(rows))
    scales = put(path / "options.csv", OPTIONS)
    return qstn.read(source, **{"scales": scales, "model": "llama", **options})


def test_answers_become_shares_by_group(tmp_path: Path) -> None:
    table, counts = read(
        tmp_path,
        row("1: Good"),
        row("Bad", name="bob"),
        row("4", name="carl"),
        row("Fair", name="dora", party="R"),
        groups=("party",),
    )
    assert shares(table, group="D") == {
        "Good": pytest.approx(1 / 3), "Fair": 0.0, "Bad": pytest.approx(2 / 3), "Refused": 0.0,
    }  # fmt: skip
    assert shares(table, group="R")["Fair"] == 1.0
    assert set(table["survey"]) == {"toy"} and set(table["model"]) == {"llama"}
    assert set(table["question"]) == {"How are jobs?"} and set(table["prompt"]) == {"sd"}
    assert counts["rows_read_without_code_before_label"] == counts["rows_read_as_codes"] == 1


def test_raw_responses_may_be_json(tmp_path: Path) -> None:
    texts = [json.dumps({"reasoning": "…", "answer": "2: Fair"}), "Good", '{"answer": 4}', "{bad"]
    rows = [row("", llm_response=text) for text in texts]
    table, counts = read(tmp_path, *rows)
    assert shares(table)["Fair"] == shares(table)["Good"] == shares(table)["Bad"]
    assert counts["rows_answered"] == 3 and counts["rows_unparsable"] == 1


def test_rows_that_could_not_be_parsed_are_counted(tmp_path: Path) -> None:
    table, counts = read(
        tmp_path,
        row("Good"),
        row("Bad"),
        row("I would say that they are good"),
        row("", llm_response="hm", error_col="ERROR: Parsing"),
        row("", item=-1, llm_response="{}"),
    )
    assert shares(table)["Good"] == 0.5
    assert counts["rows_unparsable"] == 2 and counts["rows_read"] == 4
    assert counts["rows_of_whole_questionnaires_left_out"] == 1


def test_a_question_of_which_nothing_can_be_read_has_the_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, row("sehr gut"), row("schlecht"))
    assert faults(error) == {"answers to toy/jobs are among its options": (0, 1)}


def test_items_without_options_are_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, row("Good"), row("Good", item=7), row("Bad", item=7))
    assert faults(error) == {"the options of each question are known": (1, 2)}
    with pytest.raises(DataError, match="no --scales"):
        read(tmp_path, row("Good"), scales=None)


@pytest.mark.parametrize(
    "column", ["questionnaire_name", "questionnaire_item_id", "answer", "party"]
)
def test_missing_columns_are_a_fault(column: str, tmp_path: Path) -> None:
    one = row("Good")
    del one[column]
    with pytest.raises(DataError, match=column):
        read(tmp_path, one, groups=("party",))


def test_the_model_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the model is known"):
        read(tmp_path, row("Good"), model=None)
    table, _ = read(tmp_path, row("Good", model="a"), row("Bad", model="b"), model=None)
    assert shares(table, model="a")["Good"] == shares(table, model="b")["Bad"] == 1.0
