"""Logs of Inspect, in files of its layout written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_import_answers import OPTIONS, faults, put, shares

from calib.errors import DataError
from calib.importers import inspect_logs

CHOICES = ["Good", "Fair", "Bad"]


def sample(answer: str | None, *, epoch: int = 1, party: str = "D", **more: Any) -> dict[str, Any]:
    """One sample of one epoch, scored by the scorer ``choice``."""
    return {
        "id": f"jobs-{party}",
        "epoch": epoch,
        "input": "How are jobs?",
        "choices": CHOICES,
        "target": "A",
        "output": {"choices": [{"stop_reason": "stop"}], "completion": f"ANSWER: {answer}"},
        "scores": {"choice": {"value": "I", "answer": answer, "explanation": "…"}},
        "metadata": {"party": party, "question_id": "jobs"},
        **more,
    }


def log(
    path: Path, *samples: Any, task: str = "t1", model: str = "openai/gpt", **more: Any
) -> Path:
    content = {
        "version": 2,
        "status": "success",
        "eval": {"task": "opinions", "task_id": task, "model": model, "dataset": {"name": "toy"}},
        "samples": list(samples),
        **more,
    }
    path.write_text(json.dumps(content))
    return path


def test_epochs_become_shares_by_group(tmp_path: Path) -> None:
    source = log(
        tmp_path / "log.json",
        *(sample(letter, epoch=epoch) for epoch, letter in enumerate("AABC")),
        *(sample(letter, epoch=epoch, party="R") for epoch, letter in enumerate("CC")),
    )
    table, counts = inspect_logs.read(source, groups=("party",))
    assert shares(table, group="D") == {"Good": 0.5, "Fair": 0.25, "Bad": 0.25}
    assert shares(table, group="R") == {"Good": 0.0, "Fair": 0.0, "Bad": 1.0}
    expected = {
        "survey": "toy", "question_id": "jobs", "question": "How are jobs?",
        "model": "openai/gpt", "elicitation": "self_random", "prompt": "sd", "scale": "ordinal",
    }  # fmt: skip
    for column, value in expected.items():
        assert set(table[column]) == {value}
    assert counts["rows_answered"] == 6 and counts["logs"] == 1
    assert counts["scales_guessed_as_listed"] == 1


def test_without_metadata_a_sample_is_a_question(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "You are old."},
        {"role": "user", "content": [{"type": "text", "text": "How are jobs?"}]},
    ]
    source = log(
        tmp_path / "l.json", sample("A", metadata=None, id=7, input=chat), sample("B", metadata={})
    )
    table, _ = inspect_logs.read(source, survey="mine")
    assert table["question_id"].unique().tolist() == ["7", "jobs-D"]
    assert set(table["question"]) == {"How are jobs?"} and set(table["survey"]) == {"mine"}
    assert set(table["group"]) == {"all"}


def test_samples_without_an_answer_are_counted_by_reason(tmp_path: Path) -> None:
    filtered = {"choices": [{"stop_reason": "content_filter"}]}
    source = log(
        tmp_path / "l.json",
        *(sample("A", epoch=epoch) for epoch in range(5)),
        sample("", epoch=5),
        sample(None, epoch=6, output=filtered),
        sample(None, epoch=7, scores=None, error={"message": "timeout"}),
        sample("A, B", epoch=8),
        sample("A", epoch=9, choices=None),
    )
    table, counts = inspect_logs.read(source)
    assert shares(table)["Good"] == 1.0
    expected = {"rows_unparsable": 1, "rows_refused": 1, "rows_failed": 1, "rows_read": 8}
    assert {name: counts[name] for name in expected} == expected
    assert counts["answers_of_several_choices_left_out"] == 1
    assert counts["samples_without_choices_left_out"] == 1


def test_another_scorer_may_give_the_label(tmp_path: Path) -> None:
    match = {"match": {"answer": "Bad"}}
    table, _ = inspect_logs.read(log(tmp_path / "l.json", sample(None, scores=match)))
    assert shares(table)["Bad"] == 1.0
    # Labels that are letters themselves: for the scorer "choice", letters are places.
    swapped = sample("A", choices=["B", "A"])
    table, _ = inspect_logs.read(log(tmp_path / "l.json", swapped))
    assert shares(table) == {"B": 1.0, "A": 0.0}
    other = sample(None, choices=["B", "A"], scores={"match": {"answer": "A"}})
    table, _ = inspect_logs.read(log(tmp_path / "l.json", other))
    assert shares(table) == {"B": 0.0, "A": 1.0}


def test_choices_after_the_26th_have_numbers(tmp_path: Path) -> None:
    choices = [f"option {number}" for number in range(30)]
    table, _ = inspect_logs.read(log(tmp_path / "l.json", sample("1", choices=choices)))
    assert shares(table)["option 26"] == 1.0


def test_a_folder_has_logs_of_several_models(tmp_path: Path) -> None:
    log(tmp_path / "1.json", sample("A"), model="a", task="t1")
    log(tmp_path / "2.json", sample("C"), model="b", task="t2", status="cancelled")
    (tmp_path / "logs.json").write_text('{"1.json": {}}')
    table, counts = inspect_logs.read(tmp_path)
    assert shares(table, model="a")["Good"] == shares(table, model="b")["Bad"] == 1.0
    assert counts["files_that_are_no_log_left_out"] == counts["logs_not_finished"] == 1


def test_a_retried_log_takes_the_place_of_what_it_has_again(tmp_path: Path) -> None:
    failed = sample(None, epoch=2, scores=None, error={"message": "timeout"})
    log(tmp_path / "1.json", sample("A"), failed, status="error")
    log(tmp_path / "2.json", sample("A"), sample("B", epoch=2))
    table, counts = inspect_logs.read(tmp_path)
    assert shares(table) == {"Good": 0.5, "Fair": 0.5, "Bad": 0.0}
    assert counts["rows_read"] == 2 and counts["rows_failed"] == 0
    assert counts["samples_of_earlier_tries_left_out"] == 2
    # The twin: another task's samples are more answers, not the same again.
    log(tmp_path / "2.json", sample("A"), sample("B", epoch=2), task="t2")
    assert inspect_logs.read(tmp_path)[1]["rows_read"] == 4


def test_shuffled_choices_need_published_options(tmp_path: Path) -> None:
    shuffled = sample("A", epoch=2, choices=["Bad", "Good", "Fair"])
    source = log(tmp_path / "l.json", sample("A"), shuffled)
    with pytest.raises(DataError) as error:
        inspect_logs.read(source)
    assert faults(error) == {"a question has one list of options in all its rows": (1,)}
    options = put(tmp_path / "options.csv", OPTIONS)
    table, _ = inspect_logs.read(source, scales=options)
    assert shares(table) == {"Good": 0.5, "Fair": 0.0, "Bad": 0.5, "Refused": 0.0}


def test_letters_beyond_the_choices_are_a_fault_with_rows(tmp_path: Path) -> None:
    source = log(tmp_path / "l.json", sample("A"), sample("D", epoch=2), sample("E", epoch=3))
    with pytest.raises(DataError) as error:
        inspect_logs.read(source)
    assert [fault.rows for fault in error.value.faults] == [(1,), (2,)]
    assert error.value.file == str(source)


def test_samples_need_a_score_of_one_scorer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="inspect score"):
        inspect_logs.read(log(tmp_path / "l.json", sample("A", scores={})))
    two = {"match": {"answer": "Good"}, "model_graded": {"answer": "Bad"}}
    with pytest.raises(DataError, match="or the only one"):
        inspect_logs.read(log(tmp_path / "l.json", sample("A", scores=two)))


def test_unknown_groups_are_a_fault_that_names_the_metadata(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="age besides party, question_id"):
        inspect_logs.read(log(tmp_path / "l.json", sample("A")), groups=("age",))


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"version": 2, "eval": {}}'])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        inspect_logs.read(path)
    assert error.value.file == str(path)


def test_what_is_no_log_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.eval").write_bytes(b"PK")
    for source in (tmp_path / "l.eval", tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match="--to json"):
            inspect_logs.read(source)
    log(tmp_path / "l.json", 7)
    with pytest.raises(DataError, match="a sample is an object"):
        inspect_logs.read(tmp_path / "l.json")
