"""Survey files for tests of whole runs, written to order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

QUESTION = """
[[question]]
id = "q{number}"
text = "How much of thing number {number}?"
scale = "ordinal"
options = ["None", "Some", "A lot"]
"""


def write_survey(
    path: Path,
    *,
    model: Mapping[str, object],
    ask: Mapping[str, object],
    n_questions: int = 2,
    n_groups: int = 2,
) -> Path:
    """Ordinal questions of three options, groups of one attribute."""
    questions = "".join(QUESTION.format(number=number) for number in range(n_questions))
    groups = [f"group {number}" for number in range(n_groups)]
    path.write_text(
        f'survey = "test"\n{questions}\n[attributes.party]\nwording = "Which group?"\n'
        f"groups = {json.dumps(groups)}\n"
        f"[model]\n{_lines(model)}[ask]\n{_lines(ask)}",
        encoding="utf-8",
    )
    return path


def command(*words: object) -> list[str]:
    """The command line ``elicit`` in a process of its own, warnings being errors."""
    code = "from elicit.cli import main; main()"
    return [sys.executable, "-W", "error", "-c", code, *map(str, words)]


def elicit(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; further variables of its environment by name."""
    import os

    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, env=os.environ | environment
    )


def _lines(fields: Mapping[str, object]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
