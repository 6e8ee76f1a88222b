"""Predicted shares of groups as a file of joint draws, and read from whatever holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from calib.errors import DataError, Fault, FitError
from calib.files import atomic_file, write_netcdf
from calib.opinions import SUM_TOLERANCE
from calib.predictions import PREDICTION_KEY, Predicted, read_predictions
from calib.rules import CELL_KEY
from calib.table import read_frame

SUFFIX: Final = ".nc"
FORMAT_VERSION: Final = 1
TEXTS: Final = (*CELL_KEY, "option")
FLAGS: Final = ("in_training", "anchored")


@dataclass(frozen=True, eq=False)
class GroupShares:
    """Predicted shares of groups: joint draws of them, or points alone."""

    keys: pd.DataFrame
    """One row per cell and option: ``PREDICTION_KEY``, ``option`` (its label) and ``FLAGS``."""
    draws: Float[np.ndarray, "draw row"]
    """Rows of one question share the error of a draw; a cell without prediction is NaN."""
    joint: bool
    """False where there is one row of points in place of draws: nothing is known of errors."""

    @property
    def point(self) -> Float[np.ndarray, " row"]:
        """Mean over the draws."""
        return self.draws.mean(axis=0)

    def known(self) -> GroupShares:
        """Without the cells that have no prediction."""
        there = ~np.isnan(self.draws[0])
        return GroupShares(
            self.keys[there].reset_index(drop=True), self.draws[:, there], self.joint
        )


def write_draws(predicted: Predicted, path: str | Path) -> None:
    """Write the joint draws behind a table of predictions.

    ``FitError`` where the calibrator has no draws; see ``write_group_shares``.
    """
    if predicted.draws is None:
        raise FitError(
            "only calibrators with a posterior have draws; got one without; leave out --draws or "
            "fit with --calibrator dirichlet"
        )
    keys = predicted.table[[*PREDICTION_KEY, "option", *FLAGS]]
    write_group_shares(GroupShares(keys, predicted.draws, joint=True), path)


def write_group_shares(shares: GroupShares, path: str | Path) -> None:
    """Write joint draws as NetCDF (``.nc``), whole or not at all.

    ``share`` (draw × row) in single precision, rounded to seven digits, and the keys along
    ``row``.
    """
    import xarray

    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise DataError(
            Fault(
                f"a file of draws is NetCDF and called {SUFFIX}",
                repr(path.suffix),
                f"name it draws{SUFFIX}",
            ),
            file=path,
        )
    keys = shares.keys
    columns = {name: ("row", keys[name].to_numpy(dtype=object)) for name in TEXTS}
    columns |= {name: ("row", keys[name].to_numpy(dtype=np.int8)) for name in FLAGS}
    columns["option_index"] = ("row", keys["option_index"].to_numpy(dtype=np.int64))
    held = xarray.Dataset(
        {"share": (("draw", "row"), shares.draws.astype(np.float32))},
        coords=columns,
        attrs={"format_version": FORMAT_VERSION},
    )
    with atomic_file(path) as draft:
        write_netcdf(held, draft)


def read_group_shares(path: str | Path) -> GroupShares:
    """Draws of ``write_draws`` (``.nc``), or the points of a table of predictions.

    Draws of a cell are divided by their sum, which rounding left near one.

    Raises
    ------
    DataError
        Where the file is neither, has no row or no draw, keys recur, shares are negative or
        do not sum to one, or the points are not means: sums over groups are of means.
    """
    path = Path(path)
    return _read_draws(path) if path.suffix.lower() == SUFFIX else _read_points(path)


def _read_points(path: Path) -> GroupShares:
    typed = read_predictions(path)
    act = str(typed["act"].iloc[0]) if "act" in typed else "mean"
    if act != "mean":
        raise DataError(
            Fault(
                "what is added up over groups are means",
                f"predictions of the act {act}",
                "predict with --act mean, or write draws with --draws",
                "act",
            ),
            file=path,
        )
    frame = read_frame(path)
    label = frame["option"] if "option" in frame else frame["option_index"]
    flags = {name: typed.get(name, False) for name in FLAGS}
    keys = typed[PREDICTION_KEY].assign(option=label.astype(str).to_numpy(), **flags)
    keys["option_index"] = _whole(keys["option_index"], path)
    return GroupShares(keys, typed["p_cal"].to_numpy(dtype=float)[None], joint=False)


def _read_draws(path: Path) -> GroupShares:
    import xarray

    try:
        with xarray.open_dataset(path, engine="h5netcdf") as held:
            version = int(held.attrs["format_version"])
            shares = held["share"].to_numpy().astype(float)
            columns = {name: held[name].to_numpy() for name in (*TEXTS, "option_index", *FLAGS)}
    except Exception as error:
        # Readers of damaged NetCDF raise errors of many kinds.
        raise _broken(
            path, "a file of draws is complete as it was written", " ".join(str(error).split())
        ) from None
    if version != FORMAT_VERSION or shares.ndim != 2 or not shares.size:
        raise _broken(
            path,
            f"a file of draws has format version {FORMAT_VERSION}, rows and draws",
            f"version {version}, draws × rows of shape {shares.shape}",
        )
    order = [*PREDICTION_KEY, "option", *FLAGS]
    keys = pd.DataFrame(columns)[order].astype(
        dict.fromkeys(TEXTS, str) | dict.fromkeys(FLAGS, bool)
    )
    keys["option_index"] = _whole(keys["option_index"], path)
    if keys.duplicated(PREDICTION_KEY).any():
        raise _broken(path, "one row per group, question and option", "repeated keys")
    return GroupShares(keys, _closed(keys, shares, path), joint=True)


def _closed(
    keys: pd.DataFrame, shares: Float[np.ndarray, "draw row"], path: Path
) -> Float[np.ndarray, "draw row"]:
    cell = keys.groupby(CELL_KEY, sort=False).ngroup().to_numpy()
    total = np.zeros((len(shares), cell.max() + 1))
    np.add.at(total.T, cell, shares.T)
    # All draws of a cell without prediction are NaN, and so is their sum.
    nowhere = np.isnan(shares).all(axis=0)
    off = ((shares < 0) | (np.abs(total - 1.0) > SUM_TOLERANCE)[:, cell]).any(axis=0)
    wrong = off | (np.isnan(total[:, cell]).any(axis=0) & ~nowhere)
    if wrong.any():
        raise DataError(
            Fault(
                "draws of a cell are shares from 0 up that sum to one, or all NaN",
                f"other draws in {len(np.unique(cell[wrong]))} cells",
                "write the draws again with calib predict --draws",
                "share",
                tuple(np.flatnonzero(wrong).tolist()),
            ),
            file=path,
        )
    closed: np.ndarray = shares / total[:, cell]
    return closed


def _whole(column: pd.Series, path: Path) -> pd.Series:
    number = column.astype(float)
    bad = ~(number >= 0) | (number % 1 != 0)
    if bad.any():
        raise DataError(
            Fault(
                "option_index is a whole number from 0",
                f"{number[bad].iloc[0]:g}",
                "number the options as the paired table does",
                "option_index",
                tuple(np.flatnonzero(bad).tolist()),
            ),
            file=path,
        )
    return number.astype(np.int64)


def _broken(path: Path, rule: str, value: str) -> DataError:
    return DataError(
        Fault(rule, value[:200], "write it again with calib predict --draws"), file=path
    )
