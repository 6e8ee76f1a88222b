"""The command line: exit codes, one JSON document, a store that is used, tables that load."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from stub_server import StubServer
from survey_files import call, write_survey

from calib.table import read_table

FAKE = {"fake": {"position_bias": [0.5, 0.0, -0.5]}}


def document(result: Result) -> dict[str, Any]:
    """Standard output, which holds one JSON document and nothing else."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    return write_survey(
        tmp_path / "survey.toml", model=FAKE, ask={"elicitation": ["logprob", "verbalized"]}
    )


def test_init_writes_an_example_that_runs(tmp_path: Path) -> None:
    survey = tmp_path / "mine.toml"
    assert call("init", survey).exit_code == 0
    dry = document(call("run", survey, "--dry-run", "--json"))
    assert dry["calls"] == dry["requests"] == 3 * 5 * 2 * 3
    # The example names a hosted model; with the fake one it runs.
    text = survey.read_text("utf-8").replace('name = "gpt-4o-mini"', "fake = true")
    survey.write_text(text, "utf-8")
    assert call("run", survey, "-o", tmp_path / "out.csv").exit_code == 0
    assert len(read_table(tmp_path / "out.csv")["group"].unique()) == 5


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    survey = tmp_path / "survey.toml"
    survey.write_text("mine", "utf-8")
    result = call("init", survey)
    assert result.exit_code == 2
    assert "name another file" in result.stderr
    assert survey.read_text("utf-8") == "mine"


def test_the_example_is_toml_with_all_three_parts(tmp_path: Path) -> None:
    call("init", tmp_path / "s.toml")
    with (tmp_path / "s.toml").open("rb") as file:
        assert {"survey", "question", "attributes", "model", "ask"} <= set(tomllib.load(file))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_run_gives_a_paired_table_and_its_manifest(survey: Path, suffix: str) -> None:
    out = survey.with_name(f"out{suffix}")
    result = call("run", survey, "-o", out)
    assert result.exit_code == 0, result.stderr
    table = read_table(out)
    assert len(table) == 2 * 2 * 3 * 2
    assert set(table["elicitation"]) == {"logprob", "verbalized"}
    assert (table["outcome"] == "answered").all()
    assert table["p_human"].isna().all() and table["n_human"].isna().all()
    sums = table.groupby(["elicitation", "question_id", "group"])["p_llm"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    manifest = json.loads(survey.with_name(f"out{suffix}.manifest.json").read_text("utf-8"))
    assert manifest["calls"]["made"] == 4 * 2 * (1 + 3)
    assert survey.with_name("survey.sqlite").exists()


def test_a_warm_store_makes_no_calls_and_the_same_bytes(tmp_path: Path) -> None:
    """Through HTTP, as the server's own log tells it."""
    with StubServer(tmp_path / "log") as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "stub", "base_url": server.url},
            ask={"elicitation": ["logprob", "verbalized", "self_random"], "at_once": 16},
            n_questions=3,
        )
        for suffix in ("parquet", "csv", "jsonl"):
            first = call("run", survey, "-o", tmp_path / f"1.{suffix}", "--json")
            assert first.exit_code == 0, first.stderr
            if suffix == "parquet":
                assert len(server.bodies()) > 3 * 2 * 2 * 9
                server.configure()  # empties the log
            second = call("run", survey, "-o", tmp_path / f"2.{suffix}", "--json")
            assert json.loads(second.stdout)["calls"]["made"] == 0
            assert server.events() == []
            one, two = (tmp_path / f"{number}.{suffix}" for number in (1, 2))
            assert one.read_bytes() == two.read_bytes()
    # The same without any server at all, and by export.
    third = call("run", survey, "-o", tmp_path / "3.parquet")
    assert third.exit_code == 0, third.stderr
    assert call("export", survey, "-o", tmp_path / "4.parquet").exit_code == 0
    for number in (3, 4):
        assert (tmp_path / f"{number}.parquet").read_bytes() == (
            tmp_path / "1.parquet"
        ).read_bytes()


def test_json_is_one_document_on_standard_output(survey: Path, tmp_path: Path) -> None:
    run = document(call("run", survey, "-o", tmp_path / "out.csv", "--json"))
    assert run["table"] == str(tmp_path / "out.csv")
    assert run["calls"]["made"] == 32
    store = survey.with_name("survey.sqlite")
    cache = document(call("cache", store, "--json"))
    assert cache["requests"] == 32
    assert cache["models"] == {"fake": 32}
    assert cache["first"].endswith("+00:00")
    exported = document(call("export", survey, "-o", tmp_path / "e.csv", "--json"))
    assert (exported["cells"], exported["cells_left_out"]) == (8, 0)


