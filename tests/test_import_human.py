"""Importers of human answers alone, on small samples written by hand in the published layouts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from calib.cli import main
from calib.errors import DataError
from calib.importers import globalopinionqa, simbench, subpop
from calib.importers.human_rows import HUMAN_COLUMNS
from calib.microdata.match import read_human

GOQA: dict[str, Any] = {
    "question": ["Good?", "Trust?", "Twice?", "One?"],
    "selections": [
        "defaultdict(<class 'list'>, {'Spain': [0.5, 0.25, 0.25], 'Kenya': [0.3, 0.7], "
        "'Peru': [0.0, 0.0, 0.0]})",
        "{'Spain': [0.2, 0.3, 0.49, 0.0, 0.0]}",
        "{'Spain': [0.5, 0.5]}",
        "{'Spain': [0.5, 0.5]}",
    ],
    "options": [
        "['Very good', 'Bad', 'DK/Refused']",
        "['A lot', 'Some', 'None', \"Don't know\", 'Missing; Unknown']",
        "['Yes', 'Yes']",
        "['Yes', 'No answer']",
    ],
    "source": ["GAS", "WVS", "WVS", "WVS"],
}


def cells(table: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    keys = table.groupby(["question_id", "group"], sort=False)["p_human"]
    return {key: list(values) for key, values in keys}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_globalopinionqa(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"global_opinions{suffix}"
    frame = pd.DataFrame(GOQA)
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    table, counts = globalopinionqa.read(path)
    assert list(table) == list(HUMAN_COLUMNS)
    assert cells(table) == {
        ("GAS-0", "Spain"): [0.5, 0.25, 0.25],
        ("WVS-1", "Spain"): pytest.approx([0.2 / 0.99, 0.3 / 0.99, 0.49 / 0.99, 0, 0]),
    }
    kinds = table[table["question_id"] == "WVS-1"]["option_kind"].to_list()
    assert kinds == ["substantive"] * 3 + ["dont_know", "other"]
    assert set(table["attribute"]) == {"country"} and table["n_human"].isna().all()
    assert set(table["survey"]) == {"globalopinionqa"}
    assert counts["cells_left_out_of_another_length_than_the_options"] == 1
    assert counts["cells_left_out_whose_shares_do_not_sum_to_one"] == 1
    assert counts["cells_renormalised"] == 1
    assert counts["questions_left_out_with_an_option_twice"] == 1
    assert counts["questions_left_out_with_fewer_than_two_answers"] == 1


@pytest.mark.parametrize(
    "selections",
    [
        "__import__('pathlib').Path('hacked').touch()",
        "defaultdict(<class 'list'>, {'Spain': [print(1)]})",
        "defaultdict(<class 'list'>, {'Spain': [0.5, 'x', 0.5]})",
        "defaultdict(<class 'list'>, {'Spain': 0.5})",
        "[1, 2]",
        "",
    ],
)
def test_cells_run_no_code(
    selections: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(GOQA)
    frame.loc[1, "selections"] = selections
    frame.to_csv("g.csv", index=False)
    with pytest.raises(DataError) as error:
        globalopinionqa.read(Path("g.csv"))
    [fault] = error.value.faults
    assert fault.rows == (1,) and fault.column == "selections"
    assert not Path("hacked").exists()


def subpop_line(**changes: Any) -> dict[str, Any]:
    return {
        "qkey": "SAFECRIME_W26",
        "attribute": "POLPARTY",
        "group": "Democrat",
        "responses": [0.5, 0.3, 0.2],
        "refusal_rate": 0.1,
        "ordinal": [1.0, 2.0, 4.0],
        "question": "How safe?",
        "options": ["Very", "Somewhat", "Not", "Refused"],
    } | changes


def subpop_file(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "subpop_train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_subpop(tmp_path: Path) -> None:
    nominal = subpop_line(qkey="q2", ordinal=[1.0, 1.0, 1.0])
    binary = subpop_line(
        qkey="q3", ordinal=[1, 2], responses=[1, 0], options=["Yes", "No", "Refused"]
    )
    path = subpop_file(tmp_path, subpop_line(), subpop_line(group="Republican"), nominal, binary)
    table, counts = subpop.read(path)
    first = table[(table["question_id"] == "SAFECRIME_W26") & (table["group"] == "Democrat")]
    assert first["p_human"].to_list() == pytest.approx([0.45, 0.27, 0.18, 0.1])
    assert first["option_value"].to_list()[:3] == [1, 2, 4]
    assert first["option_kind"].to_list() == ["substantive"] * 3 + ["refused"]
    scales = table.drop_duplicates("question_id").set_index("question_id")["scale"].to_dict()
    assert scales == {"SAFECRIME_W26": "ordinal", "q2": "nominal", "q3": "binary"}
    assert set(table["survey"]) == {"subpop_train"} and counts["cells"] == 4


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"responses": [0.5, 0.5]}, "options"),
        ({"refusal_rate": 1.5}, "options"),
        ({"refusal_rate": None}, "refusal_rate"),
        ({"responses": "x"}, "responses"),
        ({"ordinal": [1, 2, "x"]}, "ordinal"),
    ],
)
def test_subpop_faults(change: dict[str, Any], column: str, tmp_path: Path) -> None:
    path = subpop_file(tmp_path, subpop_line(), subpop_line(group="Republican", **change))
    with pytest.raises(DataError) as error:
        subpop.read(path)
    [fault] = error.value.faults
    assert fault.rows == (1,) and fault.column == column


ASKED = "Q: How much?\nOptions:\n(A): Much\n(B): Little\n(C): Refused"
SIMBENCH = pd.DataFrame(
    [
        ("ESS", ASKED, "{'country': 'Spain'}", "{'A': 0.7, 'B': 0.2, 'C': 0.1}", 100, "8", ""),
        ("ESS", ASKED, "{'country': 'Spain', 'sex': 'f'}", "{'A': 60.0, 'B': 40.0}", 50, "8", ""),
        ("ESS", ASKED, "{'country': 'Spain'}", "{'A': 100.0}", 3, "8", ""),
        ("ESS", ASKED, "{'country': 'Spain'}", "{'A': 100.0}", 3, "9", ""),
        ("Other", "Which lottery?", "{}", "{'A': 0.5, 'B': 0.5, 'C': None, 'D': nan}", "", "", ""),
        ("Old", "Agree?", "{}", "{'1': 25.0, '2': 75.0}", 8, "", "{'1': 'Yes', '2': 'No'}"),
        ("Old", "One?", "{}", "{'A': 100.0}", 8, "", ""),
        ("Old", "Half?", "{}", "{'A': 30.0, 'B': 30.0}", 8, "", ""),
    ],
    columns=[
        "dataset_name", "input_template", "group_prompt_variable_map", "human_answer",
        "group_size", "wave", "answer_options",
    ],
).assign(group_prompt_template="You are from {country}.")  # fmt: skip


def test_simbench(tmp_path: Path) -> None:
    SIMBENCH.to_csv(tmp_path / "SimBenchGrouped.csv", index=False)
    table, counts = simbench.read(tmp_path / "SimBenchGrouped.csv")
    ess = table[table["survey"] == "ESS 8"]
    assert ess["option"].to_list() == ["Much", "Little", "Refused"] * 2
    assert set(ess["question"]) == {"Q: How much?"} and len(set(ess["question_id"])) == 1
    assert ess["p_human"].to_list() == pytest.approx([0.7, 0.2, 0.1, 0.6, 0.4, 0.0])
    assert ess["n_human"].to_list() == [100] * 3 + [50] * 3
    assert ess.drop_duplicates("group")[["attribute", "group"]].to_numpy().tolist() == [
        ["country", "Spain"],
        ["country; sex", "Spain; f"],
    ]
    assert table[table["survey"] == "ESS 9"]["p_human"].to_list() == [1, 0, 0]
    other = table[table["survey"] == "Other"]
    assert other["option"].to_list() == ["A", "B"] and other["n_human"].isna().all()
    assert set(other["attribute"]) == {"population"}
    old = table[table["survey"] == "Old"]
    assert old["option"].to_list() == ["Yes", "No"] and old["p_human"].to_list() == [0.25, 0.75]
    assert counts["cells"] == 5 and counts["cells_in_per_cent"] == 4
    assert counts["cells_left_out_that_repeat_another"] == 1
    assert counts["cells_left_out_with_fewer_than_two_answers"] == 1
    assert counts["cells_left_out_whose_shares_do_not_sum_to_one"] == 1
    assert counts["options_left_out_without_data"] == 2
    assert counts["cells_whose_options_have_no_text"] == 3


@pytest.mark.parametrize(
    ("column", "value"),
    [("human_answer", "x"), ("human_answer", "{'A': 'x'}"), ("group_size", "many"),
     ("group_prompt_variable_map", "open('x')"), ("answer_options", "[1]")],
)  # fmt: skip
def test_simbench_faults(column: str, value: str, tmp_path: Path) -> None:
    frame = SIMBENCH.astype(object)
    frame.loc[1, column] = value
    frame.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(DataError) as error:
        simbench.read(tmp_path / "s.csv")
    [fault] = error.value.faults
    assert fault.rows == (1,) and fault.column == column


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "hacked",))

    (tmp_path / "SimBenchPop.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="runs whatever code it holds"):
        simbench.read(tmp_path / "SimBenchPop.pkl")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("reader", [globalopinionqa, subpop, simbench])
def test_another_layout(reader: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="the columns"):
        reader.read(tmp_path / "a.csv")


def test_the_command_writes_a_human_table(tmp_path: Path) -> None:
    source, human = tmp_path / "global_opinions.csv", tmp_path / "human.parquet"
    pd.DataFrame(GOQA).to_csv(source, index=False)
    words = ["import", "globalopinionqa", str(source), "--survey", "goqa", "-o", str(human)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert set(read_human(human)["survey"]) == {"goqa"}
