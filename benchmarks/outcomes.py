"""What a study left, as blocks of settings by questions whose means can be resampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from calib.errors import DataError, Fault
from calib.sources import sources_label
from calib.study.store import RESULTS, SUMMARY
from calib.survey import Setting

N_RESAMPLES: Final = 2000
SEED: Final = 0

Means = Float[np.ndarray, "resample setting"]
"""Of each setting in each resample; the first row is that of the questions themselves."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over resampled questions; NaN where undefined."""

    mean: float
    lo: float
    hi: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """The folder of one finished study."""

    name: str
    summary: dict[str, Any]
    frame: pd.DataFrame
    """Rows of the split by question."""

    @property
    def tables(self) -> list[str]:
        """Names of the tables that have results."""
        return list(dict.fromkeys(self.frame["table"]))

    def common(self, table: str) -> bool:
        """Whether all settings of a table have the same cells."""
        return table in self.summary.get("left_out", {})

    def calibrators(self, table: str) -> list[str]:
        """Names of the calibrators of a table."""
        return list(dict.fromkeys(self.frame.loc[self.frame["table"] == table, "calibrator"]))

    def sizes(self, table: str) -> list[str]:
        """Training sizes of a table, the smallest first and ``all`` last."""
        found = set(self.frame.loc[self.frame["table"] == table, "size"])
        return sorted(found, key=lambda size: (size == "all", int(size) if size != "all" else 0))

    def settings(self, table: str) -> list[Setting]:
        """Settings that are each a fit of their own."""
        there = set(self.frame.loc[self.frame["table"] == table, "sources"])
        found = [
            Setting(*row["settings"][0])
            for row in self.summary["rows"]
            if row["table"] == table and row["sources"] in there and len(row["settings"]) == 1
        ]
        return list(dict.fromkeys(found))

    def means(
        self,
        table: str,
        calibrator: str,
        settings: Sequence[Setting],
        score: str,
        *,
        size: str | None = None,
        over: str = "n_cells",
    ) -> Means:
        """Σ score / Σ cells of each setting, then the same for each resample of questions.

        The same questions are drawn for every setting and calibrator of a table, so that
        differences are paired. A setting with a failed part is NaN.

        Parameters
        ----------
        score
            Of a column ``sum_…`` of the results.
        size
            Training questions; the largest if None.
        over
            Column of the denominator.
        """
        kept = self.frame[
            (self.frame["table"] == table)
            & (self.frame["calibrator"] == calibrator)
            & (self.frame["size"] == (self.sizes(table)[-1] if size is None else size))
        ]
        questions = pd.MultiIndex.from_frame(
            self.frame.loc[self.frame["table"] == table, ["survey", "question_id"]]
            .drop_duplicates().sort_values(["survey", "question_id"])
        )  # fmt: skip
        above, below = (
            kept.groupby(["sources", "survey", "question_id"])[column].sum(min_count=1)
            for column in (f"sum_{score}", over)
        )
        drawn = _drawn(len(questions))
        columns = []
        for setting in settings:
            label = sources_label([setting])
            if label not in above.index.get_level_values(0) or self._failed(
                table, label, calibrator, size
            ):
                columns.append(np.full(len(drawn), np.nan))
                continue
            one, other = (
                part.loc[label].reindex(questions).fillna(0.0).to_numpy(float)
                for part in (above, below)
            )
            total = drawn @ other
            columns.append(np.divide(drawn @ one, total, out=np.full(len(drawn), np.nan),
                                     where=total > 0))  # fmt: skip
        return np.array(columns).T.reshape(len(drawn), len(settings))

    def _failed(self, table: str, label: str, calibrator: str, size: str | None) -> bool:
        return any(
            (one["table"], one["sources"], one["calibrator"]) == (table, label, calibrator)
            and one["split"] == "question"
            and one["size"] == (self.sizes(table)[-1] if size is None else size)
            for one in self.summary["failed"]
        )


def read_outcome(folder: Path) -> Outcome:
    """Read a study's folder; ``DataError`` where it is not a finished study's."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        frame = pd.read_parquet(folder / RESULTS)
        kept = frame[(frame["split"] == "question") & (frame["sources"] == frame["target"])]
        return Outcome(str(summary["study"]), summary, kept)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            Fault(
                rule=f"a finished study has {SUMMARY} and {RESULTS}",
                value=" ".join(str(error).split())[:200],
                remedy="name a folder that calib study run wrote, or finish it with resume",
            ),
            file=folder,
        ) from None


def estimate(values: Float[np.ndarray, " resample"]) -> Estimate:
    """The first value, and the 95 % percentile interval of the others."""
    drawn = values[1:]
    if np.isnan(drawn).any():
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def _drawn(n_questions: int) -> Float[np.ndarray, "resample question"]:
    """How often each question stands in each resample; once in the first."""
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(n_questions, np.full(n_questions, 1 / n_questions), N_RESAMPLES)
    return np.vstack([np.ones((1, n_questions)), drawn])
