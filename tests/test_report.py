"""The report of a small evaluation written by hand, and how it refuses broken folders."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError
from calib.posterior_plots import group_effects, read_posterior, top_level
from calib.report import show, write_report
from calib.verdict import Difference, clustered_mean, finding_of, verdict

SOURCES = "gpt/verbalized/sd"
GROUPS = (("POLPARTY", "Democrat"), ("POLPARTY", "Republican"), ("SEX", "Female"))
OPTIONS = ("A great deal", "Some", "None <b>at all</b> $x$")
HOSTILE = "How much <script>alert('x')</script> & \"trust\" for $5?"
QUALITY = {"identity": 0.55, "uniform": 0.9, "train-mean": 0.45, "ridge": 0.4, "dirichlet": 0.2}


def row(name: str, w1: float, sources: str, *, floor: float, train_mean: float) -> dict[str, Any]:
    return {
        "sources": sources,
        "calibrator": name,
        "n_questions": 8,
        "n_cells": 24,
        "n_cells_unanswered": 2,
        "oa": 100 * (1 - w1),
        "w1": w1,
        "kl_1e3": 2 * w1,
        "tv": w1 * 1.2,
        "coverage_90": 0.887 if name == "dirichlet" else None,
        "gap_closed_w1": 0.4,
        "gap_closed_kl_1e3": 0.3,
        "floor_w1": floor,
        "floor_kl_1e3": floor,
        "floor_tv": floor,
        "llm_share_w1": (train_mean - w1) / (train_mean - floor),
        "llm_share_kl_1e3": (train_mean - w1) / (train_mean - floor),
        "acts": {"w1": "median_cumulative"} if name == "dirichlet" else None,
        "mean_act": {"oa": 80.0, "w1": 0.2, "kl_1e3": 0.1, "tv": 0.2},
        "counts": {"shares below 0 clipped": 3} if name == "ridge" else {},
        "trusted": False if name == "dirichlet" else None,
        "problems": ["R-hat of tau is 1.2 <i>"] if name == "dirichlet" else [],
        "model": None,
    }


def tables(
    sources: str, quality: dict[str, float], rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cells and predictions in which error grows with the calibrator's number in quality."""
    cells, predictions = [], []
    for q in range(8):
        for attribute, group in GROUPS:
            human, llm = rng.dirichlet([4, 3, 2]), rng.dirichlet([2, 1, 1])
            key = {
                "sources": sources,
                "fold": q % 2,
                "survey": "s",
                "question_id": f"q{q}",
                "attribute": attribute,
                "group": group,
                "n_human": 100.0,
            }
            for name, weight in quality.items():
                p = (1 - weight) * human + weight * llm
                w1 = float(np.abs(np.cumsum(p - human))[:2].sum() / 2)
                # KL is not computed here: any score that orders alike will do.
                scores = {"w1": w1, "kl_1e3": 2 * w1, "tv": w1, "jsd": w1, "rps": w1}
                cells.append(key | {"calibrator": name} | scores)
                predictions += [
                    key
                    | {
                        "calibrator": name,
                        "question": HOSTILE,
                        "scale": "ordinal",
                        "option_index": i,
                        "option": option,
                        "option_value": float(i),
                        "p_human": human[i],
                        "p_raw": llm[i],
                        "p_cal": p[i],
                        "p_cal_lo": np.nan,
                        "p_cal_hi": np.nan,
                    }
                    for i, option in enumerate(OPTIONS)
                ]
    return cells, predictions


def write_posterior(path: Path) -> None:
    import arviz_base

    rng = np.random.default_rng(1)
    shape = (2, 100)
    within = rng.normal(0.25, 0.02, (*shape, 1, 3))
    within[..., 2] = rng.normal(0.0, 0.1, (*shape, 1))
    values = {
        "beta_between": rng.normal(1, 0.1, (*shape, 1)),
        "tau": rng.gamma(20, 0.02, shape),
        "beta_between_group": rng.normal(1, 0.1, (*shape, 1, 3)),
        "beta_within_group": within,
        "log_floor": np.full((*shape, 1), np.log(0.02)),
    }
    effect = ["source", "group"]
    tree = arviz_base.from_dict(
        {"posterior": values},
        dims={
            "beta_between": ["source"],
            "beta_between_group": effect,
            "beta_within_group": effect,
            "log_floor": ["source"],
        },
        coords={"source": [SOURCES], "group": [f"{a}: {g}" for a, g in GROUPS]},
    )
    tree.to_netcdf(path, engine="h5netcdf")


