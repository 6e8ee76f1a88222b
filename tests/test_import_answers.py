"""Individual answers in a plain table, and what all importers of answers share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import toy_table

from calib.cli import main
from calib.errors import DataError
from calib.files import write_table
from calib.importers import answer_table
from calib.importers.given import Asked, Given
from calib.importers.individual import EVERYBODY, tabulate
from calib.importers.published import NOTHING, read_published
from calib.survey import QuestionKey, Setting
from calib.table import check_table, read_table

OPTIONS = pd.DataFrame(
    {
        "survey": "toy",
        "question_id": "jobs",
        "question": "How are jobs?",
        "scale": "ordinal",
        "option_index": [0, 1, 2, 3],
        "option": ["Good", "Fair", "Bad", "Refused"],
        "option_value": [1.0, 2.0, 4.0, None],
        "option_kind": ["substantive"] * 3 + ["refused"],
    }
)


def put(path: Path, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def answers(path: Path, *texts: str, **columns: object) -> Path:
    """A file of answers to one question by one model."""
    rows = [{"question_id": "jobs", "answer": text, "model": "m", **columns} for text in texts]
    return put(path / "answers.csv", rows)


@pytest.fixture
def options(tmp_path: Path) -> Path:
    return put(tmp_path / "options.csv", OPTIONS)


def shares(table: pd.DataFrame, **where: object) -> dict[str, float]:
    """Shares by option of one cell."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert not table.duplicated("option").any()
    return dict(zip(table["option"], table["p_llm"], strict=True))


def faults(error: pytest.ExceptionInfo[DataError]) -> dict[str, tuple[int, ...]]:
    """Rows of the faults by their rule."""
    return {fault.rule: fault.rows for fault in error.value.faults}


# Shares and counts


def test_answers_become_shares_by_frequency(tmp_path: Path, options: Path) -> None:
    source = answers(tmp_path, "Good", "Bad", "Good", "Refused")
    table, counts = answer_table.read(source, scales=options)
    assert shares(table) == {"Good": 0.5, "Fair": 0.0, "Bad": 0.25, "Refused": 0.25}
    constant = {
        "survey": "toy", "question": "How are jobs?", "scale": "ordinal", "attribute": "all",
        "group": "all", "model": "m", "elicitation": "self_random", "prompt": "base",
        "outcome": "answered",
    }  # fmt: skip
    for column, value in constant.items():
        assert set(table[column]) == {value}
    assert table["p_human"].isna().all() and table["n_human"].isna().all()
    assert table["option_value"].tolist()[:3] == [1.0, 2.0, 4.0]
    assert counts["rows_read"] == counts["rows_answered"] == 4
    assert counts["scales_published"] == counts["cells_answered"] == 1
    assert counts["fewest_answers_in_an_answered_cell"] == 4


def test_an_answer_counts_for_each_group_that_it_belongs_to(tmp_path: Path, options: Path) -> None:
    rows = [
        {"question_id": "jobs", "model": "m", "answer": answer, "party": party, "age": age}
        for answer, party, age in [
            ("Good", "D", "old"),
            ("Bad", "D", "young"),
            ("Bad", "R", "old"),
            ("Fair", "", "old"),
            ("Fair", "", ""),
        ]
    ]
    source = put(tmp_path / "a.csv", rows)
    table, counts = answer_table.read(source, scales=options, groups=("party", "age"))
    assert shares(table, group="D")["Good"] == 0.5
    assert shares(table, group="R")["Bad"] == 1.0
    assert shares(table, group="old") == {
        "Good": pytest.approx(1 / 3),
        "Fair": pytest.approx(1 / 3),
        "Bad": pytest.approx(1 / 3),
        "Refused": 0.0,
    }
    assert set(table["prompt"]) == {"sd"}
    assert counts["rows_without_party"] == 2 and counts["rows_without_age"] == 1
    assert counts["rows_in_no_group_left_out"] == 1
    assert counts["cells"] == 4


def test_attribute_and_group_columns_are_used_without_being_named(
    tmp_path: Path, options: Path
) -> None:
    source = answers(tmp_path, "Good", attribute="POLPARTY", group="Democrat")
    table, _ = answer_table.read(source, scales=options)
    assert set(table["attribute"]) == {"POLPARTY"} and set(table["group"]) == {"Democrat"}
    assert set(table["prompt"]) == {"sd"}


