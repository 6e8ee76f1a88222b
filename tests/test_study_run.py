"""Running a study: killed and gone on with, failing cells, other data, processes, a cluster."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from builders import known_distortion, table
from click.testing import CliRunner, Result

from calib.base import REGISTRY, Prediction
from calib.cli import main
from calib.errors import CalibError, FitError
from calib.files import write_table
from calib.opinions import Elicited
from calib.study.run import resume_study, run_study
from calib.study.store import Store
from calib.table import check_table
from calib.trivial import Identity

TEXT = """
name = "tiny"
question = "Does it end alike?"
folds = 3
calibrators = ["temperature", "simplex"]
training_sizes = [2, "all"]
splits = ["question", "group"]
sources = ["prompt=sd"]

[[tables]]
path = "t.parquet"
"""


class Breaks(Identity):
    """Fails where the first question of the table is learnt from."""

    def _fit(self, training: Any, seed: int) -> None:
        if any(question.id == "q000" for question in training.index.questions):
            raise FitError("this calibrator breaks on q000")

    def _predict(self, elicited: Elicited) -> Prediction:
        return super()._predict(elicited)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    frame = check_table(table(known_distortion(n_questions=9, n_groups=3, n_sources=2)))
    write_table(frame, tmp_path / "t.parquet")
    (tmp_path / "S.toml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "S.toml"


def small(plan: Path) -> Path:
    """The study with one split and size."""
    text = TEXT.replace('"question", "group"', '"question"').replace('[2, "all"]', '["all"]')
    plan.write_text(text, encoding="utf-8")
    return plan


def calib(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that must be the same whatever ran when: all but the times and the record."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "times" and path.name != "study.json"
    }


def state(folder: Path) -> dict[str, Any]:
    done = calib("study", "status", folder, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def start(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from calib.cli import main; main()", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def kill_after(words: Sequence[object], folder: Path, n_more: int, wait: float) -> None:
    """Start a command, kill it some time after it left so many more cells."""
    cells = folder / "cells"
    before = len(list(cells.glob("*.json"))) if cells.exists() else 0
    process = start(*words)
    while not cells.exists() or len(list(cells.glob("*.json"))) < before + n_more:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def check_kills(plan: Path, n_cells: int, n_kills: int) -> None:
    folder, undisturbed = plan.parent / "killed", plan.parent / "whole"
    run_study(plan, undisturbed)
    generator = random.Random(4)
    most = n_cells // (n_kills + 2)
    for number in range(n_kills):
        words = ("run", plan, "-o", folder) if number == 0 else ("resume", folder)
        n_more = generator.randint(1, most)
        kill_after(("study", *words), folder, n_more, generator.uniform(0, 0.01))
        left = state(folder)
        assert 0 < left["left"] < left["cells"] == n_cells and not left["complete"]
        assert not (folder / "summary.json").exists()
    resume_study(folder)
    assert contents(folder) == contents(undisturbed)
    # Drafts of the killed runs are gone.
    assert not [path for path in folder.rglob(".*") if path.is_dir()]


@pytest.mark.slow
def test_five_kills(plan: Path) -> None:
    check_kills(plan, n_cells=2 * 5 * 2 * (3 + 9), n_kills=5)


def test_a_killed_run_goes_on_and_ends_alike(plan: Path) -> None:
    check_kills(small(plan), n_cells=30, n_kills=1)


def test_the_commands(plan: Path) -> None:
    folder = plan.parent / "out"
    done = calib("study", "run", small(plan), "-o", folder, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["cells"] == document["done"] == 2 * 5 * 3 and document["complete"]
    names = ("identity", "uniform", "train-mean", "temperature", "simplex")
    done_of = {one["calibrator"]: one["done"] for one in document["calibrators"]}
    assert done_of == dict.fromkeys(names, 6)
    before = contents(folder)
    resumed = calib("study", "resume", folder)
    assert resumed.exit_code == 0 and "complete" in resumed.stdout
    assert contents(folder) == before and state(folder)["seconds"] == document["seconds"]
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert summary["question"] == "Does it end alike?" and len(summary["rows"]) == 2 * 5


def test_processes_give_the_same_bytes(plan: Path) -> None:
    small(plan)
    run_study(plan, plan.parent / "one")
    run_study(plan, plan.parent / "two", n_jobs=2)
    assert contents(plan.parent / "one") == contents(plan.parent / "two")


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("distributed"), reason="needs the extra cluster")
def test_a_cluster_gives_the_same_bytes(plan: Path) -> None:
    # In a process of its own: the cluster's threads and sockets are not the tests' concern.
    script = (
        "import sys\nfrom pathlib import Path\nfrom distributed import LocalCluster\n"
        "from calib.study.run import run_study\n"
        "if __name__ == '__main__':\n"
        "    plan, folder = map(Path, sys.argv[1:])\n"
        "    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as c:\n"
        "        run_study(plan, folder, scheduler=c.scheduler_address)\n"
    )
    program = plan.parent / "on_cluster.py"
    program.write_text(script, encoding="utf-8")
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, program, plan, plan.parent / "cluster"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_study(plan, plan.parent / "one")
    assert contents(plan.parent / "one") == contents(plan.parent / "cluster")


@pytest.mark.skipif(not find_spec("distributed"), reason="needs the extra cluster")
def test_a_scheduler_that_does_not_answer(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def silent(*_: object, **__: object) -> None:
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", silent)
    done = calib("study", "run", plan, "-o", plan.parent / "out", "--scheduler", "tcp://no:1")
    assert (
        done.exit_code == 1
        and "tcp://no:1" in done.stderr
        and "leave --scheduler out" in (done.stderr)
    )


def test_without_the_package_the_extra_is_named(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = calib("study", "run", plan, "-o", plan.parent / "out", "--scheduler", "tcp://x:1")
    assert done.exit_code == 1 and "opinion-calibration[cluster]" in done.stderr


def test_a_failing_cell_is_recorded_and_the_rest_goes_on(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plan.parent / "out"
    text = small(plan).read_text("utf-8").replace('"temperature"', '"lasso"')
    plan.write_text(text, encoding="utf-8")
    monkeypatch.setitem(REGISTRY, "lasso", f"{__name__}:Breaks")  # type: ignore[arg-type]
    done = calib("study", "run", plan, "-o", folder)
    # Of three folds two learn from q000.
    assert done.exit_code == 0 and "warning: 4 cells failed" in done.stderr
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert summary["done"] == summary["cells"] == 30 and len(summary["failed"]) == 4
    assert summary["failed"][0]["error"] == {
        "type": "FitError", "message": "this calibrator breaks on q000",
    }  # fmt: skip
    rows = {row["calibrator"]: row for row in summary["rows"]}
    assert (rows["lasso"]["parts_failed"], rows["lasso"]["w1"]) == (2, None)
    assert rows["simplex"]["parts_failed"] == 0 and rows["simplex"]["w1"]["mean"] > 0
    # Failures stay on record until they are asked for again.
    monkeypatch.undo()
    assert calib("study", "resume", folder).exit_code == 0
    assert state(folder)["failed"] == 4
    assert calib("study", "resume", folder, "--again").exit_code == 0
    assert state(folder)["failed"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("folds = 3", "folds = 4"), "another folds"),
        (('["temperature", "simplex"]', '["temperature"]'), "another variants"),
        (("", ""), "other data in t.parquet"),
    ],
)
def test_a_folder_of_another_study_is_refused(
    change: tuple[str, str], message: str, plan: Path
) -> None:
    folder = plan.parent / "out"
    run_study(small(plan), folder)
    before = contents(folder)
    if change == ("", ""):
        other = table(known_distortion(seed=1, n_questions=9, n_groups=3, n_sources=2))
        write_table(check_table(other), plan.parent / "t.parquet")
    text = plan.read_text("utf-8")
    plan.write_text(text.replace(*change) if change[0] else text, encoding="utf-8")
    done = calib("study", "run", plan, "-o", folder)
    assert done.exit_code == 5 and message in done.stderr and "another folder" in done.stderr
    assert contents(folder) == before


def test_one_run_at_a_time_works_on_a_folder(plan: Path) -> None:
    folder = plan.parent / "out"
    run_study(small(plan), folder)
    there = contents(folder)
    with Store(folder).alone():
        refused = calib("study", "resume", folder, "--again")
        assert refused.exit_code == 1
        assert "one run at a time" in refused.output
        assert contents(folder) == there
    # Whoever is killed inside leaves no locked door.
    inside = "from pathlib import Path\nimport sys, time\nfrom calib.study.store import Store\n"
    inside += "with Store(Path(sys.argv[1])).alone():\n    print(flush=True)\n    time.sleep(60)"
    command = [sys.executable, "-c", inside, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CalibError, match="another works on"):
            resume_study(folder)
        other.kill()
    resume_study(folder)
    assert contents(folder) == there


def test_a_run_that_was_ended_at_its_start_is_begun_again(plan: Path) -> None:
    folder = plan.parent / "out"
    (folder / ".study.json.x").mkdir(parents=True)
    (folder / "STUDY.toml").write_text("", encoding="utf-8")
    run_study(small(plan), folder)
    assert state(folder)["complete"]
    resume_study(folder)
    assert not (folder / ".study.json.x").exists()


def test_another_folder_is_left_alone(plan: Path) -> None:
    done = calib("study", "run", plan, "-o", plan.parent)
    assert done.exit_code == 5 and "holds something else" in done.stderr
    done = calib("study", "status", plan.parent)
    assert done.exit_code == 5 and "calib study run wrote" in done.stderr


@pytest.mark.parametrize("place", ["t.parquet/out", "/proc/out"])
def test_a_folder_that_cannot_be_made_is_told(place: str, plan: Path) -> None:
    # An absolute path stays as it is; nobody, root included, makes folders in a file or there.
    folder = plan.parent / place
    if not folder.parent.exists():
        pytest.skip(f"no {folder.parent} here")
    done = calib("study", "run", plan, "-o", folder)
    assert done.exit_code == 5
    assert "the folder of an output must be writable" in done.stderr
    assert "remedy: name another place" in done.stderr


@pytest.mark.parametrize("damage", ["", "{}", "[1"])
def test_a_damaged_cell_is_told(damage: str, plan: Path) -> None:
    folder = plan.parent / "out"
    run_study(small(plan), folder)
    whole = contents(folder)
    cell = next((folder / "cells").iterdir())
    cell.write_text(damage, encoding="utf-8")
    done = calib("study", "resume", folder)
    assert done.exit_code == 5 and cell.name in done.stderr and "delete it" in done.stderr
    cell.unlink()
    resume_study(folder)
    assert contents(folder) == whole


def test_an_impossible_cell_ends_before_anything_is_written(plan: Path) -> None:
    plan.write_text(TEXT.replace("[2,", "[7,"), encoding="utf-8")
    folder = plan.parent / "out"
    done = calib("study", "run", plan, "-o", folder)
    assert done.exit_code == 5 and "7 of 6" in done.stderr and not folder.exists()


def test_other_versions_are_kept_beside(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plan.parent / "out"
    run_study(small(plan), folder)

    def other() -> Mapping[str, str]:
        return {"python": "9"}

    monkeypatch.setattr("calib.study.store.library_versions", other)
    resume_study(folder)
    assert Store(folder).read()["versions"][1:] == [{"python": "9"}]
