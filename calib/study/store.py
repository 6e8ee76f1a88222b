"""The folder of a study: its plan, one small file a cell, and the tables made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calib.errors import CalibError, DataError, Fault
from calib.files import atomic_file, unwritable
from calib.modelfile import library_versions
from calib.study.grid import Cell, Grid

MARKER: Final = "study.json"
FORMAT_VERSION: Final = 1
PLAN_FILE: Final = "STUDY.toml"
LOCK: Final = ".lock"
RESULTS: Final = "results.parquet"
SUMMARY: Final = "summary.json"
TABLES: Final = (RESULTS, SUMMARY)
"""What is made of all cells when none is left."""


@dataclass(frozen=True)
class Store:
    """A study's folder.

    ``study.json`` holds the plan, the tables' hashes and every cell; ``cells/KEY.json`` a
    cell's result; ``times/KEY.json`` how long it took. Each file appears whole or not at all,
    so a run may end at any moment. One run at a time works on a folder (``alone``).
    """

    folder: Path

    def check(self, grid: Grid) -> None:
        """Nothing, where the folder is this very study's or may become it; writes nothing.

        Raises
        ------
        DataError
            Where the folder holds another study, results from other data, or other files.
        """
        if (self.folder / MARKER).exists():
            self._same(self.read(), grid)
        elif self.folder.exists() and not self._fresh():
            raise DataError(
                Fault(
                    rule=f"a study is written to an empty folder or one with {MARKER}",
                    value=f"{self.folder} holds something else",
                    remedy="name another folder with -o",
                )
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """As long as it lasts no other process may enter; ended in any way it is open again.

        Raises
        ------
        CalibError
            Where another process is inside.
        DataError
            Where the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK, timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise CalibError(
                f"one run at a time works on a study's folder; another works on {self.folder}; "
                "wait for its end, or end it and go on with calib study resume"
            ) from None
        except OSError as error:
            raise unwritable(error) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, grid: Grid, plan_text: str, data: Path) -> None:
        """Make the folder, which was checked, a study's, or go on with it."""
        versions = [library_versions()]
        if (self.folder / MARKER).exists():
            former = self.read()
            versions = former["versions"] + [
                one for one in versions if one not in former["versions"]
            ]
            self._clean()
        document = {
            "format_version": FORMAT_VERSION,
            "plan": grid.plan.as_dict(),
            "tables": dict(grid.tables),
            "left_out": {name: dict(counts) for name, counts in grid.left_out.items()},
            "data": str(data.resolve()),
            "versions": versions,
            "cells": [{"key": cell.key, **cell.as_dict()} for cell in grid.cells],
        }
        # The plan before the marker: a folder that has the marker can be gone on with.
        _write(self.folder / PLAN_FILE, plan_text)
        _write_json(self.folder / MARKER, document)
        for name in ("cells", "times"):
            (self.folder / name).mkdir(exist_ok=True)

    def read(self) -> dict[str, Any]:
        """What ``study.json`` says; ``DataError`` where there is none or it is damaged."""
        path = self.folder / MARKER
        document = _read_json(path, "name a folder that calib study run wrote")
        if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
            raise DataError(
                Fault(
                    rule=f"a study's folder has format version {FORMAT_VERSION}",
                    value="another",
                    remedy="run the study again into another folder",
                ),
                file=path,
            )
        return document

    def done(self) -> set[str]:
        """Keys of the cells that have a result, failures included."""
        return {path.stem for path in (self.folder / "cells").glob("*.json")}

    def put(self, key: str, result: Mapping[str, Any], times: Mapping[str, float]) -> None:
        """Keep what a cell left."""
        # Times first: what has a result has its times.
        _write_json(self.folder / "times" / f"{key}.json", times)
        _write_json(self.folder / "cells" / f"{key}.json", result)

    def results(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Results of cells, in the order given; ``DataError`` where one is damaged."""
        found = []
        for key in keys:
            path = self.folder / "cells" / f"{key}.json"
            result = _read_json(path, "delete it and resume the study")
            if not isinstance(result, dict) or result.get("key") != key:
                raise DataError(
                    Fault(
                        rule="a cell's file holds the result of the key in its name",
                        value="another",
                        remedy="delete it and resume the study",
                    ),
                    file=path,
                )
            found.append(result)
        return found

    def seconds(self, key: str) -> float:
        """How long a cell took; NaN where that was not kept."""
        path = self.folder / "times" / f"{key}.json"
        if not path.exists():
            return float("nan")
        return float(_read_json(path, "delete it")["seconds"])

    def forget_failed(self) -> None:
        """Remove failures, so that their cells are computed again; the tables with them."""
        failed = [one["key"] for one in self.results(sorted(self.done())) if "error" in one]
        gone = [f"cells/{key}.json" for key in failed]
        for name in (*gone, *TABLES) if gone else ():
            (self.folder / name).unlink(missing_ok=True)

    def _fresh(self) -> bool:
        """Whether nothing is lost by writing here: a run ended at its start leaves no more."""
        return self.folder.is_dir() and all(
            path.name in (PLAN_FILE, LOCK)
            or path.name.startswith(f".{PLAN_FILE}.")
            or path.name.startswith(f".{MARKER}.")
            for path in self.folder.iterdir()
        )

    def _same(self, former: Mapping[str, Any], grid: Grid) -> None:
        plan, tables = grid.plan.as_dict(), dict(grid.tables)
        other = [
            f"another {field}" for field in plan if former["plan"].get(field) != plan[field]
        ] + [
            f"other data in {name}"
            for name in tables
            if former["tables"].get(name) not in (None, tables[name])
        ]
        if other:
            raise DataError(
                Fault(
                    rule="a folder holds the results of one study on one set of tables",
                    value=", ".join(other),
                    remedy="name another folder with -o, or go on with the plan and tables "
                    "that its results are from",
                ),
                file=self.folder,
            )
        there = {cell["key"] for cell in former["cells"]}
        if there != {cell.key for cell in grid.cells}:
            raise DataError(
                Fault(
                    rule="the same plan and tables give the same cells",
                    value="other cells",
                    remedy="the folder is of another version of this package: name another with -o",
                ),
                file=self.folder,
            )

    def _clean(self) -> None:
        """Remove drafts of files that a killed run was writing."""
        for name in (".", "cells", "times"):
            for draft in (self.folder / name).glob(".*"):
                if draft.is_dir():
                    shutil.rmtree(draft, ignore_errors=True)


def cell_label(cell: Cell | Mapping[str, Any]) -> str:
    """A cell in a few words, for people."""
    values = cell.as_dict() if isinstance(cell, Cell) else cell
    target = _label(values["target"])
    sources = _label(values["sources"])
    between = sources if sources == target else f"{sources} → {target}"
    return f"{values['table']} · {between} · {values['variant']['name']} · {values['part']}"


def _label(settings: Iterable[Iterable[str]]) -> str:
    from calib.sources import sources_label
    from calib.survey import Setting

    return sources_label([Setting(*setting) for setting in settings])


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    _write(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _read_json(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            Fault(
                rule=f"a study's folder has a readable {path.name}",
                value=" ".join(str(error).split())[:200],
                remedy=remedy,
            ),
            file=path,
        ) from None