def test_columns_tell_surveys_models_and_settings_apart(tmp_path: Path) -> None:
    rows = [
        {"survey": survey, "question_id": "q", "answer": answer, "model": model,
         "prompt": "mine", "elicitation": "paraphrase"}
        for survey, model, answer in [
            ("s", "m", "1"), ("s", "m", "2"), ("s", "n", "2"), ("t", "m", "1"), ("t", "m", "5")
        ]
    ]  # fmt: skip
    table, _ = answer_table.read(put(tmp_path / "a.csv", rows))
    assert shares(table, survey="s", model="m") == {"1": 0.5, "2": 0.5}
    assert shares(table, survey="s", model="n") == {"1": 0.0, "2": 1.0}
    assert shares(table, survey="t") == {"1": 0.5, "5": 0.5}
    assert set(table["elicitation"]) == {"paraphrase"} and set(table["prompt"]) == {"mine"}


def test_options_are_taken_from_answers_where_nobody_lists_them(tmp_path: Path) -> None:
    rows = [
        {"question_id": question_id, "question": f"What of {question_id}?", "answer": answer}
        for question_id, those in {
            "rating": ["10", "2", "2.0", "9"],
            "colour": ["red", "blue", "Refused"],
            "same": ["yes", "yes"],
        }.items()
        for answer in those
    ]
    table, counts = answer_table.read(put(tmp_path / "colours.csv", rows), model="m")
    rating = table[table["question_id"] == "rating"]
    assert rating["option"].tolist() == ["2", "9", "10"]
    assert rating["option_value"].tolist() == [2.0, 9.0, 10.0]
    assert set(rating["scale"]) == {"ordinal"} and set(rating["question"]) == {"What of rating?"}
    colour = table[table["question_id"] == "colour"]
    assert colour["option"].tolist() == ["blue", "red", "Refused"]
    assert colour["option_kind"].tolist() == ["substantive", "substantive", "refused"]
    assert set(colour["scale"]) == {"nominal"} and colour["option_value"].isna().all()
    assert set(table["survey"]) == {"colours"}
    assert counts["scales_from_answers"] == 3
    assert counts["rows_of_questions_with_fewer_than_two_options_left_out"] == 2


def test_rows_without_an_answer_are_counted_by_reason(tmp_path: Path, options: Path) -> None:
    rows = [
        {"question_id": "jobs", "answer": answer, "outcome": outcome, "g": group}
        for group, answer, outcome in [
            ("most", "Good", "answered"),
            ("most", "Bad", ""),
            ("most", "", "refused"),
            ("few", "Good", ""),
            ("few", "", ""),
            ("few", "", "failed"),
            ("few", "", "failed"),
            ("none", "", "refused"),
        ]
    ]
    source = put(tmp_path / "a.csv", rows)
    table, counts = answer_table.read(source, scales=options, groups=("g",), model="m")
    assert shares(table, group="most")["Good"] == 0.5
    outcome = table.drop_duplicates("group").set_index("group")["outcome"]
    assert outcome.to_dict() == {"most": "answered", "few": "failed", "none": "refused"}
    assert table.loc[table["group"] != "most", "p_llm"].isna().all()
    expected = {"read": 8, "answered": 3, "refused": 2, "unparsable": 1, "failed": 2}
    assert {name: counts[f"rows_{name}"] for name in expected} == expected
    assert counts["cells_answered_without_some_rows"] == 1
    assert counts["cells_failed"] == counts["cells_refused"] == 1


@pytest.mark.parametrize(
    ("text", "label", "way"),
    [
        ("Good", "Good", None),
        (" Good ", "Good", None),
        ("good", "Good", "rows_read_without_case"),
        ("3: Bad", "Bad", "rows_read_without_code_before_label"),
        ("C) Bad", "Bad", "rows_read_without_code_before_label"),
        ("4", "Bad", "rows_read_as_codes"),
        ("4.0", "Bad", "rows_read_as_codes"),
        ("-99: Refused", "Refused", "rows_read_without_code_before_label"),
    ],
)
def test_what_names_an_option(
    text: str, label: str, way: str | None, tmp_path: Path, options: Path
) -> None:
    table, counts = answer_table.read(answers(tmp_path, text), scales=options)
    assert shares(table)[label] == 1.0
    assert [name for name in counts if name.startswith("rows_read_") and counts[name]] == (
        [way] if way else []
    )


@pytest.mark.parametrize(
    "text", ["3", "Goo", "Good or Bad", "inf", "1: 2: Good", "Good.", "No. Good"]
)
def test_what_names_no_option(text: str, tmp_path: Path, options: Path) -> None:
    with pytest.raises(DataError) as error:
        answer_table.read(answers(tmp_path, "Good", text, text), scales=options)
    assert faults(error) == {"answers to toy/jobs are among its options": (1, 2)}
    assert "'Good', 'Fair', 'Bad', 'Refused'" in str(error.value)


