"""Runs one command again and again, each time with a fault at its next step on the disk.

    python tests/fault_runs.py FAULT OUTPUT WORD …

A step is a file opened for writing, made, renamed or removed below the folder that holds
OUTPUT. Before it the process is killed (``kill``), gets Ctrl-C (``interrupt``) or finds the
disk full (``full``); ``limit`` lets no file grow beyond some bytes. Each run is a fork, so that
libraries are loaded once. Prints one JSON document: for each run its exit code, what it said,
what OUTPUT then held, and what else was left beside it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
LIMITS = (0, 1, 100, 1000, 3000)
MOST_RUNS = 60
CAME = "the fault came\n"
"""Said last, of a run that it did not end."""


def snapshot(output: Path) -> dict[str, str]:
    """Every file of an output by the hash of its content."""
    files = [output] if output.is_file() else sorted(output.rglob("*")) if output.exists() else []
    return {
        str(path.relative_to(output.parent)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


def prepare(fault: str, at: int, where: Path) -> list[str]:
    """Have the fault come at a step of this process; its name is in the list once it came."""
    came: list[str] = []
    if fault == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMITS[at], LIMITS[at]))
        return came
    seen = 0

    def hook(event: str, words: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in STEPS or not isinstance(words[0], str | bytes | os.PathLike):
            return
        reads = event == "open" and not words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if reads or not Path(os.fsdecode(words[0])).absolute().is_relative_to(where):
            return
        seen += 1
        if seen != at + 1:
            return
        came.append(fault)
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "interrupt":
            signal.raise_signal(signal.SIGINT)
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(words[0]))

    sys.addaudithook(hook)
    # Where this runs in the background, Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return came


def run(words: list[str], fault: str, at: int, where: Path) -> tuple[int, str]:
    """The exit code of one run, negative where a signal ended it, and what it said."""
    from calib.cli import main

    # No file, which would be under the same limit.
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        said = os.fdopen(write_end, "w", encoding="utf-8")
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            came = prepare(fault, at, where)
            try:
                main(words)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException as error:
                print("TRACEBACK", repr(error), file=sys.stderr)
        said.write(CAME * len(came))
        said.flush()
        os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def runs(fault: str, output: Path, words: list[str]) -> list[dict[str, Any]]:
    """One of each fault, until a run comes to its end."""
    where = output.parent.absolute()
    former = where.parent / "former"
    copy = shutil.copytree if output.is_dir() else shutil.copy2
    copy(output, former)
    beside = {entry.name for entry in where.iterdir()}
    found = []
    for at in range(len(LIMITS) if fault == "limit" else MOST_RUNS):
        code, said = run(words, fault, at, where)
        left = sorted({entry.name for entry in where.iterdir()} - beside)
        found.append(
            {
                "code": code,
                "said": said,
                "output": snapshot(output),
                "left": left,
            }
        )
        if code == 0 and CAME not in said:
            break
        # The draft of a killed run stays: the next has to do with it.
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
        copy(former, output)
    return found


if __name__ == "__main__":
    kind, place, *command = sys.argv[1:]
    import pandas  # noqa: F401
    import scipy  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    before = snapshot(Path(place))
    print(json.dumps({"former": before, "runs": runs(kind, Path(place), command)}))
