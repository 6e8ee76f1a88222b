"""What the pages tell a reader to type: their blocks of Python and their commands, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

Kind = Literal["python", "command"]

FENCE = re.compile(r"^(`{3,})[ ]*(\{?[\w-]*\}?)")
PROGRAMS = ("calib", "elicit", "make", "pip", "python")
"""What a line of a shell block may begin with."""
SHELL = ("", "sh", "bash", "console", "shell")


class Block(NamedTuple):
    """Python source, or one command line."""

    kind: Kind
    text: str
    line: int
    """In the file, from 1."""

    @property
    def words(self) -> list[str]:
        """A command's words, its comment left out; what stands behind a pipe is not run."""
        return shlex.split(self.text.partition(" | ")[0], comments=True)


def blocks(source: str) -> list[Block]:
    """Everything to be run, as it follows on the page."""
    return list(_blocks(source.splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    fence, language, begun, inside = "", "", 0, list[str]()
    for number, line in enumerate(lines, start=1):
        opened = FENCE.match(line)
        if not fence and opened:
            fence, language, begun, inside = opened[1], opened[2], number, []
        elif fence and line.startswith(fence):
            yield from _fenced(language, inside, begun)
            fence = ""
        elif fence:
            inside.append(line)
        elif re.match(r" {4,}\S", line):
            yield from _commands([line], number)


def _fenced(language: str, inside: list[str], begun: int) -> Iterator[Block]:
    if language in SHELL:
        yield from _commands(inside, begun + 1)
    elif language == "{code-cell}":
        body = [line for line in inside if not line.startswith(":")]
        text = "\n".join(body).strip()
        if text.startswith("%%sh"):
            yield from _commands(inside, begun + 1)
        else:
            yield Block("python", text, begun)
    elif language == "python":
        yield Block("python", "\n".join(inside), begun)


def _commands(lines: list[str], first: int) -> Iterator[Block]:
    for number, line in enumerate(lines, start=first):
        text = line.strip().removeprefix("$ ")
        if text.partition(" ")[0] in PROGRAMS:
            yield Block("command", text, number)