def test_a_code_is_none_where_labels_are_numbers(tmp_path: Path) -> None:
    frame = OPTIONS.head(3).assign(option=["10", "20", "30"], option_value=[1.0, 2.0, 3.0])
    options = put(tmp_path / "o.csv", frame)
    table, counts = answer_table.read(answers(tmp_path, "20", "20.0"), scales=options)
    assert shares(table)["20"] == 1.0 and counts["rows_read_as_numbers"] == 1
    with pytest.raises(DataError, match="are among its options"):
        answer_table.read(answers(tmp_path, "2"), scales=options)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1), st.randoms())
def test_shares_do_not_depend_on_the_order_of_rows(texts: list[str], random: Any) -> None:
    key, setting = QuestionKey("s", "q"), Setting("m", "self_random", "base")
    asked = Asked(key, "What?", ("a", "b", "c"))

    def run(rows: Sequence[str]) -> tuple[dict[str, float], Counter[str]]:
        counts: Counter[str] = Counter()
        found = [
            Given(row, asked, (EVERYBODY,), setting, text, "answered" if text else "refused")
            for row, text in enumerate(rows)
        ]
        return shares(tabulate(found, NOTHING, counts, Path("x")).table), counts

    n = Counter(texts)
    known = len(texts) - n[""]
    found, counts = run(texts)
    if 2 * known >= len(texts):
        assert found == {label: n[label] / known for label in "abc"}
    else:
        assert all(np.isnan(share) for share in found.values())
    assert counts["rows_answered"] + counts["rows_refused"] == counts["rows_read"] == len(texts)
    random.shuffle(texts)
    assert repr(run(texts)) == repr((found, counts))


# The table of options, and the human side


def test_a_paired_table_gives_options_and_human_answers(tmp_path: Path) -> None:
    human = tmp_path / "human.parquet"
    write_table(check_table(toy_table(["a", "b"])), human)
    rows = [
        {"question_id": "q2", "answer": "yes", "POLPARTY": party}
        for party in ("Democrat", "Independent")
    ]
    source = put(tmp_path / "a.csv", rows)
    table, counts = answer_table.read(source, scales=human, groups=("POLPARTY",), model="m")
    democrat = table[table["group"] == "Democrat"]
    assert democrat["p_human"].tolist() == [0.6, 0.4] and set(democrat["n_human"]) == {100.0}
    assert set(democrat["scale"]) == {"binary"} and set(table["survey"]) == {"toy"}
    assert table.loc[table["group"] == "Independent", ["p_human", "n_human"]].isna().all(axis=None)
    assert counts["cells_without_human_answer"] == 1
    assert counts["human_cells_that_no_model_was_asked"] == 5


def test_answers_in_known_numbers_give_back_their_table(tmp_path: Path) -> None:
    truth = check_table(toy_table())
    write_table(truth, tmp_path / "human.csv")
    # All shares of the toy table are multiples of a twentieth: twenty answers a cell.
    twentieths = (truth["p_llm"] * 20).round().astype(int)
    columns = ["survey", "question_id", "attribute", "group", "model", "elicitation", "prompt"]
    rows = truth.loc[truth.index.repeat(twentieths), [*columns, "option"]]
    shuffled = rows.rename(columns={"option": "answer"}).sample(frac=1, random_state=0)
    source = put(tmp_path / "a.csv", shuffled)
    table, counts = answer_table.read(source, scales=tmp_path / "human.csv")
    key = ["question_id", "group", "option_index"]
    pd.testing.assert_frame_equal(
        table.sort_values(key, ignore_index=True), truth.sort_values(key, ignore_index=True)
    )
    assert counts["rows_read"] == 120 and counts["fewest_answers_in_an_answered_cell"] == 20
    # The twin: one answer less is another share.
    put(source, pd.read_csv(source).iloc[1:])
    fewer = answer_table.read(source, scales=tmp_path / "human.csv").table
    assert (
        not fewer.sort_values(key)["p_llm"]
        .reset_index(drop=True)
        .equals(truth.sort_values(key)["p_llm"].reset_index(drop=True))
    )


def test_human_answers_need_no_model(tmp_path: Path) -> None:
    frame = toy_table().drop(columns=["model", "elicitation", "prompt", "outcome", "p_llm"])
    published = read_published(put(tmp_path / "h.csv", frame))
    assert len(published.questions) == 3 and len(published.human) == 6
    assert published.survey == "toy"


