"""API keys are nowhere but in the calls themselves: tested by looking for them everywhere."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from stub_server import StubServer
from survey_files import call, write_survey

KEY = "sk-test-0123456789-never-to-be-seen"
OTHER = "sk-test-9876543210-wrong-and-secret"
VARIABLE = "TEST_ENDPOINT_KEY"


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    return tmp_path / "survey.toml"


def write(survey: Path, server: StubServer) -> None:
    write_survey(
        survey,
        model={"name": "stub", "base_url": server.url, "api_key_env": VARIABLE},
        ask={"elicitation": ["logprob", "verbalized"], "at_once": 4},
    )


def assert_nowhere(folder: Path, *runs: Result) -> None:
    """Neither key is in any file of the folder nor in what was printed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    for secret in (KEY, OTHER):
        for run in runs:
            assert secret not in run.stdout + run.stderr
        for path in files:
            assert secret.encode() not in path.read_bytes(), path


def test_after_a_run_with_everything_that_a_run_writes(tmp_path: Path, survey: Path) -> None:
    out = tmp_path / "out.csv"
    with StubServer(tmp_path.parent / f"{tmp_path.name}.log", api_key=KEY) as server:
        write(survey, server)
        environment = {VARIABLE: KEY}
        run = call("run", survey, "-o", out, "--json", **environment)
        assert run.exit_code == 0, run.stderr
        dry = call("run", survey, "--dry-run", **environment)
        rows = call("export", "--store", survey.with_suffix(".sqlite"), "-o", tmp_path / "r.jsonl")
        folder = tmp_path / "batch"
        batch = call("batch", "write", survey, folder, "--store", tmp_path / "b.sqlite",
                       **environment)  # fmt: skip
        assert batch.exit_code == 0, batch.stderr
    assert (tmp_path / "out.csv.manifest.json").exists()
    assert folder.is_dir()
    assert_nowhere(tmp_path, run, dry, rows, batch)


def test_a_wrong_key_is_refused_and_not_repeated(tmp_path: Path, survey: Path) -> None:
    # The stub quotes the wrong key in its answer, as providers do.
    with StubServer(tmp_path.parent / f"{tmp_path.name}.log", api_key=KEY) as server:
        write(survey, server)
        run = call("run", survey, "-o", tmp_path / "out.csv", **{VARIABLE: OTHER})
        assert run.exit_code == 1
        assert "did not accept the API key (401)" in run.stderr
        assert len(server.bodies()) <= 2
    assert not (tmp_path / "out.csv").exists()
    assert_nowhere(tmp_path, run)


def test_a_key_that_expires_within_a_run_is_not_repeated(tmp_path: Path, survey: Path) -> None:
    with StubServer(tmp_path.parent / f"{tmp_path.name}.log", api_key=KEY) as server:
        write(survey, server)
        first = call("run", survey, "-o", tmp_path / "out.csv", **{VARIABLE: KEY})
        (tmp_path / "out.csv").unlink()
        # More questions, now with a wrong key: what the endpoint can do is known already.
        write_survey(
            survey,
            model={"name": "stub", "base_url": server.url, "api_key_env": VARIABLE},
            ask={"elicitation": ["logprob", "verbalized"], "at_once": 4},
            n_questions=8,
        )
        second = call("run", survey, "-o", tmp_path / "out.csv", **{VARIABLE: OTHER})
    assert second.exit_code == 1
    assert "the first 20 calls failed" in second.stderr
    assert "(401)" in second.stderr
    assert not (tmp_path / "out.csv").exists()
    assert_nowhere(tmp_path, first, second)


def test_an_endpoint_that_answers_with_the_key_does_not_bring_it_into_the_store(
    tmp_path: Path, survey: Path
) -> None:
    with StubServer(
        tmp_path.parent / f"{tmp_path.name}.log", api_key=KEY, text=f"A. {KEY}"
    ) as server:
        write(survey, server)
        run = call("run", survey, "-o", tmp_path / "out.csv", **{VARIABLE: KEY})
        assert run.exit_code == 0, run.stderr
    assert_nowhere(tmp_path, run)


def test_a_key_in_the_address_is_not_repeated(tmp_path: Path, survey: Path) -> None:
    with StubServer(tmp_path.parent / f"{tmp_path.name}.log") as server:
        address = server.url.replace("http://", f"http://user:{KEY}@")
        write_survey(
            survey,
            model={"name": "stub", "base_url": address},
            ask={"elicitation": "logprob"},
        )
        run = call("run", survey, "-o", tmp_path / "out.csv", "--json")
        assert run.exit_code == 0, run.stderr
    survey.unlink()  # the user's own file is the one place where it stands
    assert_nowhere(tmp_path, run)


def test_the_search_would_find_a_key(tmp_path: Path) -> None:
    @click.command()
    def leak() -> None:
        click.echo(f"error: key {KEY}", err=True)

    (tmp_path / "store.sqlite").write_bytes(b"...")
    assert_nowhere(tmp_path)
    with pytest.raises(AssertionError):
        assert_nowhere(tmp_path, CliRunner().invoke(leak))
    (tmp_path / "store.sqlite").write_bytes(b"..." + OTHER.encode())
    with pytest.raises(AssertionError):
        assert_nowhere(tmp_path)