def write_evaluation(
    folder: Path,
    *,
    quality: dict[str, float] = QUALITY,
    n_sources: int = 1,
    posterior: bool = True,
) -> Path:
    """An evaluation folder as ``calib evaluate`` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows, cells, predictions, differences = [], [], [], []
    for number in range(n_sources):
        sources = SOURCES if number == 0 else f"llm {number}/verbalized/sd"
        own_cells, own_predictions = tables(sources, quality, rng)
        cells += own_cells
        predictions += own_predictions
        mean = pd.DataFrame(own_cells).groupby("calibrator")["w1"].mean()
        rows += [
            row(name, float(mean[name]), sources, floor=0.01, train_mean=float(mean["train-mean"]))
            for name in quality
        ]
        if "dirichlet" in quality:
            differences.append(
                {"sources": sources, "a": "dirichlet", "b": "ridge", "score": "w1"}
                | {"mean": -0.02, "lo": -0.03, "hi": -0.01}
            )
    if posterior:
        model = folder / "models" / "1"
        model.mkdir(parents=True)
        write_posterior(model / "posterior.nc")
        for one in rows:
            if one["calibrator"] == "dirichlet" and one["sources"] == SOURCES:
                one["model"] = "models/1"
    results = {
        "table": "survey & <table>.parquet",
        "seed": 3,
        "folds": 2,
        "versions": {"opinion-calibration": "0.1.0", "python": "3.11.7"},
        "rows": rows,
        "differences": differences,
        "counts": {SOURCES: {"options": {"dont_know dropped": 5}}},
    }
    (folder / "results.json").write_text(json.dumps(results), "utf-8")
    pd.DataFrame(cells).to_parquet(folder / "cells.parquet", index=False)
    pd.DataFrame(predictions).to_parquet(folder / "predictions.parquet", index=False)
    return folder


class Page(HTMLParser):
    """Elements, their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("out") / "report.html"
    write_report(folder, out)
    return Page(out.read_text("utf-8"))


def test_the_page_needs_nothing_beside_it(page: Page) -> None:
    assert page.open == []
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for image in page.all("img"):
        assert (image["src"] or "").startswith("data:image/png;base64,")
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))


def test_every_picture_is_described_and_drawn_from_the_data(page: Page) -> None:
    alts = [image["alt"] or "" for image in page.all("img")]
    assert len(alts) == 2 + 1 + 1 + 3  # scatters, bars, forest, two parameters
    assert "Scatter of 72 option shares" in alts[0]
    assert "Democrat" in alts[2] and "Forest" in alts[3]
    bars = [one for one in page.all("div") if one.get("role") == "img"]
    assert len(bars) == 2 * 3 * 3  # two questions, three groups, human, raw and calibrated
    shares = re.findall(r"([\d.]+) %", bars[0]["aria-label"] or "")
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.2)


def test_text_from_files_is_text(page: Page) -> None:
    assert page.all("b") == []
    assert HOSTILE in page.text
    assert OPTIONS[2] in page.text
    assert "R-hat of tau is 1.2 <i>" in page.text
    assert "survey & <table>.parquet" in page.text


@pytest.mark.parametrize(
    "words",
    [
        "not respondents",
        "The LLM adds information: dirichlet beats the train mean.",
        "88.7 %",
        "not to be trusted",
        "ridge: shares below 0 clipped",
        "options: dont_know dropped",
        "pointwise median of the cumulative function",
        "dirichlet − ridge",
        "dirichlet is better",
        "3.11.7",
        "Seed 3",
        "no bounds: within may be 0",
        "3 of 3 top-level parameters",
    ],
)
def test_the_page_says(page: Page, words: str) -> None:
    assert words in " ".join(page.text.split())


