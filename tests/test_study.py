"""Studies: the file, the grid and its keys, the splits, and what is summed up of the cells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import known_distortion, table

from calib.errors import DataError
from calib.evaluate import evaluate
from calib.files import write_table
from calib.modelfile import table_hash
from calib.paired import settings_of
from calib.scores import mse
from calib.study.cells import run_cells
from calib.study.grid import Batch, Cell, Grid, digest, expand
from calib.study.plan import Variant, study_plan
from calib.study.tables import notes_of, results_frame, summaries
from calib.survey import Setting
from calib.table import check_table, read_table

PLAN: Mapping[str, Any] = {
    "name": "tiny",
    "folds": 3,
    "calibrators": ["temperature"],
    "sources": ["prompt=sd"],
    "tables": [{"path": "t.parquet"}],
}


def raw_table(n_questions: int = 12) -> pd.DataFrame:
    return table(known_distortion(n_questions=n_questions, n_groups=3, n_sources=2))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of two surveys and four dates, and one without dates."""
    folder = tmp_path_factory.mktemp("data")
    frame = raw_table()
    number = frame["question_id"].str[1:].astype(int)
    frame["survey"] = np.where(number < 7, "one", "two")
    frame["date"] = "2024-0" + (1 + number % 4).astype(str) + "-15"
    write_table(frame, folder / "t.parquet")
    write_table(raw_table(), folder / "plain.parquet")
    return folder


def grid(data: Path, **changes: Any) -> Grid:
    return expand(study_plan({**PLAN, **changes}), data)


def run(of: Grid) -> list[dict[str, Any]]:
    return [done.result for batch in of.batches for done in run_cells(batch)]


def test_the_grid_by_hand(data: Path) -> None:
    cells = grid(data, training_sizes=[2, "all"], seeds=[0, 7]).cells
    # 2 settings, 3 folds, 3 yardsticks and temperature, 2 sizes, 2 seeds
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 3 * 4 * 2 * 2
    assert {cell.variant.name for cell in cells} == {
        "identity", "uniform", "train-mean", "temperature",
    }  # fmt: skip
    assert {(cell.sources, cell.target) for cell in cells} == {
        ((Setting(model, "verbalized", "sd"),),) * 2 for model in ("m0", "m1")
    }
    joined = grid(data, sources=["all,prompt=sd"]).cells
    assert len(joined) == 3 * 4 and len(joined[0].sources) == 2


def test_the_key_is_the_hash_of_the_canonical_json() -> None:
    setting = (Setting("m", "verbalized", "sd"),)
    cell = Cell(
        "t", "h", setting, setting, Variant("a", "ridge"), "question", "fold 1", 0, 5, None, 3
    )
    by_hand = (
        '{"folds":5,"number":0,"part":"fold 1","seed":3,"size":"all",'
        '"sources":[["m","verbalized","sd"]],"split":"question","table":"t","table_hash":"h",'
        '"target":[["m","verbalized","sd"]],'
        '"variant":{"calibrator":"ridge","chains":null,"inference":null,"name":"a"}}'
    )
    assert cell.key == hashlib.sha256(by_hand.encode()).hexdigest()[:16]
    assert digest({"b": "é", "a": 1}) == hashlib.sha256('{"a":1,"b":"é"}'.encode()).hexdigest()


def test_keys_follow_the_content_of_the_table(data: Path, tmp_path: Path) -> None:
    frame = read_table(data / "t.parquet")
    write_table(frame.sample(frac=1, random_state=1), tmp_path / "t.parquet")
    same = grid(tmp_path)
    assert [cell.key for cell in same.cells] == [cell.key for cell in grid(data).cells]
    assert same.tables == {"t.parquet": table_hash(frame)}
    write_table(frame.assign(n_human=50.0), tmp_path / "t.parquet")
    keys = {cell.key for cell in grid(tmp_path).cells}
    assert keys.isdisjoint(cell.key for cell in same.cells)


def questions(batch: Batch, rows: np.ndarray) -> set[str]:
    index = batch.test.index
    return {index.questions[number].id for number in index.question_of_row[rows]}


def leaks(batch: Batch) -> list[str]:
    """Parts that learn from a question they are scored on."""
    return [
        job.cell.part
        for job in batch.jobs
        if questions(batch, job.part.training) & questions(batch, job.part.test)
    ]


SPLITS = ("question", "survey", "group", "model", "date")


@pytest.mark.parametrize("split", SPLITS)
def test_no_part_learns_from_what_it_is_scored_on(split: str, data: Path) -> None:
    for batch in grid(data, splits=[split], training_sizes=[2, "all"]).batches:
        assert leaks(batch) == []
        for job in batch.jobs:
            part = job.part
            assert part.training.any() and part.scored.any()
            assert not (part.scored & ~part.test).any()


def test_a_part_that_learns_from_its_test_is_caught(data: Path) -> None:
    batch = grid(data).batches[0]
    batch.jobs[0].part.training[:] = True
    assert leaks(batch) == ["fold 1"]


