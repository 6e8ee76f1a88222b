"""What stands beside a table: how it was made, at what cost, and how far to trust it."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError
from calib.files import atomic_file
from elicit.budget import Meter
from elicit.connect import without_secrets
from elicit.job import Finished, Job
from elicit.position import position_effects, reversal_distance
from elicit.table import Elicitation

FORMAT_VERSION: Final = 1
LIBRARIES: Final = ("opinion-calibration", "numpy", "pandas", "pyarrow", "openai", "xllamacpp")


def manifest_path(table: Path) -> Path:
    """Where the manifest of a table stands: ``out.csv`` has ``out.csv.manifest.json``."""
    return table.with_name(f"{table.name}.manifest.json")


def describe_run(job: Job, finished: Finished, meter: Meter) -> dict[str, Any]:
    """The manifest of a run as plain values; undefined numbers are None.

    It holds the name of the variable with the API key, never the key.
    """
    model, ask = job.model, job.ask
    return {
        "format_version": FORMAT_VERSION,
        "survey": {"file": job.path.name, "sha256": file_hash(job.path)},
        "model": {
            "kind": model.kind,
            "name": job.work.model,
            "base_url": without_secrets(model.base_url),
            "api": model.api if model.kind == "http" else None,
            "api_key_env": model.api_key_env if model.kind == "http" else None,
        },
        "ask": {
            "elicitation": list(ask.elicitations),
            "orders": ask.orders,
            "draws": ask.draws,
            "temperature": ask.temperature,
            "few_shot_examples_left_out": job.examples_left_out,
        },
        "seed": job.seed,
        "templates": [
            {"name": one.name, "version": one.version, "sha256": one.digest}
            for one in job.templates
        ],
        "settings": [describe_setting(result) for result in finished.results],
        "calls": describe_calls(meter)
        | {
            "requests": len(job.work.requests),
            "requests_sha256": _requests_hash(job),
            "from_store": finished.n_from_store,
        },
        "versions": versions(),
    }


def describe_setting(result: Elicitation) -> dict[str, Any]:
    """Outcomes, captured mass and position effect of one setting."""
    return {
        "model": result.model,
        "elicitation": result.elicitation,
        "prompt": result.prompt,
        "counts": dict(result.counts),
        "captured_mass": _finite(result.captured_mass),
        "reversal_distance": _finite(_reversal(result)),
        "position_effects": [
            {
                "n_options": found.n_options,
                "n_answers": found.n_answers,
                "effect": [_finite(value) for value in found.effect.tolist()],
            }
            for found in position_effects(result.answers)
        ],
    }


def describe_calls(meter: Meter) -> dict[str, Any]:
    """Calls, tokens and money of one run, but for those that find out what an endpoint can do."""
    return {
        "made": meter.calls,
        "failed": meter.calls_failed,
        "tokens_in": meter.tokens_in,
        "tokens_out": meter.tokens_out,
        "without_token_counts": meter.calls_without_usage,
        "cost": _finite(meter.cost),
    }


def write_manifest(document: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON, whole or not at all."""
    with atomic_file(path) as draft:
        text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str | None]:
    """Versions of Python and of what the answers went through; None if not there."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _requests_hash(job: Job) -> str:
    """Of everything that was asked, whichever files it was read from."""
    return hashlib.sha256("\n".join(sorted(job.work.requests)).encode("ascii")).hexdigest()


def _reversal(result: Elicitation) -> float:
    """Total variation between the given and the reversed list; NaN if one was not asked."""
    try:
        return reversal_distance(result.answers, "given")
    except CalibError:
        return math.nan


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
