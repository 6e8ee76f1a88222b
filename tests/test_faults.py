"""Killed, interrupted or out of disk at any step: the former output stays whole, or the new."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from builders import known_distortion, table
from test_cli import ok, refused

from calib.files import atomic_folder, write_table
from calib.swap import exchange
from calib.table import check_table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals")
TESTS = Path(__file__).parent
HANDLED = (
    # Where the tests run in the background, Ctrl-C is ignored.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from calib.cli import main; main()"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs in ``in``, and the outputs of one whole run of each command in ``out``."""
    folder = tmp_path_factory.mktemp("faults")
    given, out = folder / "in", folder / "out"
    given.mkdir()
    out.mkdir()
    frame = check_table(table(known_distortion(n_questions=6, n_groups=2)))
    write_table(frame, given / "all.parquet")
    ok("fit", given / "all.parquet", "-o", given / "model", "--calibrator", "ridge")
    ok("evaluate", given / "all.parquet", "-o", given / "found", "--calibrators", "temperature",
       "--folds", "2")  # fmt: skip
    return folder


COMMANDS = {
    "fit": ("model", ("fit", "in/all.parquet", "-o", "out/model", "--calibrator", "temperature")),
    "predict": ("p.parquet", ("predict", "in/model", "in/all.parquet", "-o", "out/p.parquet")),
    "predict csv": ("p.csv", ("predict", "in/model", "in/all.parquet", "-o", "out/p.csv")),
    "evaluate": (
        "found",
        ("evaluate", "in/all.parquet", "-o", "out/found", "--calibrators", "temperature",
         "--folds", "2"),
    ),
    "report": ("r.html", ("report", "in/found", "-o", "out/r.html")),
}  # fmt: skip


def faulty_runs(made: Path, name: str, fault: str) -> dict[str, Any]:
    output, words = COMMANDS[name]
    work = made / f"{name} {fault}"
    work.mkdir()
    (work / "in").symlink_to(made / "in")
    (work / "out").mkdir()
    there = [str(work / word) if word.startswith(("in/", "out/")) else word for word in words]
    ok(*there)
    done = subprocess.run(
        [sys.executable, TESTS / "fault_runs.py", fault, work / "out" / output, *there],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def whole(output: dict[str, str], found: dict[str, Any]) -> bool:
    """The former output or that of the last run, which came to its end."""
    last = found["runs"][-1]["output"]
    # What was learnt or found is the same; how long it took is not.
    return output == found["former"] or set(output) == set(last) == set(found["former"])


QUICK = ["fit", "predict"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_killed_before_any_step(made: Path, name: str) -> None:
    found = faulty_runs(made, name, "kill")
    *killed, last = found["runs"]
    assert last["code"] == 0 and len(killed) >= 2
    for run in killed:
        assert run["code"] == -signal.SIGKILL
        assert whole(run["output"], found)
        assert all(one.startswith(f".{COMMANDS[name][0]}.draft-") for one in run["left"])


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_interrupted_before_any_step(made: Path, name: str) -> None:
    found = faulty_runs(made, name, "interrupt")
    *ended, last = found["runs"]
    assert last["code"] == 0 and len(ended) >= 2
    for run in ended:
        assert run["code"] == 130, run
        assert run["said"].splitlines()[0].startswith("interrupted: ")
        assert "TRACE" not in run["said"].upper()
        assert whole(run["output"], found)


@pytest.mark.parametrize("fault", ["full", "limit"])
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_full_disk_at_any_step(made: Path, name: str, fault: str) -> None:
    found = faulty_runs(made, name, fault)
    failed = [run for run in found["runs"] if run["code"]]
    assert failed
    for run in failed:
        # 5 where not even a draft could be begun.
        assert run["code"] in (1, 5), run
        assert "error: " in run["said"] and "remedy: " in run["said"], run["said"]
        assert "TRACEBACK" not in run["said"]
        assert COMMANDS[name][0] in run["said"]
        assert whole(run["output"], found)


@pytest.mark.parametrize("place", ["in/all.parquet/model", "/proc/model"])
def test_a_folder_that_cannot_be_written(made: Path, place: str) -> None:
    # An absolute path stays as it is; nobody, root included, makes folders in a file or there.
    table, output = made / "in" / "all.parquet", made / place
    if not output.parent.exists():
        pytest.skip(f"no {output.parent} here")
    former = table.read_bytes()
    said = refused("fit", table, "-o", output, "--calibrator", "temperature")
    assert "the folder of an output must be writable" in said
    assert "remedy: name another place" in said
    assert table.read_bytes() == former


def test_folders_change_places_in_one_step(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
        (place / place.name).touch()
    if not exchange(first, second):
        pytest.skip("this system has no such step")
    assert (first / "second").exists() and (second / "first").exists()
    assert not exchange(first, tmp_path / "none")
    assert (first / "second").exists()


def test_without_that_step_a_folder_is_replaced_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calib.files.exchange", lambda *_: False)
    for text in ("first", "second"):
        with atomic_folder(tmp_path / "model", marker="m") as draft:
            (draft / "m").write_text(text, encoding="utf-8")
    assert (tmp_path / "model" / "m").read_text("utf-8") == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_old_drafts_are_removed_and_nothing_else(tmp_path: Path) -> None:
    old, new, other = (
        tmp_path / name for name in (".t.csv.draft-old", ".t.csv.draft-new", ".t.csv.mine")
    )
    for place in (old, new, other):
        place.mkdir()
    for place in (old, other):
        os.utime(place, (1e9, 1e9))
    write_table(check_table(table(known_distortion(n_questions=2))), tmp_path / "t.csv")
    assert not old.exists() and new.exists() and other.exists()


def test_ctrl_c_ends_a_running_command_in_one_line(tmp_path: Path) -> None:
    pipe = tmp_path / "STUDY.toml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-c", HANDLED, "study", "run", pipe, "-o", tmp_path / "out"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    # It reads the plan, hence is in its midst, as soon as the pipe can be written to.
    with pipe.open("w", encoding="utf-8"):
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate()
    assert process.returncode == 130, said
    assert out == "" and said.count("\n") == 1 and said.startswith("interrupted: ")
    assert [one.name for one in tmp_path.iterdir()] == ["STUDY.toml"]


DRAWS = """
import resource, sys
import click, numpy as np, xarray as xr
from calib.files import atomic_file, write_netcdf
from calib.options import Main
limit, path = int(sys.argv[1]), sys.argv[2]
@click.group(cls=Main)
def main(): pass
@main.command()
def write():
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    draws = xr.Dataset({"share": ("draw", np.random.default_rng(0).random(20_000))})
    with atomic_file(path) as draft:
        write_netcdf(draws, draft)
main(["write"])
"""


@pytest.mark.parametrize(("limit", "code"), [(0, 1), (10_000, 1), (10_000_000, 0)])
def test_draws_that_find_no_room(tmp_path: Path, limit: int, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRAWS, str(limit), tmp_path / "draws.nc"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )
    # HDF5 itself would have ended it by a segmentation fault.
    assert done.returncode == code, done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["draws.nc"] * (not code)
    assert not code or ("remedy: free some space" in done.stderr and "Trace" not in done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_takes_nothing(made: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from calib.cli import main; main()", "validate", "--json",
             made / "in" / "all.parquet"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        )  # fmt: skip
    assert done.returncode in (1, 120) and "No space left" in done.stderr
    assert "Traceback" not in done.stderr
