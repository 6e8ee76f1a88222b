"""Compiled programs are kept for later processes, and nothing about that stops a fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from calib import programs

ROOT = Path(__file__).parents[1]
COUNT = """
import json, logging, sys
from collections import Counter
import jax
import calib.programs
events = Counter()
class Count(logging.Handler):
    def emit(self, record):
        events["hits"] += "was kept" in record.msg
        events["misses"] += "is compiled" in record.msg
logging.getLogger("calib.programs").addHandler(Count())
logging.getLogger("calib.programs").setLevel(logging.DEBUG)
def told():
    print(json.dumps({"hits": events["hits"], "misses": events["misses"], "digest": digest}))
"""
SMALL = """
import hashlib
import jax.numpy as jnp
import numpy as np
from calib.programs import compiled
at = np.linspace(-1.0, 1.0, 7)
def loop(at):
    return jax.lax.fori_loop(0, 50, lambda _, x: jnp.sin(x) + jnp.exp(-x @ x) * x, at)
with jax.enable_x64(True):
    found = [np.asarray(compiled("loop", loop, at[:n])(at[:n])) for n in (5, 7)]
digest = hashlib.sha256(b"".join(one.tobytes() for one in found)).hexdigest()
told()
"""
FIT = """
import hashlib
from builders import known_distortion
from calib.dirichlet import Dirichlet
from calib.sampling import Plan
plan = Plan(n_chains=2, n_warmup=20, n_draws=10)
digest = {}
for name, settings in (("nuts", {"plan": plan}), ("laplace", {"inference": "laplace"})):
    model = Dirichlet(**settings).fit(known_distortion(n_questions=8), seed=1)
    draws = model.posterior_["posterior"].data_vars
    whole = b"".join(np.asarray(draws[site]).tobytes() for site in sorted(draws))
    digest[name] = hashlib.sha256(whole).hexdigest()
told()
"""


def in_a_process(script: str, folder: Path | str, **environment: str) -> dict[str, Any]:
    """What a script counted, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT + script],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "CALIB_CACHE": str(folder),
            **environment,
        },
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"stderr": done.stderr}


def test_a_second_process_compiles_nothing_and_finds_the_same(tmp_path: Path) -> None:
    first, second = (in_a_process(SMALL, tmp_path) for _ in range(2))
    assert (first["hits"], first["misses"]) == (0, 2)
    assert (second["hits"], second["misses"]) == (2, 0)
    assert first["digest"] == second["digest"]
    # The twin: another program, here by its shapes, is compiled.
    other = in_a_process(SMALL.replace("(5, 7)", "(4, 7)"), tmp_path)
    assert (other["hits"], other["misses"]) == (1, 1)
    without = in_a_process(SMALL, "off")
    assert (without["hits"], without["misses"]) == (0, 0)
    assert without["digest"] == first["digest"]


@pytest.mark.slow
def test_a_second_fit_compiles_nothing_and_draws_the_same(tmp_path: Path) -> None:
    script = "import numpy as np\n" + FIT
    first, second = (in_a_process(script, tmp_path) for _ in range(2))
    assert first["misses"] >= 3 and first["hits"] == 0
    assert (second["hits"], second["misses"]) == (first["misses"], 0)
    assert second["digest"] == first["digest"]


def test_jaxs_own_settings_come_first(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    in_a_process(SMALL, ours, JAX_COMPILATION_CACHE_DIR=str(theirs))
    in_a_process(SMALL, ours, JAX_ENABLE_COMPILATION_CACHE="0")
    assert not ours.exists()


def test_a_function_from_elsewhere_and_other_code_are_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calib.models import dirichlet_regression

    def run(name: Any) -> int:
        monkeypatch.setattr(programs, "_compiled", {})
        programs.compiled(name, lambda x: x + 1.0, jnp.ones(3))
        return len(list(folder.glob("*")))

    assert run((lambda x: x, 1)) == run((in_a_process,)) == 0
    assert run((dirichlet_regression, 1)) == run((dirichlet_regression, 1)) == 1
    assert run((dirichlet_regression, 2)) == 2
    monkeypatch.setattr(programs, "_sources", lambda: "another version")
    assert run((dirichlet_regression, 2)) == 3


def test_a_kept_program_is_not_traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []

    def function(x: Any) -> Any:
        traced.append(x)
        return x + 1.0

    for _ in range(2):
        monkeypatch.setattr(programs, "_compiled", {})
        assert programs.compiled("plus", function, jnp.ones(3))(jnp.ones(3))[0] == 2.0
    assert len(traced) == 1
    # The twin: another shape is another program.
    programs.compiled("plus", function, jnp.ones(4))
    assert len(traced) == 2


@pytest.fixture
def compile_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], float]:
    """Compiles a program as a new process would, and runs it."""

    def run(power: float = 2.0) -> float:
        monkeypatch.setattr(programs, "_compiled", {})
        program = programs.compiled(f"power {power}", lambda x: x**power, jnp.ones(3))
        return float(program(jnp.full(3, 3.0))[0])

    monkeypatch.setattr(programs, "_noted", set())
    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(programs.VARIABLE, str(tmp_path / "kept"))
    found = programs.cache_folder()
    assert found is not None
    return found


def test_the_users_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(programs.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = programs.cache_folder()
    assert found is not None
    if sys.platform == "linux":
        assert found.parent == tmp_path / "opinion-calibration" / "programs"
    assert not list(tmp_path.iterdir())


def test_programs_are_kept_whole_and_nothing_else(
    folder: Path, compile_again: Callable[..., float]
) -> None:
    assert compile_again() == 9.0
    kept = list(folder.iterdir())
    assert len(kept) == 1 and kept[0].suffix == programs.SUFFIX
    former = kept[0].stat().st_mtime_ns
    assert compile_again() == 9.0
    assert [one.stat().st_mtime_ns for one in folder.iterdir()] == [former]
    assert folder.stat().st_mode & 0o077 == 0


def test_a_damaged_program_is_compiled_again(
    folder: Path, compile_again: Callable[..., float], caplog: pytest.LogCaptureFixture
) -> None:
    compile_again()
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    assert compile_again() == 9.0
    assert "is damaged" in caplog.text and entry.name in caplog.text
    (entry,) = folder.iterdir()
    assert len(entry.read_bytes()) > len(whole) // 2


def test_a_file_in_the_place_of_the_folder_is_noted_once(
    folder: Path, compile_again: Callable[..., float], caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.write_text("a file", encoding="utf-8")
    assert compile_again() == compile_again() == 9.0
    assert caplog.text.count("were not kept") == 1
    assert folder.parent.read_text("utf-8") == "a file"


def test_a_full_disk_is_noted(
    folder: Path,
    compile_again: Callable[..., float],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as half:
            half.write(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert compile_again() == 9.0
    assert "No space left" in caplog.text
    assert not list(folder.iterdir())


def test_the_oldest_make_room(
    folder: Path, compile_again: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_again(2.0)
    (first,) = folder.iterdir()
    os.utime(first, (1e9, 1e9))
    monkeypatch.setattr(programs, "MOST_BYTES", int(first.stat().st_size * 2.5))
    for power in (2.5, 3.5):
        compile_again(power)
    kept = list(folder.iterdir())
    assert len(kept) == 2 and first not in kept
