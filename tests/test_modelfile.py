from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import known_distortion, table

from calib.base import REGISTRY, make_calibrator
from calib.errors import DataError
from calib.files import write_table
from calib.modelfile import MARKER, load_model, save_model, table_hash
from calib.paired import Paired
from calib.table import check_table, read_table

SAMPLED = {"dirichlet"}
"""Takes a posterior; saved and read in its own tests."""


@pytest.fixture(scope="module")
def pairs() -> Paired:
    return known_distortion(n_questions=12, n_groups=3, n_sources=2)


def saved(name: str, pairs: Paired, folder: Path) -> Path:
    model = make_calibrator(name).fit(pairs, seed=3)
    save_model(model, folder, paired=pairs, seed=3, table_name="t.csv", data_hash="abc")
    return folder


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - SAMPLED))
def test_a_model_read_back_predicts_the_same(name: str, pairs: Paired, tmp_path: Path) -> None:
    expected = make_calibrator(name).fit(pairs, seed=3).predict(pairs.elicited)
    model = load_model(saved(name, pairs, tmp_path / "model"))
    found = model.calibrator.predict(pairs.elicited)
    np.testing.assert_array_equal(found.opinions.probs, expected.opinions.probs)
    assert model.trained_on == set(pairs.index.question_keys)
    assert (model.seed, model.table_name, model.data_hash) == (3, "t.csv", "abc")
    base = make_calibrator("train-mean").fit(pairs).predict(pairs.elicited)
    again = model.train_mean.predict(pairs.elicited)
    np.testing.assert_array_equal(again.opinions.probs, base.opinions.probs)


def test_only_questions_that_were_learnt_from_count_as_training(
    pairs: Paired, tmp_path: Path
) -> None:
    some = pairs.take(pairs.index.question_of_row < 4)
    assert len(load_model(saved("ridge", some, tmp_path / "model")).trained_on) == 4


def edit(folder: Path, **changes: object) -> None:
    content = json.loads((folder / MARKER).read_text("utf-8"))
    (folder / MARKER).write_text(json.dumps(content | changes), "utf-8")


def test_another_version_is_refused(pairs: Paired, tmp_path: Path) -> None:
    folder = saved("ridge", pairs, tmp_path / "model")
    edit(folder, format_version=2)
    with pytest.raises(DataError, match="format version 1; found 2; remedy: fit"):
        load_model(folder)


@pytest.mark.parametrize(
    "changes",
    [{"calibrator": "magic"}, {"state": {}}, {"settings": [["a"]]}, {"train_mean": None}],
)
def test_broken_content_is_refused(
    changes: dict[str, object], pairs: Paired, tmp_path: Path
) -> None:
    folder = saved("ridge", pairs, tmp_path / "model")
    edit(folder, **changes)
    with pytest.raises(DataError, match="model"):
        load_model(folder)


def test_missing_and_truncated_files_are_refused(pairs: Paired, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=MARKER):
        load_model(tmp_path / "nothing")
    folder = saved("forest", pairs, tmp_path / "model")
    others = [path for path in folder.iterdir() if path.name != MARKER]
    assert others, "a forest has a file of its own"
    kept = others[0].read_bytes()
    others[0].write_bytes(kept[: len(kept) // 2])
    with pytest.raises(DataError):
        load_model(folder)
    others[0].unlink()
    with pytest.raises(DataError):
        load_model(folder)
    text = (folder / MARKER).read_text("utf-8")
    (folder / MARKER).write_text(text[:100], "utf-8")
    with pytest.raises(DataError, match=MARKER):
        load_model(folder)


def test_a_folder_of_something_else_is_not_written_over(pairs: Paired, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError):
        saved("ridge", pairs, folder)
    assert (folder / "thesis.txt").exists()
    shutil.rmtree(folder)
    saved("ridge", pairs, saved("lasso", pairs, folder))
    assert load_model(folder).calibrator.name == "ridge"


def test_the_hash_is_of_the_content(pairs: Paired, tmp_path: Path) -> None:
    frame = check_table(table(pairs))
    write_table(frame.sample(frac=1, random_state=1), tmp_path / "t.csv")
    assert table_hash(read_table(tmp_path / "t.csv")) == table_hash(frame)
    other = frame.copy()
    other.loc[0, "n_human"] += 1
    assert table_hash(other) != table_hash(frame)