@pytest.mark.parametrize(("split", "times"), [("question", 1), ("survey", 1), ("group", 1)])
def test_every_cell_is_scored_once(split: str, times: int, data: Path) -> None:
    for batch in grid(data, splits=[split]).batches:
        scored = sum(job.part.scored.astype(int) for job in batch.jobs)
        assert np.all(scored == times)


def test_a_left_out_group_is_in_no_training_and_alone_is_scored(data: Path) -> None:
    batch = grid(data, splits=["group"]).batches[0]
    assert len(batch.jobs) == 3 * 3
    index = batch.test.index
    for job in batch.jobs:
        scored = set(index.group_of_row[job.part.scored].tolist())
        assert len(scored) == 1 and job.cell.part.startswith(str(index.groups[min(scored)]))
        assert scored.isdisjoint(index.group_of_row[job.part.training].tolist())
        # The LLM's answers for the other groups are there to predict from.
        assert len(set(index.group_of_row[job.part.test].tolist())) == 3


def test_surveys_and_earlier_dates(data: Path) -> None:
    first = grid(data, splits=["survey"]).batches[0]
    assert [job.cell.part for job in first.jobs] == ["one", "two"]
    assert questions(first, first.jobs[1].part.training) == {f"q{i:03}" for i in range(7)}
    dated = grid(data, splits=["date"]).batches[0]
    assert [job.cell.part for job in dated.jobs] == ["2024-02-15", "2024-03-15", "2024-04-15"]
    for number, job in enumerate(dated.jobs, start=1):
        earlier = {f"q{i:03}" for i in range(12) if i % 4 < number}
        assert questions(dated, job.part.training) == earlier


@pytest.mark.parametrize("split", SPLITS)
def test_training_sets_are_nested_and_the_test_is_the_same(split: str, data: Path) -> None:
    batches = grid(data, splits=[split], training_sizes=[1, 3, "all"], calibrators=["ridge"])
    by_size = [[b for b in batches.batches if b.jobs[0].cell.size == n] for n in (1, 3, None)]
    for three in zip(*by_size, strict=True):
        for jobs in zip(*(batch.jobs for batch in three), strict=True):
            small, middle, whole = (questions(three[0], job.part.training) for job in jobs)
            assert (len(small), len(middle)) == (1, 3) and small < middle <= whole
            assert all(np.array_equal(job.part.scored, jobs[0].part.scored) for job in jobs)


def test_between_models_the_target_stands_under_the_sources_name(data: Path) -> None:
    found = grid(data, splits=["model"])
    assert {(c.sources[0].model, c.target[0].model) for c in found.cells} == {
        ("m0", "m1"), ("m1", "m0"),
    }  # fmt: skip
    first = next(batch for batch in found.batches if batch.jobs[0].cell.sources[0].model == "m0")
    assert first.training.elicited.settings == first.test.elicited.settings
    assert not np.array_equal(first.training.elicited.probs, first.test.elicited.probs)
    rows = {row["calibrator"]: row for row in summed(found) if row["sources"].startswith("m0")}
    own = {row["calibrator"]: row for row in summed(grid(data)) if row["sources"].startswith("m1")}
    # Identity is the target's own answer, and the train mean asks no LLM.
    for name in ("identity", "train-mean"):
        assert rows[name]["w1"] == own[name]["w1"]
    assert rows["temperature"]["w1"] != own["temperature"]["w1"]
    assert rows["temperature"]["counts"]["sources_relabelled"] == 3


def summed(of: Grid) -> list[dict[str, Any]]:
    results = run(of)
    return list(summaries(results_frame(results), results)["rows"])


def test_figures_are_those_of_evaluate(data: Path) -> None:
    rows = summed(grid(data, calibrators=["temperature", "simplex"]))
    frame = read_table(data / "t.parquet")
    expected = evaluate(
        frame,
        selections=[[setting] for setting in settings_of(frame)],
        calibrators=["temperature", "simplex"],
        folds=3,
        seed=0,
        table_name="t",
    ).as_dict()
    assert len(rows) == len(expected["rows"]) == 10
    for row, other in zip(rows, expected["rows"], strict=True):
        assert (row["sources"], row["calibrator"]) == (other["sources"], other["calibrator"])
        assert (row["n_questions"], row["n_cells"]) == (12, 36) == (
            other["n_questions"], other["n_cells"],
        )  # fmt: skip
        for score in ("oa", "w1", "kl_1e3", "tv"):
            assert row[score]["mean"] == pytest.approx(other[score], abs=1e-12)
        for score in ("jsd", "rps"):
            assert row[score] == pytest.approx(other[score], abs=1e-12)
        assert row["counts"] == other["counts"]
        assert row["w1_is_tv_cells"] == other["w1_is_tv_cells"] > 0
    for one in expected["differences"]:
        if one["b"] not in ("identity", "train-mean"):
            continue
        [row] = [r for r in rows if (r["sources"], r["calibrator"]) == (one["sources"], one["a"])]
        found = row["minus"][one["b"]][one["score"]]
        assert (found["mean"], found["lo"], found["hi"]) == pytest.approx(
            (one["mean"], one["lo"], one["hi"]), abs=1e-12
        )


