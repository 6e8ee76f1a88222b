"""Reading toplines: what they become, and every fault with its rule, value and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import toy_table

from calib.errors import DataError
from calib.files import write_table
from calib.paired import pair
from calib.survey import Setting
from calib.table import check_table
from calib.toplines import Toplines, check_toplines, read_toplines

TABLE = check_table(toy_table())
SHARES = {"q1": (0.3, 0.2, 0.4, 0.1), "q2": (0.25, 0.75), "q3": (0.5, 0.5, 0.0)}
"""The last option of q1 is a refusal."""


def toplines(n: float | None = 1000.0) -> pd.DataFrame:
    """All three questions: rows 0-3 are of q1, 4-5 of q2, 6-8 of q3."""
    frame = pd.DataFrame(
        [
            {"survey": "toy", "question_id": key, "option_index": option, "p_human": share}
            for key, shares in SHARES.items()
            for option, share in enumerate(shares)
        ]
    )
    return frame if n is None else frame.assign(n_human=n)


def checked(frame: pd.DataFrame) -> Toplines:
    return check_toplines(frame, TABLE, pair(TABLE).index.questions)


def test_options_that_are_no_answer_are_dropped_as_in_the_paired_table() -> None:
    found, counts = checked(toplines())
    assert found.index.questions == pair(TABLE).index.questions
    np.testing.assert_allclose(
        found.probs, [[3 / 9, 2 / 9, 4 / 9], [0.25, 0.75, 0.0], [0.5, 0.5, 0.0]]
    )
    np.testing.assert_allclose(np.asarray(found.n), [900.0, 1000.0, 1000.0])
    assert counts == {
        "toplines": 3,
        "topline_non_substantive_options_dropped": 1,
        "toplines_renormalised": 1,
        "toplines_without_substantive_answer": 0,
        "toplines_taken_as_exact": 0,
    }


def test_refusals_and_sample_sizes_may_be_absent() -> None:
    frame = toplines(n=None).drop(index=3)
    frame.loc[:2, "p_human"] = [0.3, 0.3, 0.4]
    found, counts = checked(frame.assign(note="further columns are ignored"))
    np.testing.assert_allclose(found.probs[0], [0.3, 0.3, 0.4])
    assert np.isnan(np.asarray(found.n)).all()
    assert counts["toplines_taken_as_exact"] == 3
    assert counts["topline_non_substantive_options_dropped"] == 0


def test_rounded_shares_are_closed_and_counted_and_only_refusals_are_no_topline() -> None:
    frame = toplines()
    frame["p_human"] = [0.0, 0.0, 0.0, 1.0, 0.254, 0.75, 0.5, 0.5, 0.0]
    found, counts = checked(frame)
    assert found.known.tolist() == [False, True, True]
    np.testing.assert_allclose(found.probs[1].sum(), 1.0)
    assert counts["toplines_renormalised"] == 1
    assert counts["toplines_without_substantive_answer"] == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_files_of_all_formats_say_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"toplines{suffix}"
    write_table(toplines().sample(frac=1.0, random_state=1), path)
    found, expected = read_toplines(path, TABLE), checked(toplines())
    np.testing.assert_array_equal(found.opinions.probs, expected.opinions.probs)
    assert found.counts == expected.counts


Damage = Callable[[pd.DataFrame], pd.DataFrame]


def put(column: str, row: int, value: object) -> Damage:
    def damage(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.loc[row, column] = value
        return changed

    return damage


def without(row: int) -> Damage:
    return lambda frame: frame.drop(index=row).reset_index(drop=True)


FAULTS: dict[str, tuple[Damage, str, str, tuple[int, ...]]] = {
    "unknown question": (put("question_id", 4, "q9"), "question_id", "toy/q9", (4,)),
    "no question": (put("survey", 4, None), "question_id", "/q2", (4,)),
    "another survey": (lambda f: f.assign(survey="x"), "question_id", "x/q1", tuple(range(9))),
    "unknown option": (put("option_index", 8, 7), "option_index", "7 of toy/q3", (8,)),
    "half an option": (put("option_index", 8, 1.5), "option_index", "1.5 of", (8,)),
    "empty option": (put("option_index", 8, None), "option_index", "nan of", (8,)),
    "worded option": (put("option_index", 8, "last"), "option_index", "'last'", (8,)),
    "repeated option": (put("option_index", 5, 0), "option_index", "more than once", (4, 5)),
    "missing option": (without(8), "option_index", "none for option 2 of toy/q3", (6, 7)),
    "negative share": (put("p_human", 0, -0.1), "p_human", "-0.1", (0,)),
    "percentage": (put("p_human", 0, 30.0), "p_human", "30", (0,)),
    "infinite share": (put("p_human", 0, np.inf), "p_human", "inf", (0,)),
    "empty share": (put("p_human", 0, None), "p_human", "nan", (0,)),
    "worded share": (put("p_human", 0, "many"), "p_human", "'many'", (0,)),
    "sum": (put("p_human", 0, 0.31), "p_human", "1.01 for toy/q1", (0, 1, 2, 3)),
    "no respondents": (lambda f: f.assign(n_human=0.0), "n_human", "0", tuple(range(9))),
    "worded n": (put("n_human", 4, "some"), "n_human", "'some'", (4,)),
    "two sizes": (put("n_human", 4, 7.0), "n_human", "several for toy/q2", (4, 5)),
    "a size in some rows": (put("n_human", 4, None), "n_human", "several for toy/q2", (4, 5)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_once_with_its_rows_and_a_remedy(name: str) -> None:
    damage, column, value, rows = FAULTS[name]
    with pytest.raises(DataError) as caught:
        checked(damage(toplines()))
    [fault] = [one for one in caught.value.faults if one.column == column]
    assert value in fault.value and fault.rows == rows
    assert fault.rule and fault.remedy
    # A moved row is missing from its own question as well; nothing else is told.
    assert {one.column for one in caught.value.faults} <= {column, "option_index"}


def test_all_faults_are_told_at_once_and_with_the_file(tmp_path: Path) -> None:
    frame = toplines()
    for name in ("unknown option", "percentage", "two sizes"):
        frame = FAULTS[name][0](frame)
    write_table(frame.astype(float, errors="ignore"), tmp_path / "bad.csv")
    with pytest.raises(DataError, match=r"bad\.csv: 3 faults") as caught:
        read_toplines(tmp_path / "bad.csv", TABLE)
    assert {fault.column for fault in caught.value.faults} == {"option_index", "p_human", "n_human"}


@pytest.mark.parametrize("column", ["survey", "question_id", "option_index", "p_human"])
def test_columns_that_are_not_there(column: str) -> None:
    with pytest.raises(DataError, match=f"found no column {column}; remedy"):
        checked(toplines().drop(columns=column))


def test_no_rows() -> None:
    with pytest.raises(DataError, match="found no row; remedy"):
        checked(toplines().iloc[:0])


def test_sources_that_the_table_lacks_are_no_fault_of_the_toplines(tmp_path: Path) -> None:
    write_table(toplines(), tmp_path / "toplines.csv")
    with pytest.raises(DataError, match="sources are settings") as caught:
        read_toplines(tmp_path / "toplines.csv", TABLE, [Setting("other", "verbalized", "sd")])
    assert caught.value.file is None
