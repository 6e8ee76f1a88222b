"""From the table to arrays: what goes where, what is dropped, and that it is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tables import HUMAN, LLM, cell, frame_of, toy_table

from calib.errors import CalibError, DataError
from calib.files import write_table
from calib.opinions import Elicited, Opinions
from calib.paired import Paired, pair, settings_of
from calib.survey import Group, QuestionKey, Setting
from calib.table import check_table, read_table

A = Setting("model-a", "verbalized", "sd")
B = Setting("model-b", "verbalized", "sd")
DEMOCRAT = Group("POLPARTY", "Democrat")
REPUBLICAN = Group("POLPARTY", "Republican")


def row_of(paired: Paired, question_id: str, group: Group) -> int:
    index = paired.index
    question = index.question_keys.index(QuestionKey("toy", question_id))
    rows = (index.question_of_row == question) & (index.group_of_row == index.groups.index(group))
    (row,) = np.flatnonzero(rows)
    return int(row)


def test_shares_stand_in_the_row_of_their_cell_and_the_place_of_their_option() -> None:
    paired = pair(check_table(toy_table()))
    assert len(paired) == 6
    for (question_id, name), human in HUMAN.items():
        row = row_of(paired, question_id, Group("POLPARTY", name))
        size = 3 if question_id == "q1" else len(human)
        assert_array_equal(paired.index.mask[row], np.arange(3) < size)
        for opinions, shares in (
            (paired.human, human),
            (paired.elicited.sources[0], LLM[question_id, name]),
        ):
            expected = np.zeros(3)
            expected[:size] = np.array(shares[:size]) / sum(shares[:size])
            assert_allclose(opinions.probs[row], expected, atol=1e-15)


def test_questions_come_with_their_options_and_places() -> None:
    ordinal, binary, nominal = pair(check_table(toy_table())).index.questions
    assert [option.label for option in ordinal.options] == ["good", "neither", "bad"]
    assert_allclose(ordinal.places, [0.0, 1 / 3, 1.0])  # codes 1, 2, 4: the gap counts
    assert_allclose(binary.places, [0.0, 1.0])
    assert np.isnan(nominal.places).all()
    assert [question.ordered for question in (ordinal, binary, nominal)] == [True, True, False]


def test_refusals_are_dropped_on_both_sides_alike_and_counted() -> None:
    paired = pair(check_table(toy_table()))
    row = row_of(paired, "q1", DEMOCRAT)
    # Human .5 .3 .1 and .1 refused; LLM .7 .1 .0 and .2 refused.
    assert_allclose(paired.human.probs[row], np.array([5, 3, 1]) / 9)
    assert_allclose(paired.elicited.probs[0, row], np.array([7, 1, 0]) / 8)
    assert paired.human.n is not None
    assert paired.human.n[row] == pytest.approx(100 * 0.9)
    assert paired.human.n[row_of(paired, "q1", REPUBLICAN)] == 100.0
    assert dict(paired.counts) == {
        "cells": 6,
        "questions": 3,
        "non_substantive_options_dropped": 1,
        "cells_without_human_answer": 0,
        "human_cells_renormalised": 1,
        "human_cells_without_substantive_answer": 0,
        "human_cells_with_unknown_n": 0,
        "answers_not_asked": 0,
        "answers_refused": 0,
        "answers_unparsable": 0,
        "answers_failed": 0,
        "answers_renormalised": 1,
        "answers_without_substantive_mass": 0,
    }


def test_cells_without_an_answer_are_kept_and_counted_by_outcome() -> None:
    frame = frame_of(
        [
            cell("q2", "Democrat", (0.6, 0.4), (None, None), outcome="refused"),
            cell("q2", "Republican", (0.25, 0.75), (None, None), outcome="unparsable"),
            cell("q3", "Democrat", (0.2, 0.3, 0.5), (None, None, None), outcome="failed"),
            cell("q3", "Republican", (0.4, 0.4, 0.2), (0.1, 0.1, 0.8)),
            cell("q2", "Democrat", (0.6, 0.4), (0.5, 0.5), model="model-b"),
        ]
    )
    paired = pair(check_table(frame))
    assert paired.elicited.settings == (A, B)
    counts = paired.counts
    assert counts["cells"] == 4
    assert counts["answers_refused"] == 1
    assert counts["answers_unparsable"] == 1
    assert counts["answers_failed"] == 1
    assert counts["answers_not_asked"] == 3  # of model-b
    answered = np.zeros((2, 4), dtype=bool)
    answered[0, row_of(paired, "q3", REPUBLICAN)] = True
    answered[1, row_of(paired, "q2", DEMOCRAT)] = True
    assert_array_equal(paired.elicited.answered, answered)
    assert_array_equal(paired.complete, answered.any(axis=0))
    # Off the mask even an unanswered row is zero, on it NaN.
    row = row_of(paired, "q2", REPUBLICAN)
    assert_array_equal(paired.elicited.probs[0, row], [np.nan, np.nan, 0.0])


def test_cells_that_nobody_answered_in_substance_have_no_distribution() -> None:
    frame = frame_of([cell("q1", "Democrat", (0, 0, 0, 1), (0, 0, 0, 1))])
    paired = pair(check_table(frame))
    assert np.isnan(paired.human.probs).all()
    assert np.isnan(paired.elicited.probs).all()
    assert paired.human.n is not None
    assert_array_equal(paired.human.n, [0.0])
    assert paired.counts["human_cells_without_substantive_answer"] == 1
    assert paired.counts["answers_without_substantive_mass"] == 1
    assert not paired.complete.any()


def test_nobody_asked_and_unknown_n_are_counted() -> None:
    frame = frame_of(
        [
            cell("q2", "Democrat", (None, None), (0.5, 0.5), n=None),
            cell("q2", "Republican", (0.5, 0.5), (0.5, 0.5), n=None),
        ]
    )
    paired = pair(check_table(frame))
    assert paired.counts["cells_without_human_answer"] == 1
    assert paired.counts["human_cells_with_unknown_n"] == 1
    assert_array_equal(paired.human.known, [False, True])


def test_an_option_withheld_from_a_group_is_off_its_mask() -> None:
    frame = toy_table()
    frame = frame.drop(index=[13])  # green, for Democrats
    frame.loc[12, ["p_human", "p_llm"]] = [0.5, 0.2]
    paired = pair(check_table(frame))
    row = row_of(paired, "q3", DEMOCRAT)
    assert_array_equal(paired.index.mask[row], [True, False, True])
    assert_allclose(paired.human.probs[row], [0.5, 0.0, 0.5])
    assert paired.index.mask[row_of(paired, "q3", REPUBLICAN)].all()


def test_option_indices_may_have_gaps() -> None:
    frame = toy_table().query("question_id == 'q2'").copy()
    frame["option_index"] = frame["option_index"] * 7 + 2
    paired = pair(check_table(frame))
    assert [option.index for option in paired.index.questions[0].options] == [2, 9]
    assert_allclose(paired.human.probs[0], HUMAN["q2", "Democrat"])


def test_the_order_of_rows_and_of_columns_changes_nothing() -> None:
    frame = toy_table(["model-a", "model-b"])
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(5))[frame.columns[::-1]]
    one, other = pair(check_table(frame)), pair(check_table(shuffled))
    assert one.index.questions == other.index.questions
    assert one.index.groups == other.index.groups
    assert_array_equal(one.elicited.probs, other.elicited.probs)
    assert_array_equal(one.human.probs, other.human.probs)
    assert one.counts == other.counts


def test_settings_are_taken_in_the_order_asked_for() -> None:
    frame = toy_table(["model-a", "model-b"])
    frame.loc[frame["model"] == "model-b", "p_llm"] = frame["p_human"]
    table = check_table(frame)
    assert settings_of(table) == [A, B]
    paired = pair(table, [B, A])
    assert paired.elicited.settings == (B, A)
    assert_array_equal(paired.elicited.probs[0], paired.human.probs)
    assert pair(table, [B]).elicited.settings == (B,)


@pytest.mark.parametrize("settings", [[], [A, B], [B]])
def test_settings_that_are_not_there_are_refused(settings: list[Setting]) -> None:
    with pytest.raises(DataError, match="choose among model-a/verbalized/sd") as caught:
        pair(check_table(toy_table()), settings)
    assert caught.value.exit_code == 5


def test_one_name_under_two_attributes_is_two_groups() -> None:
    frame = toy_table()
    frame.loc[frame["group"] == "Republican", "attribute"] = "REGION"
    frame["group"] = "Other"
    paired = pair(check_table(frame))
    assert paired.index.groups == (Group("POLPARTY", "Other"), Group("REGION", "Other"))
    assert len(paired) == 6


def test_one_id_in_two_surveys_is_two_questions() -> None:
    frame = toy_table()
    paired = pair(check_table(pd.concat([frame, frame.assign(survey="toy2", question="Else?")])))
    assert len(paired) == 12
    assert len(set(paired.index.question_keys)) == 6


def test_taking_rows_keeps_their_questions_groups_and_n() -> None:
    paired = pair(check_table(toy_table()))
    rows = np.array([row_of(paired, "q3", REPUBLICAN), row_of(paired, "q1", REPUBLICAN)])
    taken = paired.take(rows)
    assert [question.id for question in taken.index.questions] == ["q1", "q3"]
    assert taken.index.groups == (REPUBLICAN,)
    assert_array_equal(taken.index.question_of_row, [1, 0])
    assert_array_equal(taken.human.probs, paired.human.probs[rows])
    assert_array_equal(taken.elicited.probs, paired.elicited.probs[:, rows])
    assert paired.human.n is not None
    assert taken.human.n is not None
    assert_array_equal(taken.human.n, paired.human.n[rows])
    assert taken.counts == paired.counts


def test_both_sides_must_share_one_index() -> None:
    one, other = pair(check_table(toy_table())), pair(check_table(toy_table()))
    with pytest.raises(CalibError, match="share one index"):
        Paired(one.human, other.elicited, {})


def test_every_format_gives_the_same_arrays(tmp_path: Path) -> None:
    table = check_table(toy_table())
    expected = pair(table)
    for suffix in (".parquet", ".csv", ".jsonl"):
        write_table(table, tmp_path / f"table{suffix}")
        paired = pair(read_table(tmp_path / f"table{suffix}"))
        assert_array_equal(paired.human.probs, expected.human.probs)
        assert_array_equal(paired.elicited.probs, expected.elicited.probs)
        assert paired.index.questions == expected.index.questions


def test_the_real_table_by_another_way(real_data: Path) -> None:
    """Renormalised substantive shares of one setting, by a plain group-by."""
    table = read_table(real_data / "opinionqa_dev.parquet")
    setting = Setting("gpt-4", "verbalized", "sd")
    paired = pair(table, [setting])
    rows = table[(table[["model", "elicitation", "prompt"]] == list(setting)).all(axis=1)]
    rows = rows[rows["option_kind"] == "substantive"]
    keys = ["survey", "question_id", "attribute", "group"]
    human = rows["p_human"] / rows.groupby(keys)["p_human"].transform("sum")
    by_key = human.groupby([rows[key] for key in keys]).apply(np.sort)
    index = paired.index
    assert len(by_key) == len(paired)
    for row in range(len(paired)):
        question = index.questions[index.question_of_row[row]]
        group = index.groups[index.group_of_row[row]]
        shares = paired.human.probs[row, index.mask[row]]
        assert_allclose(np.sort(shares), by_key[*question.key, *group], atol=1e-12)


def test_elicited_blocks_are_checked() -> None:
    paired = pair(check_table(toy_table()))
    with pytest.raises(CalibError, match="one block per setting"):
        Elicited((A, B), (paired.human,))
    other = pair(check_table(toy_table())).human
    with pytest.raises(CalibError, match="share one index"):
        Elicited((A, B), (paired.human, Opinions(other.index, other.probs)))
