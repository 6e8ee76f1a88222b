"""What stands beside every result: versions, seed, commit and date."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from calib.modelfile import library_versions


def record(seed: int) -> dict[str, Any]:
    """Of a run that begins now; the commit is marked where the code differs from it."""

    def git(*words: str) -> str:
        found = subprocess.run(("git", *words), capture_output=True, text=True, check=False)
        return found.stdout.strip()

    # Results of a study that ran before are no change of what made these.
    code = ("calib", "benchmarks", ":!benchmarks/results")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *code)
    return {
        "seed": seed,
        "commit": git("rev-parse", "--short", "HEAD") + (" and changes" if changed else ""),
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "versions": library_versions(),
    }


def write_markdown(path: Path, lines: Iterable[str], records: Sequence[Mapping[str, Any]]) -> None:
    """The lines, and below them what made them."""
    commits = sorted({str(one["commit"]) for one in records})
    first = records[0]
    versions = ", ".join(f"{name} {one}" for name, one in first["versions"].items() if one)
    foot = (
        f"Made {max(one['date'] for one in records)} at commit {', '.join(commits)}, seed "
        f"{first['seed']}, {first['cores']} cores; {versions}."
    )
    path.write_text("\n".join([*lines, "", foot]) + "\n", encoding="utf-8")