def test_a_dry_run_sends_and_writes_nothing(survey: Path) -> None:
    result = call("run", survey, "--dry-run", "--json")
    assert result.exit_code == 0
    assert document(result)["calls"] == 32
    assert [path.name for path in survey.parent.iterdir()] == ["survey.toml"]


def test_a_run_without_an_output_is_a_usage_error(survey: Path) -> None:
    result = call("run", survey)
    assert result.exit_code == 2
    assert "-o" in result.stderr


def test_a_wrong_suffix_is_known_before_anything_is_asked(survey: Path) -> None:
    result = call("run", survey, "-o", survey.with_name("out.xlsx"))
    assert result.exit_code == 5
    assert ".parquet, .csv, .jsonl" in result.stderr
    assert [path.name for path in survey.parent.iterdir()] == ["survey.toml"]


def test_limits_are_told_apart(survey: Path) -> None:
    out = survey.with_name("out.csv")
    result = call("run", survey, "-o", out, "--max-calls", 3)
    assert result.exit_code == 1
    assert "needs 32 calls and 3 are allowed" in result.stderr
    result = call("run", survey, "-o", out, "--max-cost", 3)
    assert result.exit_code == 5
    assert "add prices" in result.stderr
    assert not out.exists()


def test_bad_surveys_end_with_5_and_all_faults(tmp_path: Path) -> None:
    survey = write_survey(
        tmp_path / "survey.toml", model={"fake": 3}, ask={"orders": "x", "at_once": 0}
    )
    result = call("run", survey, "-o", tmp_path / "out.csv")
    assert result.exit_code == 5
    assert "3 faults" in result.stderr
    result = call("run", tmp_path / "absent.toml", "--dry-run")
    assert result.exit_code == 5


def test_an_unknown_template_ends_with_1(tmp_path: Path) -> None:
    survey = write_survey(tmp_path / "survey.toml", model=FAKE, ask={"template": "sd-quiz"})
    result = call("run", survey, "--dry-run")
    assert result.exit_code == 1
    assert "'sd-quiz'" in result.stderr


def test_a_broken_template_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = 1\nprompt = "sd"\npersona = "{group}"\n'
        '[verbalized]\nuser = "{question}"\n',
        "utf-8",
    )
    survey = write_survey(tmp_path / "survey.toml", model=FAKE, ask={"template": "mine.toml"})
    result = call("run", survey, "-o", tmp_path / "out.csv")
    assert result.exit_code == 5
    for name in ("{wording}", "{options}", "{persona}"):
        assert name in result.stderr
    assert not (tmp_path / "survey.sqlite").exists()


def test_export_writes_what_is_there(survey: Path, tmp_path: Path) -> None:
    result = call("export", survey, "-o", tmp_path / "e.csv")
    assert result.exit_code == 5  # no store yet, and none is made
    assert not survey.with_name("survey.sqlite").exists()
    call("run", survey, "-o", tmp_path / "out.csv")
    more = write_survey(survey, model=FAKE, ask={"elicitation": "logprob"}, n_questions=3)
    exported = document(call("export", more, "-o", tmp_path / "e.csv", "--json"))
    assert (exported["cells"], exported["cells_left_out"]) == (4, 2)
    assert len(read_table(tmp_path / "e.csv")) == 4 * 3
    none = write_survey(survey, model=FAKE, ask={"elicitation": "sequence"})
    result = call("export", none, "-o", tmp_path / "e.csv")
    assert result.exit_code == 1
    assert "none of the 4 cells" in result.stderr


def test_export_of_a_store_gives_every_reply(survey: Path, tmp_path: Path) -> None:
    call("run", survey, "-o", tmp_path / "out.csv")
    store = survey.with_name("survey.sqlite")
    assert call("export", "--store", store, "-o", tmp_path / "rows.jsonl").exit_code == 0
    rows = pd.read_json(tmp_path / "rows.jsonl", lines=True)
    assert len(rows) == 32
    assert rows["key"].is_unique
    assert set(rows["outcome"]) == {"answered"}
    assert rows["prompt"].str.contains("How much of thing number").all()
    assert call("export", "-o", tmp_path / "rows.csv").exit_code == 2


def test_a_file_that_is_no_store_ends_with_5(tmp_path: Path) -> None:
    assert call("cache", tmp_path / "absent.sqlite").exit_code == 5
    (tmp_path / "text.sqlite").write_text("no database" * 100, "utf-8")
    assert call("cache", tmp_path / "text.sqlite").exit_code == 5