def test_the_same_folder_gives_the_same_page(folder: Path, tmp_path: Path) -> None:
    write_report(folder, tmp_path / "a.html")
    write_report(folder, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_a_posterior_the_page_says_so(tmp_path: Path) -> None:
    quality = {name: QUALITY[name] for name in ("identity", "train-mean", "ridge")}
    write_evaluation(tmp_path / "e", quality=quality, posterior=False)
    write_report(tmp_path / "e", tmp_path / "r.html")
    html = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "dirichlet was not evaluated" in html.text
    assert len(html.all("img")) == 3


def test_an_llm_that_knows_nothing_is_said_to(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", quality=QUALITY | {"ridge": 0.45, "dirichlet": 0.45})
    write_report(tmp_path / "e", tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text("utf-8")).text
    assert "The LLM added nothing: the calibrated result is the human base rate." in text
    assert "The LLM adds information" not in text


def test_many_settings_are_folded_and_counted(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", n_sources=4)
    write_report(tmp_path / "e", tmp_path / "r.html")
    html = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "Figures are shown for the first 3 of 4 settings" in " ".join(html.text.split())
    assert "llm 3/verbalized/sd: The LLM adds information" in html.text
    targets = {one["id"] for tag in ("section", "details") for one in html.all(tag) if "id" in one}
    assert {(one["href"] or "")[1:] for one in html.all("a")} == targets


def test_an_introduction_stands_at_the_top(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "e")
    about = {"title": "A <demo>", "paragraphs": ["Real & simulated."]}
    (tmp_path / "e" / "about.json").write_text(json.dumps(about), "utf-8")
    write_report(tmp_path / "e", tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text("utf-8")).text
    assert text.index("A <demo>") < text.index("Real & simulated.") < text.index("not respondents")


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def truncate(name: str) -> Any:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def edit(change: Any) -> Any:
    def apply(folder: Path) -> None:
        results = json.loads((folder / "results.json").read_text("utf-8"))
        change(results)
        (folder / "results.json").write_text(json.dumps(results), "utf-8")

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        remove("results.json"),
        remove("cells.parquet"),
        remove("models/1/posterior.nc"),
        truncate("results.json"),
        truncate("predictions.parquet"),
        truncate("models/1/posterior.nc"),
        edit(lambda results: results.pop("rows")),
        edit(lambda results: results["rows"][0].pop("sources")),
        edit(lambda results: results["rows"][0].update(oa="high")),
        edit(lambda results: results["rows"][4].update(model="../../elsewhere")),
        edit(lambda results: results["differences"][0].pop("lo")),
        lambda folder: (
            pd.read_parquet(folder / "cells.parquet")
            .drop(columns="w1")
            .to_parquet(folder / "cells.parquet")
        ),
        lambda folder: (folder / "about.json").write_text("[1]"),
    ],
)
def test_a_broken_folder_is_refused_and_nothing_written(
    folder: Path, tmp_path: Path, damage: Any
) -> None:
    broken = shutil.copytree(folder, tmp_path / "e")
    damage(broken)
    with pytest.raises(DataError, match="remedy") as refused:
        write_report(broken, tmp_path / "r.html")
    assert str(broken) in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_an_empty_folder_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"an evaluation holds results\.json"):
        write_report(tmp_path, tmp_path / "r.html")


@pytest.mark.parametrize(
    ("gap", "share", "finding"),
    [
        (Difference(-0.1, -0.2, -0.05), 0.6, "adds"),
        (Difference(-0.001, -0.002, -0.0005), 0.01, "nothing"),
        (Difference(0.001, -0.01, 0.01), -0.01, "nothing"),
        (Difference(-0.01, -0.03, 0.01), 0.2, "unclear"),
        (Difference(0.1, 0.05, 0.2), -0.6, "harms"),
        (Difference(-0.1, -0.2, -0.05), float("nan"), "adds"),
        (None, 0.5, "unknown"),
    ],
)
def test_findings(gap: Difference | None, share: float, finding: str) -> None:
    assert finding_of(gap, share) == finding


