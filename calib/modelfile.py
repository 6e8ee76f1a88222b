"""A fitted calibrator as a folder: plain JSON beside the files of the calibrator's own."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from calib.base import REGISTRY, Calibrator, make_calibrator
from calib.errors import DataError, Fault
from calib.files import atomic_folder
from calib.paired import Counts, Paired
from calib.rules import ANSWER_KEY
from calib.survey import Group, QuestionKey, Setting
from calib.table import COLUMNS
from calib.trivial import TrainMean

FORMAT_VERSION: Final = 1
MARKER: Final = "model.json"
LIBRARIES: Final = (
    "opinion-calibration", "numpy", "scipy", "pandas", "scikit-learn", "jax", "numpyro",
    "arviz-base", "skops",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A calibrator ready to predict, and where it comes from."""

    calibrator: Calibrator
    train_mean: TrainMean
    """What the training questions say without any LLM."""
    trained_on: frozenset[QuestionKey]
    settings: tuple[Setting, ...]
    seed: int
    table_name: str
    data_hash: str
    n_cells: int
    """Cells that were learnt from."""
    counts: Counts
    versions: Mapping[str, str | None]
    groups: tuple[Group, ...] | None = None
    """That were learnt from; None in models of before this was kept, as ``n_human``."""
    n_human: Mapping[str, Any] | None = None
    """See ``respondents``."""


def respondents(training: Paired) -> dict[str, Any]:
    """Effective respondents behind the cells: least, median and most; cells with none known.

    Undefined (null) where no n is known.
    """
    n = np.full(len(training), np.nan) if training.human.n is None else training.human.n
    known = n[~np.isnan(n)]
    ends = np.quantile(known, [0, 0.5, 1]).tolist() if len(known) else [None] * 3
    return {
        **dict(zip(("least", "median", "most"), ends, strict=True)),
        "cells_with_unknown_n": int(np.isnan(n).sum()),
    }


def library_versions() -> dict[str, str | None]:
    """Versions of Python, this package and what its results depend on; None if not there."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def table_hash(frame: pd.DataFrame) -> str:
    """SHA-256 of a checked table's content: the same whatever its file format and row order."""
    ordered = frame[list(COLUMNS)].sort_values([*ANSWER_KEY, "option_index"])
    return hashlib.sha256(ordered.to_csv(index=False).encode()).hexdigest()


def save_model(
    calibrator: Calibrator,
    folder: str | Path,
    *,
    paired: Paired,
    seed: int,
    table_name: str,
    data_hash: str,
) -> None:
    """Write a fitted calibrator; the folder appears whole or not at all.

    Parameters
    ----------
    paired
        What the calibrator was fitted on: its complete rows are those learnt from, and
        name the questions that this model must not be scored on.

    Raises
    ------
    DataError
        Where the folder exists and is not an earlier model.
    """
    training = paired.take(paired.complete)
    train_mean = TrainMean().fit(training)
    content = {
        "format_version": FORMAT_VERSION,
        "calibrator": calibrator.name,
        "settings": [list(setting) for setting in calibrator.settings_],
        "seed": seed,
        "table": table_name,
        "data_hash": data_hash,
        "versions": library_versions(),
        "n_cells": len(training),
        "n_questions": len(training.index.questions),
        "counts": dict(paired.counts),
        "groups": [list(group) for group in training.index.groups],
        "n_human": respondents(training),
        "questions": [list(key) for key in training.index.question_keys],
        "state": calibrator.state(),
        "train_mean": train_mean.state(),
    }
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_folder(folder, marker=MARKER) as draft:
        (draft / MARKER).write_text(text + "\n", encoding="utf-8")
        calibrator.save_files(draft)


def load_model(folder: str | Path) -> SavedModel:
    """Read a model back.

    Raises
    ------
    DataError
        Where the folder is no model, is incomplete, or has another format version.
    """
    folder = Path(folder)
    content = _read(folder / MARKER)
    found = content.get("format_version")
    if found != FORMAT_VERSION:
        raise _broken(
            folder,
            f"a model folder has format version {FORMAT_VERSION}",
            repr(found),
            "fit the model again, or use the version of this package that wrote it "
            f"({(content.get('versions') or {}).get('opinion-calibration')})",
        )
    try:
        return _saved(folder, content)
    except DataError as error:
        raise error if error.file else error.in_file(folder) from None
    except Exception as error:
        # Readers of damaged zip, NetCDF and JSON content each raise errors of their own.
        raise _broken(
            folder,
            "a model folder is complete as it was written",
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            "copy the whole folder again or fit the model again",
        ) from error


def _saved(folder: Path, content: Mapping[str, Any]) -> SavedModel:
    name = content["calibrator"]
    if name not in REGISTRY:
        raise _broken(
            folder,
            "a model's calibrator is one of " + ", ".join(REGISTRY),
            repr(name),
            "fit the model again",
        )
    settings = tuple(Setting(*setting) for setting in content["settings"])
    calibrator, train_mean = make_calibrator(name), TrainMean()
    calibrator.settings_ = train_mean.settings_ = settings
    calibrator.restore(content["state"])
    calibrator.load_files(folder)
    train_mean.restore(content["train_mean"])
    return SavedModel(
        calibrator=calibrator,
        train_mean=train_mean,
        trained_on=frozenset(QuestionKey(*key) for key in content["questions"]),
        settings=settings,
        seed=content["seed"],
        table_name=content["table"],
        data_hash=content["data_hash"],
        n_cells=content["n_cells"],
        counts=content["counts"],
        versions=content["versions"],
        groups=tuple(Group(*one) for one in content["groups"]) if "groups" in content else None,
        n_human=content.get("n_human"),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(
            path.parent,
            f"a model is a folder with a readable {MARKER}",
            " ".join(str(error).split())[:200],
            "name a folder that calib fit wrote",
        ) from None
    if not isinstance(content, dict):
        raise _broken(
            path.parent,
            f"{MARKER} holds one JSON object",
            type(content).__name__,
            "fit the model again",
        )
    return content


def _broken(folder: Path, rule: str, value: str, remedy: str) -> DataError:
    return DataError(Fault(rule, value, remedy), file=folder)