def test_an_endpoint_that_is_not_there_ends_with_1_and_a_remedy(tmp_path: Path) -> None:
    survey = write_survey(
        tmp_path / "survey.toml",
        model={"name": "m", "base_url": "http://127.0.0.1:9/v1"},
        ask={},
    )
    result = call("run", survey, "-o", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "check the base URL" in result.stderr
    assert not (tmp_path / "out.csv").exists()


def test_an_unknown_model_ends_with_1_after_few_calls(tmp_path: Path) -> None:
    with StubServer(tmp_path / "log", models=["other"]) as server:
        survey = write_survey(
            tmp_path / "survey.toml", model={"name": "m", "base_url": server.url}, ask={}
        )
        result = call("run", survey, "-o", tmp_path / "out.csv")
        assert len(server.bodies()) <= 2
    assert result.exit_code == 1
    assert "check the model's name" in result.stderr


def test_logprobs_on_a_server_without_them_are_refused_before_any_question(
    tmp_path: Path,
) -> None:
    with StubServer(tmp_path / "log", ignores=["logprobs"]) as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "m", "base_url": server.url},
            ask={"elicitation": "logprob"},
        )
        result = call("run", survey, "-o", tmp_path / "out.csv")
        assert not any("thing number" in json.dumps(body) for body in server.bodies())
    assert result.exit_code == 1
    assert "verbalized" in result.stderr


def test_a_reasoning_model_is_asked_without_what_it_refuses(tmp_path: Path) -> None:
    refuses = ["temperature", "logprobs", "max_tokens"]
    with StubServer(tmp_path / "log", refuses=refuses) as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "m", "base_url": server.url},
            ask={"elicitation": "self_random", "draws": 2},
        )
        result = call("run", survey, "-o", tmp_path / "out.csv", "--json")
        asked = [body for body in server.bodies() if "thing number" in json.dumps(body)]
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["settings"][0]["counts"]["cells_answered"] == 4
    assert not any("temperature" in body or "max_tokens" in body for body in asked[-4:])


def test_calls_that_fail_are_told_counted_and_asked_again(tmp_path: Path) -> None:
    with StubServer(tmp_path / "log") as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "m", "base_url": server.url},
            ask={"elicitation": "logprob", "at_once": 1},
        )
        # The 12th call comes after those that find out what the endpoint can do.
        server.configure(faults={"12": {"status": 400, "message": "too long"}})
        result = call("run", survey, "-o", tmp_path / "out.csv", "--json")
        assert result.exit_code == 0, result.stderr
        assert "warning: 1 calls have no answer" in result.stderr
        assert json.loads(result.stdout)["settings"][0]["counts"]["cells_failed"] == 1
        table = read_table(tmp_path / "out.csv")
        assert table[table["outcome"] == "failed"]["p_llm"].isna().all()
        server.configure()
        again = call("run", survey, "-o", tmp_path / "out.csv", "--json")
        assert json.loads(again.stdout)["calls"]["made"] == 1
    assert (read_table(tmp_path / "out.csv")["outcome"] == "answered").all()


def test_a_batch_is_written_sent_fetched_and_found_by_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    with StubServer(tmp_path / "log", batch_polls=1) as server:
        survey = write_survey(
            tmp_path / "survey.toml",
            model={"name": "m", "base_url": server.url},
            ask={"elicitation": "verbalized"},
        )
        written = call("batch", "write", survey, folder, "--json")
        assert written.exit_code == 0, written.stderr
        assert json.loads(written.stdout)["requests"] == 4 * 2 * 3
        assert call("batch", "submit", survey, folder).exit_code == 0
        waiting = json.loads(call("batch", "fetch", survey, folder, "--json").stdout)
        assert waiting["not_fetched"] == 24
        done = json.loads(call("batch", "fetch", survey, folder, "--json").stdout)
        assert done["outcomes"] == {"answered": 24}
        run = call("run", survey, "-o", tmp_path / "out.csv", "--json")
    assert json.loads(run.stdout)["calls"]["made"] == 0
    assert (read_table(tmp_path / "out.csv")["outcome"] == "answered").all()


def test_batches_are_for_endpoints(survey: Path, tmp_path: Path) -> None:
    result = call("batch", "write", survey, tmp_path / "batch")
    assert result.exit_code == 1
    assert "batch files are for endpoints" in result.stderr


def test_help_names_every_command() -> None:
    shown = call("--help").stdout
    for name in ("init", "run", "doctor", "export", "cache", "batch"):
        assert name in shown