def test_squared_errors_of_shares() -> None:
    pairs = known_distortion(n_questions=5)
    own = mse(pairs.human.probs, pairs.elicited.pooled(), pairs.index.mask)
    gap = pairs.human.probs - pairs.elicited.pooled()
    by_hand = [np.mean(row[offered] ** 2) for row, offered in zip(gap, pairs.index.mask)]  # noqa: B905
    np.testing.assert_allclose(own, by_hand, atol=1e-15)


def test_over_settings_by_hand(data: Path) -> None:
    results = run(grid(data))
    found = summaries(results_frame(results), results)
    [every] = [
        one
        for one in found["over_settings"]
        if (one["calibrator"], one["over"]) == ("temperature", "all")
    ]
    rows = [row for row in found["rows"] if row["calibrator"] == "temperature"]
    means = [row["kl_1e3"]["mean"] for row in rows]
    assert every["settings"] == 2
    assert every["after"]["kl_1e3"] == pytest.approx(
        {"mean": sum(means) / 2, "sd": abs(means[0] - means[1]) / np.sqrt(2)}
    )
    better = sum(row["minus"]["identity"]["kl_1e3"]["hi"] < 0 for row in rows)
    assert every["against"]["identity"]["kl_1e3"]["better"] == better == 2
    assert {one["over"] for one in found["over_settings"]} == {"all", "model=m0", "model=m1"}


def test_seeds_add_up_and_a_question_stays_one_cluster(data: Path) -> None:
    first, both = (summed(grid(data, seeds=seeds)) for seeds in ([0], [0, 1]))
    raw, twice = first[0], both[0]
    assert twice["n_cells"] == 2 * raw["n_cells"] and twice["n_questions"] == raw["n_questions"]
    # The raw LLM does not hang on the folds: the same mean, and no narrower interval.
    assert twice["w1"] == pytest.approx(raw["w1"], abs=1e-12)


def test_a_row_with_a_failed_part_has_no_scores(data: Path) -> None:
    results = run(grid(data))
    bad = next(i for i, one in enumerate(results) if one["cell"]["variant"]["name"] == "uniform")
    kept = {name: results[bad][name] for name in ("key", "cell")}
    results[bad] = {**kept, "error": {"type": "FitError", "message": "no"}}
    found = summaries(results_frame(results), results)
    row = next(row for row in found["rows"] if row["calibrator"] == "uniform")
    assert (row["parts"], row["parts_failed"], row["w1"], row["n_cells"]) == (3, 1, None, None)
    assert sum(note["parts_failed"] for note in notes_of(results).values()) == 1
    over = next(
        one
        for one in found["over_settings"]
        if (one["calibrator"], one["over"]) == ("uniform", "all")
    )
    assert (over["settings"], over["settings_failed"]) == (1, 1)


def faults(data: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        grid(data, **changes)
    assert all(fault.remedy for fault in caught.value.faults)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training_sizes": [9]}, "9 of 8"),
        ({"folds": 13}, "13 folds for 12 questions"),
        ({"sources": ["model=nobody"]}, "no model 'nobody'"),
        ({"sources": ["prompt=sd", "model=m0"]}, "by two"),
        ({"splits": ["elicitation"]}, "differ in elicitation alone"),
        ({"splits": ["model"], "sources": ["all,prompt=sd"]}, "differ in model alone"),
        ({"tables": [{"path": "none.parquet"}]}, "check the path"),
        ({"splits": ["survey"], "tables": [{"path": "plain.parquet"}]}, "needs two surveys"),
        ({"splits": ["date"], "tables": [{"path": "plain.parquet"}]}, "no date"),
    ],
)
def test_an_impossible_cell_is_named_before_anything_runs(
    changes: dict[str, Any], message: str, data: Path
) -> None:
    assert message in faults(data, **changes)


SHIPPED = Path(__file__).parents[1] / "benchmarks" / "studies"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_cells"),
    [
        ("main", 600),
        ("data_efficiency", 450),
        ("transfer", 1560),
        ("per_group", 720),
        ("joint", 480),
        ("meister", 1800),
        ("few_shot", 1920),
    ],
)
def test_shipped_studies_are_possible(name: str, n_cells: int, real_data: Path) -> None:
    from calib.study.plan import read_study

    assert len(expand(read_study(SHIPPED / f"{name}.toml"), real_data).cells) == n_cells


def test_a_wrong_date_is_told(tmp_path: Path) -> None:
    frame = check_table(raw_table(n_questions=6)).assign(date="soon")
    write_table(frame, tmp_path / "t.parquet")
    assert "year-month-day; found 'soon'" in faults(tmp_path, splits=["date"], folds=2)
