"""Results of EDSL, in files of its layout written by hand."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_import_answers import OPTIONS, faults, put, shares

from calib.errors import DataError
from calib.importers import edsl

QUESTIONS: Mapping[str, dict[str, Any]] = {
    "jobs": {
        "question_text": "How are jobs?",
        "question_type": "multiple_choice",
        "question_options": ["Good", "Fair", "Bad"],
    },
    "own": {
        "question_text": "Do you own a home?",
        "question_type": "yes_no",
        "question_options": ["No", "Yes"],
    },
    "rate": {
        "question_text": "Rate it.",
        "question_type": "linear_scale",
        "question_options": [0, 5, 10],
    },
    "why": {"question_text": "Why?", "question_type": "free_text", "question_options": None},
}


def interview(party: str = "Democrat", **answer: Any) -> dict[str, Any]:
    """One result; answers by question name."""
    return {
        "agent": {"traits": {"party": party}, "edsl_class_name": "Agent"},
        "scenario": {"edsl_class_name": "Scenario"},
        "model": {"model": "gpt", "parameters": {"temperature": 1}},
        "iteration": 0,
        "answer": answer,
        "question_to_attributes": {name: QUESTIONS[name] for name in answer},
        "generated_tokens": {f"{name}_generated_tokens": "…" for name in answer},
    }


def as_json(path: Path, *interviews: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"data": interviews, "edsl_class_name": "Results", **more}))
    return path


def as_csv(path: Path, *interviews: dict[str, Any]) -> Path:
    """The same results in the layout of the CSV export: columns with prefixes."""
    rows = []
    for one in interviews:
        row = {f"agent.{name}": value for name, value in one["agent"]["traits"].items()}
        row |= {
            "agent.agent_index": 0,
            "model.model": one["model"]["model"],
            "model.model_index": 0,
        }
        row |= {f"scenario.{name}": value for name, value in one["scenario"].items()}
        row["model.temperature"] = one["model"]["parameters"]["temperature"]
        for name, answer in one["answer"].items():
            row[f"answer.{name}"] = answer
            for kind, value in one["question_to_attributes"][name].items():
                row[f"{kind}.{name}_{kind}"] = value
            row[f"generated_tokens.{name}_generated_tokens"] = one["generated_tokens"][
                f"{name}_generated_tokens"
            ]
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


RESULTS = (
    interview("Democrat", jobs="Good", own="Yes", rate=5, why="because"),
    interview("Democrat", jobs="Fair", own="Yes", rate=10, why="because"),
    interview("Republican", jobs="Bad", own="No", rate=0, why="because"),
    interview("Republican", jobs="Bad", own="Yes", rate=None, why="because"),
)


@pytest.mark.parametrize("layout", ["csv", "json", "json.gz"])
def test_results_become_shares_by_trait(layout: str, tmp_path: Path) -> None:
    path = tmp_path / f"run.{layout}"
    if layout == "csv":
        as_csv(path, *RESULTS)
    else:
        as_json(path, *RESULTS)
    if layout == "json.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    table, counts = edsl.read(path, groups=("party",))
    assert shares(table, question_id="jobs", group="Democrat") == {
        "Good": 0.5, "Fair": 0.5, "Bad": 0.0,
    }  # fmt: skip
    assert shares(table, question_id="own", group="Republican") == {"No": 0.5, "Yes": 0.5}
    assert shares(table, question_id="rate", group="Republican") == {"0": 1.0, "5": 0.0, "10": 0.0}
    assert set(table["survey"]) == {"run"} and set(table["model"]) == {"gpt"}
    assert set(table["attribute"]) == {"party"} and set(table["prompt"]) == {"sd"}
    scales = table.drop_duplicates("question_id").set_index("question_id")["scale"]
    assert scales.to_dict() == {"jobs": "ordinal", "own": "binary", "rate": "ordinal"}
    assert table.loc[table["question_id"] == "rate", "option_value"].tolist()[:3] == [0, 5, 10]
    assert counts["answers_to_free_text_left_out"] == 4
    assert counts["rows_answered"] == 11 and counts["rows_unparsable"] == 1
    assert counts["scales_guessed_as_listed"] == 1 and counts["scales_of_the_question_type"] == 2


def test_without_groups_all_agents_are_one_population(tmp_path: Path) -> None:
    table, _ = edsl.read(as_json(tmp_path / "r.json", *RESULTS))
    assert shares(table, question_id="own") == {"No": 0.25, "Yes": 0.75}
    assert set(table["group"]) == {"all"} and set(table["prompt"]) == {"base"}


def test_an_answer_that_was_never_given_failed(tmp_path: Path) -> None:
    silent = interview(jobs=None)
    silent["generated_tokens"] = {"jobs_generated_tokens": None}
    _, counts = edsl.read(as_json(tmp_path / "r.json", interview(jobs="Good"), silent))
    assert counts["rows_failed"] == 1 and counts["rows_unparsable"] == 0


def like(thing: str, answer: str) -> dict[str, Any]:
    """An interview whose scenario fills in the wording."""
    one = interview(jobs=answer)
    one["scenario"] = {"thing": thing, "scenario_index": 0}
    about = QUESTIONS["jobs"] | {"question_text": "How is {{ scenario.thing }}?"}
    one["question_to_attributes"] = {"jobs": about}
    return one


@pytest.mark.parametrize("layout", [as_csv, as_json])
def test_scenarios_in_the_wording_make_questions_of_their_own(layout: Any, tmp_path: Path) -> None:
    path = tmp_path / f"r.{layout.__name__[3:]}"
    table, _ = edsl.read(layout(path, like("tea", "Good"), like("milk", "Bad")))
    texts = table.drop_duplicates("question_id").set_index("question_id")["question"]
    assert texts.to_dict() == {
        "jobs[thing=tea]": "How is tea?",
        "jobs[thing=milk]": "How is milk?",
    }
    assert shares(table, question_id="jobs[thing=milk]")["Bad"] == 1.0


def test_scenarios_may_give_the_options_and_the_groups(tmp_path: Path) -> None:
    one = interview(jobs="Up")
    one["scenario"] = {"place": "Rome", "choices": ["Up", "Down"]}
    one["question_to_attributes"] = {
        "jobs": QUESTIONS["jobs"] | {"question_options": "{{ scenario.choices }}"}
    }
    table, _ = edsl.read(as_json(tmp_path / "r.json", one), groups=("place",))
    assert shares(table, group="Rome") == {"Up": 1.0, "Down": 0.0}


def test_parameters_that_are_pooled_are_counted(tmp_path: Path) -> None:
    other = interview(jobs="Good")
    other["model"] = {"model": "gpt", "parameters": {"temperature": 0}}
    for path in (
        as_json(tmp_path / "r.json", interview(jobs="Good"), other),
        as_csv(tmp_path / "r.csv", interview(jobs="Good"), other),
    ):
        assert edsl.read(path)[1]["sets_of_parameters_pooled"] == 1


def test_published_options_go_before_the_types(tmp_path: Path) -> None:
    options = put(tmp_path / "o.csv", OPTIONS)
    shuffled = interview(jobs="Bad")
    about = QUESTIONS["jobs"] | {"question_options": ["Bad", "Good", "Fair"]}
    shuffled["question_to_attributes"] = {"jobs": about}
    source = as_json(tmp_path / "r.json", interview(jobs="Good"), shuffled)
    table, counts = edsl.read(source, scales=options)
    assert shares(table) == {"Good": 0.5, "Fair": 0.0, "Bad": 0.5, "Refused": 0.0}
    assert table["option_value"].tolist()[:3] == [1.0, 2.0, 4.0]
    assert counts["scales_published"] == 1
    # The twin: without published options, one order only can be the scale's.
    with pytest.raises(DataError) as error:
        edsl.read(source)
    assert faults(error) == {"a question has one list of options in all its rows": (1,)}


def test_the_survey_tells_the_order_of_shuffled_options(tmp_path: Path) -> None:
    shuffled = interview(jobs="Bad")
    about = QUESTIONS["jobs"] | {"question_options": ["Bad", "Good", "Fair"]}
    shuffled["question_to_attributes"] = {"jobs": about}
    survey = {"questions": [{"question_name": "jobs", **QUESTIONS["jobs"]}]}
    source = as_json(tmp_path / "r.json", shuffled, interview(jobs="Good"), survey=survey)
    table, _ = edsl.read(source)
    assert table["option"].tolist() == ["Good", "Fair", "Bad"]
    assert shares(table) == {"Good": 0.5, "Fair": 0.0, "Bad": 0.5}


def test_an_option_that_is_not_published_is_a_fault(tmp_path: Path) -> None:
    options = put(tmp_path / "o.csv", OPTIONS.replace("Fair", "Middling"))
    source = as_json(tmp_path / "r.json", interview(jobs="Good"), interview(jobs="Bad"))
    with pytest.raises(DataError) as error:
        edsl.read(source, scales=options)
    rule = "the options of jobs in the source are those of the table of options"
    assert faults(error) == {rule: (0, 1)}


def test_an_answer_outside_the_options_is_a_fault(tmp_path: Path) -> None:
    source = as_json(
        tmp_path / "r.json", interview(jobs="Good"), interview(jobs="Great"), interview(own="Maybe")
    )
    with pytest.raises(DataError) as error:
        edsl.read(source)
    assert faults(error) == {
        "answers to r/jobs are among its options": (1,),
        "answers to r/own are among its options": (2,),
    }


def test_options_must_be_a_list_of_distinct_labels(tmp_path: Path) -> None:
    bad, twice = interview(jobs="Good"), interview(own="Yes")
    bad["question_to_attributes"] = {"jobs": QUESTIONS["jobs"] | {"question_options": "Good, Bad"}}
    twice["question_to_attributes"] = {
        "own": QUESTIONS["own"] | {"question_options": ["Yes", "Yes"]}
    }
    with pytest.raises(DataError) as error:
        edsl.read(as_json(tmp_path / "r.json", interview(jobs="Good"), bad, bad))
    assert faults(error) == {"question_options of jobs is a list": (1, 2)}
    with pytest.raises(DataError, match="options of a question are distinct"):
        edsl.read(as_json(tmp_path / "r.json", twice))


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"data": []}', '{"data": [1]}', '{"data": [{"model": {}}]}', "{"]
)
def test_json_of_another_layout_is_a_fault(content: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        edsl.read(path)
    assert error.value.file == str(path)
    (tmp_path / "r.json.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError):
        edsl.read(tmp_path / "r.json.gz")


@pytest.mark.parametrize(
    "column", ["answer.jobs", "model.model", "question_type.jobs_question_type"]
)
def test_csv_without_its_prefixes_or_columns_is_a_fault(column: str, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "r.csv", interview(jobs="Good"))
    frame = pd.read_csv(path).drop(columns=column)
    with pytest.raises(DataError, match="with their prefixes"):
        edsl.read(put(path, frame))


def test_unknown_groups_are_a_fault_that_names_the_traits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="age besides party"):
        edsl.read(as_json(tmp_path / "r.json", *RESULTS), groups=("age",))
