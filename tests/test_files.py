"""Results appear whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from calib.errors import DataError
from calib.files import atomic_file, atomic_folder

MARKER = "model.json"


class Interrupted(BaseException):
    """As a key pressed in the middle of writing: not even an Exception."""


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its text, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_result(path: Path, text: str) -> None:
    with atomic_folder(path, marker=MARKER) as draft:
        (draft / MARKER).write_text(text, encoding="utf-8")
        (draft / "draws").mkdir()
        (draft / "draws" / "part").write_text(text, encoding="utf-8")


def test_a_file_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with atomic_file(path) as draft:
        draft.write_text("whole", encoding="utf-8")
        assert draft.suffix == ".csv"
        assert not path.exists()
    assert tree(tmp_path) == {"new/table.csv": "whole"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_a_failed_block_leaves_the_former_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("former", encoding="utf-8")
    with pytest.raises(error), atomic_file(path) as draft:
        draft.write_text("half", encoding="utf-8")
        raise error
    assert tree(tmp_path) == {"table.csv": "former"}


def test_a_file_may_be_read_by_those_who_may_read_its_neighbours(tmp_path: Path) -> None:
    neighbour, path = tmp_path / "a", tmp_path / "b"
    neighbour.touch()
    with atomic_file(path) as draft:
        draft.touch()
    write_result(tmp_path / "c", "x")
    (tmp_path / "d").mkdir()
    assert path.stat().st_mode == neighbour.stat().st_mode
    assert (tmp_path / "c").stat().st_mode == (tmp_path / "d").stat().st_mode
    assert stat.S_ISREG(path.stat().st_mode)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_result(path, "first")
    (path / "stale").touch()
    write_result(path, "second")
    assert tree(tmp_path) == {"model/model.json": "second", "model/draws/part": "second"}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    write_result(path, "x")
    assert (path / MARKER).exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_a_failed_block_leaves_the_former_folder(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "model"
    write_result(path, "former")
    before = tree(tmp_path)
    with pytest.raises(error), atomic_folder(path, marker=MARKER) as draft:
        (draft / MARKER).write_text("half", encoding="utf-8")
        raise error
    assert tree(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_foreign_folder_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match=r"model\.json.*name another folder"):
        write_result(tmp_path, "x")
    assert tree(tmp_path) == {"thesis.txt": "years of work"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("a file", encoding="utf-8")
    with pytest.raises(DataError, match="holds something else"):
        write_result(path, "x")
    assert path.read_text("utf-8") == "a file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.mkdir()
    with pytest.raises(DataError, match="is a folder"), atomic_file(path) as draft:
        draft.touch()
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="must be writable"),
        atomic_file(tmp_path / "file" / "table.csv"),
    ):
        pass


@pytest.mark.parametrize("name", [".", "..", "../here"])
def test_the_folder_at_hand_is_not_pulled_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    with pytest.raises(DataError, match=r"name a(nother)? folder"):
        write_result(Path(name), "x")
    assert list(tmp_path.rglob("*")) == [place]