def test_a_table_of_options_keeps_the_rules_of_the_paired_table(tmp_path: Path) -> None:
    broken = OPTIONS.assign(scale=["ordinal", "cardinal", "ordinal", "ordinal"])
    with pytest.raises(DataError) as error:
        read_published(put(tmp_path / "o.csv", broken))
    assert faults(error) == {"must be one of ordinal, nominal, binary": (1,)}
    with pytest.raises(DataError) as error:
        read_published(put(tmp_path / "o.csv", OPTIONS.replace("Bad", "Good")))
    assert faults(error) == {"the options of a question have distinct labels": (0, 2)}
    with pytest.raises(DataError, match="no column option_index") as error:
        read_published(put(tmp_path / "o.csv", OPTIONS.drop(columns="option_index")))
    assert error.value.file == str(tmp_path / "o.csv")


# Faults


@pytest.mark.parametrize(
    ("columns", "options", "rule"),
    [
        ({"model": ""}, {}, "the column model is filled in every row"),
        ({}, {"model": "m"}, "the model is said once"),
        ({"outcome": "gone"}, {}, "outcome is one of"),
        ({"outcome": "refused"}, {}, "a row that is not answered has no answer"),
        ({"elicitation": "seance"}, {}, "elicitation is one of"),
        ({"attribute": "a"}, {}, "the columns attribute, group are there"),
        ({}, {"groups": ("party",)}, "the columns party are there"),
    ],
)
def test_faults_of_a_table_of_answers(
    columns: dict[str, str], options: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    source = answers(tmp_path, "1", "2", **columns)
    with pytest.raises(DataError) as error:
        answer_table.read(source, **options)
    assert [fault.rule.startswith(rule) for fault in error.value.faults] == [True]
    assert error.value.file == str(source)


def test_faults_are_told_together_with_their_rows(tmp_path: Path) -> None:
    rows = [
        {"question_id": "q", "answer": "1", "outcome": "", "model": "m"},
        {"question_id": "", "answer": "1", "outcome": "", "model": "m"},
        {"question_id": "q", "answer": "", "outcome": "answered", "model": "m"},
    ]
    with pytest.raises(DataError) as error:
        answer_table.read(put(tmp_path / "a.csv", rows))
    assert faults(error) == {
        "question_id is filled in every row": (1,),
        "a row that is answered has an answer": (2,),
    }


def test_a_question_has_one_wording(tmp_path: Path) -> None:
    rows = [
        {"question_id": "q", "answer": "1", "question": text, "model": "m"}
        for text in ("One?", "One?", "Two?")
    ]
    with pytest.raises(DataError) as error:
        answer_table.read(put(tmp_path / "a.csv", rows))
    assert faults(error) == {"a question has one wording in all its rows": (2,)}


@pytest.mark.parametrize(
    "rows", [[], [{"question_id": "q"}], [{"question_id": "q", "answer": "1"}]]
)
def test_what_is_missing_is_said(rows: list[dict[str, str]], tmp_path: Path) -> None:
    columns = list(rows[0]) if rows else ["question_id", "answer", "model"]
    source = tmp_path / "a.csv"
    pd.DataFrame(rows, columns=columns).to_csv(source, index=False)
    with pytest.raises(DataError):
        answer_table.read(source)


def test_a_source_without_a_usable_row_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one row that can be used"):
        answer_table.read(answers(tmp_path, "yes", "yes"))


# Command line


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_import_on_the_command_line(tmp_path: Path, options: Path) -> None:
    out = tmp_path / "t.parquet"
    source = put(tmp_path / "a.csv", [{"question_id": "jobs", "answer": "Good", "party": "D"}])
    done = run(
        "import", "answers", source, "-o", out, "--scales", options, "--model", "gpt",
        "--groups", "party", "--prompt", "bio",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "rows_answered" in done.output
    table = read_table(out)
    assert set(table["model"]) == {"gpt"} and set(table["prompt"]) == {"bio"}
    refused = run("import", "answers", tmp_path / "none.csv", "-o", out)
    assert refused.exit_code == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("meister", "--groups", "party"),
        ("synthbench", "--model", "m"),
        ("edsl", "--model", "m"),
        ("inspect", "--model", "m"),
        ("answers", "--groups", "a,,b"),
        ("answers", "--groups", "a,a"),
    ],
)
def test_options_that_a_kind_does_not_take(arguments: tuple[str, ...], tmp_path: Path) -> None:
    kind, *options = arguments
    done = run("import", kind, "x", "-o", tmp_path / "t.csv", *options)
    assert done.exit_code == 2
    assert not (tmp_path / "t.csv").exists()
