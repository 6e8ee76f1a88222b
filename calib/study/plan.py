"""STUDY.toml: which tables, sources, calibrators, splits, training sizes and seeds."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from calib.base import REGISTRY, Calibrator, make_calibrator
from calib.errors import DataError, Fault
from calib.evaluate import ALWAYS
from calib.study.fields import Fields

SPLITS: Final = ("question", "survey", "group", "model", "elicitation", "date")
INFERENCES: Final = ("nuts", "laplace", "svi")
CELLS: Final = ("all", "common")


@dataclass(frozen=True)
class TablePlan:
    """One table and the selections of its settings."""

    path: str
    """Relative to the folder of the data; also the table's name in all results."""
    sources: tuple[str, ...]
    """As ``--sources`` of ``calib evaluate``; each becomes one selection per setting, or one
    of all settings with the word ``all``."""
    cells: str = "all"
    """``common``: only those that every selected setting answered."""


@dataclass(frozen=True)
class Variant:
    """A calibrator under the name that the results give it."""

    name: str
    calibrator: str
    """Its name in the registry."""
    inference: str | None = None
    """Of ``dirichlet``; its own where None."""
    chains: Mapping[str, int] | None = None
    """Of ``dirichlet``: ``n_chains``, ``n_warmup`` and ``n_draws``; its own where None."""

    def make(self) -> Calibrator:
        """A new calibrator, not yet fitted."""
        settings: dict[str, Any] = {}
        if self.inference is not None:
            settings["inference"] = self.inference
        if self.chains is not None:
            from calib.sampling import Plan

            settings["plan"] = Plan(**self.chains)
        return make_calibrator(self.calibrator, **settings)


@dataclass(frozen=True)
class StudyPlan:
    """A whole study."""

    name: str
    question: str
    """What it is to answer, in words."""
    tables: tuple[TablePlan, ...]
    variants: tuple[Variant, ...]
    folds: int = 5
    seeds: tuple[int, ...] = (0,)
    training_sizes: tuple[int | None, ...] = (None,)
    """Numbers of training questions; None: all there are."""
    splits: tuple[str, ...] = ("question",)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        for table in plain["tables"]:
            # A plan that does not choose is that of folders written before there was a choice.
            if table["cells"] == "all":
                del table["cells"]
        return plain


def read_study(path: str | Path) -> StudyPlan:
    """Read and check a study file.

    Raises
    ------
    DataError
        With every fault of the file at once.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fault = Fault(
            rule="a study is a readable TOML file",
            value=" ".join(str(error).split())[:300],
            remedy="correct it" if path.exists() else "check the path",
        )
        raise DataError(fault, file=path) from None
    try:
        return study_plan(document)
    except DataError as error:
        raise error.in_file(path) from None


def study_plan(document: Mapping[str, Any]) -> StudyPlan:
    """The study that a TOML document describes; ``DataError`` with all its faults."""
    faults: list[Fault] = []
    fields = Fields("the study", document, faults)
    sources = fields.texts("sources", ())
    plan = StudyPlan(
        name=fields.text("name"),
        question=fields.text("question", ""),
        tables=_tables(fields, sources, fields.text("cells", "all", among=CELLS)),
        variants=_variants(fields),
        folds=fields.whole("folds", 5, least=2),
        seeds=fields.wholes("seeds", (0,), least=0),
        training_sizes=_sizes(fields),
        splits=fields.texts("splits", ("question",), among=SPLITS),
    )
    fields.finish()
    if faults:
        raise DataError(faults)
    return plan


def _tables(fields: Fields, sources: tuple[str, ...], cells: str) -> tuple[TablePlan, ...]:
    plans = []
    for table in fields.tables("tables"):
        plans.append(
            TablePlan(
                table.text("path"),
                table.texts("sources", sources),
                table.text("cells", cells, among=CELLS),
            )
        )
        if not plans[-1].sources:
            table.fault("a table's settings are selected", "no sources",
                        'give sources = ["prompt=sd"], for all tables or in this one')  # fmt: skip
        table.finish()
    if not plans:
        fields.fault("a study has at least one table", "none",
                     'add [[tables]] with path = "table.parquet"')  # fmt: skip
    fields.once("table", [plan.path for plan in plans])
    return tuple(plans)


def _variants(fields: Fields) -> tuple[Variant, ...]:
    """The yardsticks, the calibrators by their own names, then the named variants."""
    names = fields.texts("calibrators", (), among=tuple(REGISTRY))
    plain = [name for name in REGISTRY if name in {*ALWAYS, *names}]
    variants = [Variant(name, name) for name in plain]
    for table in fields.tables("variants"):
        calibrator = table.text("calibrator", among=tuple(REGISTRY))
        inference = table.text("inference", "", among=INFERENCES) or None
        chains = {
            name: table.whole(name, 0, least=1)
            for name in ("n_chains", "n_warmup", "n_draws")
            if name in table.values
        }
        if calibrator != "dirichlet" and (inference or chains):
            table.fault("inference and chains are the calibrator dirichlet's to choose",
                        f"them with {calibrator!r}", "remove them")  # fmt: skip
        variants.append(Variant(table.text("name"), calibrator, inference, chains or None))
        table.finish()
    fields.once("calibrator", [variant.name for variant in variants])
    return tuple(variants)


def _sizes(fields: Fields) -> tuple[int | None, ...]:
    given = fields.take("training_sizes")
    if given is None:
        return (None,)
    right = isinstance(given, list) and given and all(
        one == "all" or (type(one) is int and one >= 1) for one in given
    )  # fmt: skip
    if not right:
        fields.fault('training_sizes are numbers of questions from 1, or "all"', repr(given),
                     'write training_sizes = [5, 25, "all"]', "training_sizes")  # fmt: skip
        return (None,)
    fields.once("training size", [str(one) for one in given])
    return tuple(None if one == "all" else one for one in given)
