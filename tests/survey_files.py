"""Survey files for tests of whole runs, written to order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

from elicit.cli import main

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


def call(*words: object, **environment: str) -> Result:
    """Run a command in this process; further variables of its environment by name."""
    return CliRunner(env=environment).invoke(main, [str(word) for word in words])


def command(*words: object) -> list[str]:
    """The command line ``elicit`` in a process of its own, warnings being errors."""
    code = "from elicit.cli import main; main()"
    return [sys.executable, "-W", "error", "-c", code, *map(str, words)]


def elicit(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, check=False)


def _lines(fields: Mapping[str, object]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