def test_the_verdict_takes_reported_differences_either_way_round() -> None:
    rows = [row(n, w, "s", floor=0.0, train_mean=0.3) for n, w in (("train-mean", 0.3), ("x", 0.1))]
    reported = [
        {"a": "train-mean", "b": "x", "score": score, "mean": 0.2, "lo": 0.1, "hi": 0.3}
        for score in ("w1", "kl_1e3")
    ]
    columns = ["calibrator", "survey", "question_id", "attribute", "group", "w1", "kl_1e3"]
    found = verdict(rows, reported, pd.DataFrame(columns=columns), 0)
    assert (found.best, found.finding) == ("x", "adds")
    assert "-0.2000, 95 % interval -0.3000 to -0.1000" in found.sentences[1]


def test_the_bootstrap_resamples_questions_not_cells() -> None:
    # Ten questions of a hundred equal cells each: the error is that of ten values.
    means = np.random.default_rng(4).normal(size=10)
    values = pd.Series(np.repeat(means, 100))
    found = clustered_mean(values, pd.Series(np.repeat(np.arange(10), 100)), seed=0)
    half_width = 1.96 * means.std() / np.sqrt(10)
    assert found.mean == pytest.approx(means.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.1)
    by_cell = clustered_mean(values, pd.Series(np.arange(1000)), seed=0)
    assert (by_cell.high - by_cell.low) / 2 < half_width / 5


def test_the_mean_is_that_of_cells_when_questions_differ_in_size() -> None:
    found = clustered_mean(pd.Series([1.0, 1.0, 4.0, np.nan]), pd.Series([1, 1, 2, 3]), seed=0)
    assert found.mean == 2.0
    alone = clustered_mean(pd.Series([1.0, 3.0]), pd.Series([1, 1]), seed=0)
    assert alone.mean == 2.0 and np.isnan(alone.low)


def test_group_effects_are_quantiles_of_the_draws(folder: Path) -> None:
    posterior = read_posterior(folder / "models" / "1" / "posterior.nc")
    effects = group_effects(posterior)
    assert [effect.group for effect in effects] == [f"{a}: {g}" for a, g in GROUPS]
    draws = posterior["beta_within_group"].to_numpy()[:, :, 0, 0]
    assert effects[0].within == pytest.approx(np.quantile(draws, [0.5, 0.05, 0.95]))
    assert effects[0].exaggeration == pytest.approx(np.quantile(1 / draws, [0.5, 0.05, 0.95]))
    assert effects[2].exaggeration is None
    assert set(top_level(posterior)) == {"beta_between", "tau", "log_floor"}


def test_a_calibrator_that_only_beats_the_base_rate_is_not_said_to_beat_the_llm() -> None:
    quality = {"identity": 0.1, "train-mean": 0.3, "x": 0.1}
    rows = [row(n, w, "s", floor=0.0, train_mean=0.3) for n, w in quality.items()]
    cells = pd.DataFrame(tables("s", quality, np.random.default_rng(5))[0])
    found = verdict(rows, [], cells, 0)
    assert found.finding == "adds"
    assert "did not beat the raw LLM" in found.headline
    cells = pd.DataFrame(tables("s", quality | {"identity": 0.5}, np.random.default_rng(5))[0])
    assert "beats the raw LLM on W1 and KL" in verdict(rows, [], cells, 0).headline


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (-1e-9, "%", "0.0 %"),
        (-1e-9, "+.4f", "0.0000"),
        (None, ".2f", "–"),
        (float("nan"), "%", "–"),
        (0.5, "%", "50.0 %"),
        (-0.1, "+.4f", "-0.1000"),
    ],
)
def test_undefined_scores_are_dashes(value: float | None, style: str, text: str) -> None:
    assert show(value, style) == text
