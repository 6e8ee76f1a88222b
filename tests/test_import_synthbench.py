"""The importer of SynthBench result files, on files written by hand and on real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError
from calib.importers import synthbench

LAYOUT = Path(__file__).parents[2] / "shared" / "data" / "synthbench_layout"
DEV = LAYOUT.parent / "synthbench_dev.parquet"
CELL = ["model", "question_id"]


def question(key: str, human: dict[str, float], llm: dict[str, float], **more: Any) -> Any:
    """A question of a result file; its options are those of ``human``."""
    return {
        "key": key,
        "text": f"What about {key}?",
        "options": list(human),
        "human_distribution": human,
        "model_distribution": llm,
        "n_samples": 50,
        "n_parse_failures": 0,
        **more,
    }


MIDDLE = question(
    "MIDDLE",
    {"More": 0.5, "Less": 0.2, "About the same": 0.25, "Refused": 0.05},
    {"More": 1.0, "Less": 0.0, "About the same": 0.0, "Refused": 0.0},
)
PLAIN = question("PLAIN", {"Yes": 0.6, "No": 0.4}, {"Yes": 0.25, "No": 0.75})


def put(folder: Path, *questions: Any, model: str = "claude", **more: Any) -> Path:
    """Write a result file."""
    path = folder / f"opinionsqa_{model}.json"
    config = {"dataset": "opinionsqa", "provider": f"openrouter/maker/{model}"}
    content = {
        "benchmark": "synthbench",
        "config": {**config, **more.pop("config", {})},
        "per_question": list(questions),
        **more,
    }
    path.write_text(json.dumps(content))
    return path


def test_one_file_becomes_a_table_of_one_group(tmp_path: Path) -> None:
    table, counts = synthbench.read(put(tmp_path, MIDDLE, PLAIN))
    assert len(table) == 6
    constant = {
        "survey": "opinionqa_synthbench", "attribute": "NATION", "group": "US adults",
        "model": "claude", "elicitation": "self_random", "prompt": "base",
        "outcome": "answered", "scale": "ordinal",
    }  # fmt: skip
    for column, value in constant.items():
        assert set(table[column]) == {value}
    assert table["n_human"].isna().all()
    assert table["option"].tolist() == ["More", "About the same", "Less", "Refused", "Yes", "No"]
    assert table["option_index"].tolist() == [0, 1, 2, 3, 0, 1]
    assert table["option_value"].tolist()[:3] == [1.0, 1.5, 2.0]
    assert table["option_kind"].tolist()[3] == "refused"
    assert table["p_human"].tolist() == [0.5, 0.25, 0.2, 0.05, 0.6, 0.4]
    assert table["p_llm"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.25, 0.75]
    assert counts["questions_with_guessed_scale"] == 2
    assert counts["scales_guessed_middle_moved"] == 1
    assert counts["cells_without_published_n"] == 2


def test_a_folder_holds_one_file_a_model(tmp_path: Path) -> None:
    put(tmp_path, MIDDLE, PLAIN)
    put(tmp_path, MIDDLE, model="gpt")
    table, counts = synthbench.read(tmp_path)
    assert table.groupby("model")["question_id"].nunique().to_dict() == {"claude": 2, "gpt": 1}
    # A question is guessed once, however many models answered it.
    assert counts["questions_with_guessed_scale"] == 2


def test_scales_replace_the_guess_where_they_fit(tmp_path: Path) -> None:
    info = tmp_path / "info.csv"
    info.write_text(
        "key,option_mapping,option_ordinal\n"
        "MIDDLE,\"{1: 'More', 2: 'Less', 3: 'About the same', 99: 'Refused'}\",\"[1, 3, 9]\"\n"
        "PLAIN,\"{1: 'Yes', 2: 'Perhaps'}\",\"[1, 2]\"\n"
    )
    table, counts = synthbench.read(put(tmp_path, MIDDLE, PLAIN), scales=info)
    assert table["option"].tolist()[:3] == ["More", "Less", "About the same"]
    assert table["option_value"].tolist()[:3] == [1.0, 3.0, 9.0]
    assert counts["scales_published"] == 1
    assert counts["questions_with_guessed_scale"] == 1
    assert counts["published_scales_with_other_labels_not_used"] == 1


def test_failed_samples_are_counted_and_a_cell_of_failures_has_no_shares(tmp_path: Path) -> None:
    some = question("SOME", {"Yes": 0.6, "No": 0.4}, {"Yes": 0.5, "No": 0.5}, n_parse_failures=10)
    # A file may fill in equal shares where nothing was parsed.
    none = question("NONE", {"Yes": 0.6, "No": 0.4}, {"Yes": 0.5, "No": 0.5}, n_parse_failures=50)
    zero = question("ZERO", {"Yes": 0.6, "No": 0.4}, {"Yes": 0.0, "No": 0.0})
    table, counts = synthbench.read(put(tmp_path, some, none, zero))
    assert table["outcome"].tolist() == ["answered"] * 2 + ["unparsable"] * 4
    assert table["p_llm"].isna().tolist() == [False] * 2 + [True] * 4
    assert counts["samples_that_could_not_be_parsed"] == 60
    assert counts["answers_unparsable"] == 2


def test_rounded_shares_are_divided_out_with_a_count(tmp_path: Path) -> None:
    rounded = question("Q", {"a": 0.3333, "b": 0.3333, "c": 0.3333}, {"a": 0.5, "b": 0.45})
    table, counts = synthbench.read(put(tmp_path, rounded))
    assert table["p_human"].tolist() == pytest.approx([1 / 3] * 3, abs=1e-12)
    assert table["p_llm"].tolist() == pytest.approx([0.5 / 0.95, 0.45 / 0.95, 0.0], abs=1e-12)
    assert counts["human_cells_rounded_and_renormalised"] == 1
    assert counts["answers_renormalised"] == 1


def test_unknown_data_sets_are_a_population_called_all(tmp_path: Path) -> None:
    path = put(
        tmp_path, PLAIN, config={"dataset": "globalopinionqa"}, demographic_breakdown={"a": 1}
    )
    table, counts = synthbench.read(path)
    assert set(table["survey"]) == {"globalopinionqa_synthbench"}
    assert set(table["group"]) == {"all"}
    assert counts["files_of_unknown_population"] == 1
    assert counts["demographic_breakdowns_left_out"] == 1


def test_questions_with_one_answer_are_left_out_with_a_count(tmp_path: Path) -> None:
    single = question("ONE", {"Yes": 0.9, "Refused": 0.1}, {"Yes": 1.0, "Refused": 0.0})
    table, counts = synthbench.read(put(tmp_path, single, PLAIN))
    assert set(table["question_id"]) == {"PLAIN"}
    assert counts["questions_with_fewer_than_two_answers_left_out"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": ["Yes", "Perhaps"]}, "over the listed options; found 'No' besides Yes"),
        ({"options": ["Yes", "Yes", "No"]}, "distinct labels"),
        ({"options": "Yes, No"}, "must have 'options', a list; found a str"),
        ({"human_distribution": {"Yes": 0.6, "No": 0.3}}, "sum to one; found 0.9"),
        ({"human_distribution": {"Yes": 1.6, "No": -0.6}}, "numbers from 0 up; found -0.6"),
        ({"model_distribution": {"Yes": 0.5, "Perhaps": 0.5}}, "'Perhaps' besides"),
        ({"model_distribution": {"Yes": "half", "No": 0.5}}, "found 'half' for 'Yes'"),
        ({"model_distribution": None}, "'model_distribution', a dict"),
        ({"n_parse_failures": 51}, "51 of 50"),
        ({"key": None}, "question 1 of per_question must have 'key'"),
    ],
)
def test_bad_questions_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    bad = {**question("Q", {"Yes": 0.6, "No": 0.4}, {"Yes": 0.5, "No": 0.5}), **change}
    with pytest.raises(DataError, match=message) as caught:
        synthbench.read(put(tmp_path, bad, PLAIN))
    assert caught.value.file is not None and caught.value.file.endswith("opinionsqa_claude.json")
    assert all(fault.remedy for fault in caught.value.faults)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        synthbench.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"without \*\.json"):
        synthbench.read(tmp_path)
    path = put(tmp_path, PLAIN)
    whole = path.read_text()
    with pytest.raises(DataError, match="readable JSON"):
        path.write_text(whole[:-20])
        synthbench.read(tmp_path)
    with pytest.raises(DataError, match="says benchmark: synthbench; found None"):
        path.write_text("{}")
        synthbench.read(tmp_path)
    with pytest.raises(DataError, match="must have 'provider'"):
        put(tmp_path, PLAIN, config={"provider": None})
        synthbench.read(tmp_path)
    with pytest.raises(DataError, match="at least one row"):
        put(tmp_path)
        synthbench.read(tmp_path)
    put(tmp_path, PLAIN)
    with pytest.raises(DataError, match=r"one result file of a data set; found .* for claude"):
        put(tmp_path, PLAIN, model="again", config={"provider": "other/claude"})
        synthbench.read(tmp_path)
    with pytest.raises(DataError, match=r"info\.csv"):
        synthbench.read(path, scales=tmp_path / "nowhere.csv")


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    bad = {**PLAIN, "n_samples": None}
    with pytest.raises(DataError) as caught:
        synthbench.read(put(tmp_path, bad, {**bad, "key": "OTHER"}, MIDDLE))
    assert len(caught.value.faults) == 2


def test_questions_that_differ_between_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path, PLAIN)
    put(tmp_path, question("PLAIN", {"Yes": 0.5, "Never": 0.5}, {"Yes": 1.0}), model="gpt")
    with pytest.raises(DataError, match="a question has one option in all its rows"):
        synthbench.read(tmp_path)


@pytest.mark.skipif(not (LAYOUT.exists() and DEV.exists()), reason="the real files are not here")
def test_real_files_agree_with_the_table_made_from_them() -> None:
    table, counts = synthbench.read(LAYOUT)
    dev = pd.read_parquet(DEV)
    dev = dev.merge(table[CELL].drop_duplicates())
    both = dev.merge(table, on=[*CELL, "option"], suffixes=("_dev", ""), validate="one_to_one")
    assert len(both) == len(dev) == len(table) == 1_250
    for column in ("survey", "question", "option_kind", "attribute", "group", "outcome"):
        assert (both[column] == both[f"{column}_dev"]).all(), column
    for column in ("p_human", "p_llm"):
        np.testing.assert_allclose(both[column], both[f"{column}_dev"], rtol=0, atol=1e-12)
    assert counts["questions_with_guessed_scale"] == 150

    # The guessed scale is the published one for 143 of 150 questions.
    same = both["scale"].eq(both["scale_dev"]) & both["option_index"].eq(both["option_index_dev"])
    value, published = both["option_value"], both["option_value_dev"]
    same &= value.eq(published) | (value.isna() & published.isna())
    exact = same.groupby(both["question_id"]).all()
    assert exact.sum() == 143
    # Two-option items coded 0 and 1 have the same places; the rest are real misses.
    assert set(exact.index[~exact]) == {
        "EAT3E_W34", "EAT3H_W34", "EAT3I_W34",
        "CAREREL_W27", "GROWUPGUN1_W26", "WORK5A_W27", "WORK6_W27",
    }  # fmt: skip
