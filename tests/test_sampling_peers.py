"""The models that are timed beside each other are one posterior, and the figures mean it."""

from __future__ import annotations

from math import pi, sqrt
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import dirichlet, gamma, lognorm, norm

from benchmarks.samplers import ours, stan_model
from benchmarks.samplers.child import Lengths
from benchmarks.samplers.compare import (
    agreement,
    density_spread,
    expected_largest,
    largest_at,
    summary_of,
)
from benchmarks.samplers.problem import (
    PARTS,
    SCALE_TERMS,
    SLOPES,
    TOP_LEVEL,
    Point,
    Problem,
    load_points,
    load_problem,
    random_point,
    save_points,
)
from benchmarks.sampling_peers import TOLERANCE, compare, report_lines, speed, table_of
from calib.paired import Paired, pair
from calib.simulate import Truth, simulate_survey
from calib.survey import Group

GROUPS = [
    Group("PARTY", "left"),
    Group("PARTY", "right"),
    Group("SEX", "women"),
    Group("SEX", "men"),
    Group("NATION", "all"),
]
GROUPS_SORTED = sorted(GROUPS)


@pytest.fixture(scope="module")
def training() -> Paired:
    simulated = simulate_survey(
        n_questions=7, groups=GROUPS, n_options=(2, 3, 5), truth=Truth(n_labels=9), seed=4
    )
    # A question that was not put to everybody.
    frame = simulated.table
    return pair(frame[~((frame["question_id"] == "q002") & (frame["group"] == "men"))])


@pytest.fixture(scope="module")
def problem(training: Paired) -> Problem:
    return ours.problem_of(training)


@pytest.fixture(scope="module")
def points(problem: Problem) -> list[Point]:
    rng = np.random.default_rng(0)
    return [random_point(problem, rng) for _ in range(6)]


def test_peers_average_over_the_groups_of_an_attribute(problem: Problem) -> None:
    # Slots are groups in order: NATION alone, PARTY and SEX two each, and in one question
    # one of SEX, who then has nobody to be averaged with.
    whole = np.zeros((5, 5))
    whole[1:3, 1:3] = whole[3:5, 3:5] = 0.5
    np.testing.assert_allclose(problem.peers[0], whole)
    asked = problem.n_slots == 4
    assert asked.sum() == 1
    whole[3:5, 3:5] = 0.0
    np.testing.assert_allclose(problem.peers[asked][0], whole)


@pytest.fixture(scope="module")
def our_densities(training: Paired, points: list[Point]) -> list[float]:
    return ours.densities(training, points)


def density_by_hand(problem: Problem, at: Point) -> float:
    """From the formulas of ``calib.models.dirichlet_regression``, cell by cell."""
    total = 0.0
    for names, priors in ((SLOPES, problem.slopes), (SCALE_TERMS, problem.scale_terms)):
        for name, prior in zip(names, priors, strict=True):
            total += norm.logpdf(at[name], *prior)
    total += norm.logpdf(at["shape_logit"], 0.0, problem.shape_spread).sum()
    total += gamma.logpdf(
        at["sd_label"], problem.label_spread[0], scale=1 / problem.label_spread[1]
    )
    total += norm.logpdf(at["label_unit"]).sum()
    for name, (loc, scale) in (("kappa", problem.log_kappa), ("phi", problem.log_phi)):
        total += lognorm.logpdf(at[name], scale, scale=np.exp(loc))
    off, (shape, rate) = {}, problem.group_spread
    for part in PARTS:
        spread, unit = at[f"sd_{part}"], at[f"unit_{part}"]
        total += gamma.logpdf(spread, shape, scale=1 / rate)
        total += -0.5 * np.square(unit).sum()
        off[part] = spread * unit
    floor = np.exp(at["log_floor"])
    label = np.append(0.0, at["sd_label"] * at["label_unit"])
    for q, (k, s) in enumerate(zip(problem.n_options, problem.n_slots, strict=True)):
        z, z2 = problem.place[q, :k], problem.curve[q, :k]
        logs = np.log1p(1 / 0.02) / np.log1p(1 / floor) * np.log(problem.probs[q, :s, :k] + floor)
        logs -= logs.mean(axis=1, keepdims=True)
        mean = logs.mean(axis=0)
        line = at["beta_between"] * mean + at["scale_linear"] * z + at["scale_curve"] * z2
        line += at["shape_logit"][problem.shape[q], :k] + label[problem.label[q, :k]]
        expected = np.exp(line) / np.exp(line).sum()
        shares = at["shares"][q, :k]
        total += dirichlet.logpdf(shares / shares.sum(), at["kappa"] * expected)
        groups = [GROUPS_SORTED[number] for number in problem.group[q, :s]]
        for slot, group in enumerate(groups):
            own = logs[slot] - mean
            peers = [other for other, one in enumerate(groups) if one.attribute == group.attribute]
            common = (logs[peers] - mean).mean(axis=0) if len(peers) > 1 else np.zeros(k)
            g = problem.group[q, slot]
            eta = np.log(shares) + at["beta_contradiction"] * common
            eta += (at["beta_within"] + off["within"][g]) * (own - common)
            eta += off["between"][g] * mean
            eta += off["scale_linear"][g] * z + off["scale_curve"][g] * z2
            a = at["phi"] * np.exp(eta) / np.exp(eta).sum()
            n = problem.counts[q, slot, :k]
            total += (gammaln(n + a) - gammaln(a)).sum()
            total += gammaln(a.sum()) - gammaln(a.sum() + n.sum())
    return float(total)


def test_our_density_is_the_formula(
    our_densities: list[float], problem: Problem, points: list[Point]
) -> None:
    expected = [density_by_hand(problem, point) for point in points]
    assert np.ptp(expected) > 10  # nats: there is something to agree on
    assert np.ptp(np.subtract(our_densities, expected)) < TOLERANCE


def test_another_prior_is_another_posterior(
    our_densities: list[float], problem: Problem, points: list[Point]
) -> None:
    # The twin: each of these small departures must be seen.
    for changed in (
        problem._replace(log_phi=problem.log_phi * np.array([1.0, 1.01])),
        problem._replace(shape_spread=problem.shape_spread * 1.01),
        problem._replace(counts=problem.counts * 1.001),
        problem._replace(curve=problem.curve * 1.01),
    ):
        other = [density_by_hand(changed, point) for point in points]
        assert np.ptp(np.subtract(our_densities, other)) > 1e-3


@pytest.mark.filterwarnings("ignore")  # on importing PyMC and ArviZ 0.x
def test_pymc_has_the_same_density(
    our_densities: list[float], problem: Problem, points: list[Point]
) -> None:
    pytest.importorskip("pymc")
    from benchmarks.samplers import pymc_model

    def spread(one: Problem) -> float:
        found = {"ours": our_densities, "pymc": pymc_model.densities(one, points)}
        return float(next(density_spread(found))["spread"])

    assert spread(problem) < TOLERANCE
    assert spread(problem._replace(label_spread=problem.label_spread * 1.01)) > 1e-3


def test_the_stan_program_names_all_that_it_is_given(problem: Problem) -> None:
    program, data = stan_model.program_of(problem), stan_model.data_of(problem)
    assert "of each size" not in program
    declared = program.split("data {")[1].split("parameters {")[0]
    assert all(f" {name};" in declared for name in data)
    basis = stan_model.sum_zero_basis(5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=0), 0.0, atol=1e-12)


def test_problem_and_points_come_back(
    problem: Problem, points: list[Point], tmp_path: Path
) -> None:
    problem.save(tmp_path / "problem.npz")
    save_points(points, tmp_path / "points.npz")
    for found, expected in zip(load_problem(tmp_path / "problem.npz"), problem, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(load_points(tmp_path / "points.npz"), points, strict=True):
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_what_the_peers_cannot_model_is_refused(problem: Problem) -> None:
    mask = problem.mask.copy()
    mask[0, 0, 0] = False
    with pytest.raises(ValueError, match="come first"):
        problem._replace(mask=mask).check()
    with pytest.raises(ValueError, match="labels that recur; got 5 groups and 0 labels"):
        problem._replace(n_labels=np.array(0)).check()


def test_the_largest_of_normals() -> None:
    assert expected_largest(1) == pytest.approx(sqrt(2 / pi))
    assert expected_largest(2) == pytest.approx(2 / sqrt(pi))
    drawn = np.abs(np.random.default_rng(0).normal(size=(40_000, 30))).max(axis=1)
    assert expected_largest(30) == pytest.approx(drawn.mean(), abs=0.01)
    assert largest_at(0.9, 30) == pytest.approx(np.quantile(drawn, 0.9), abs=0.03)


def draws_of(seed: int, **shift: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(size=(2, 500)) + shift.get(name, 0.0) for name in TOP_LEVEL}
    return found | {"shape_logit": rng.normal(size=(2, 500, 2, 3))}


def test_equal_posteriors_agree_and_others_do_not() -> None:
    existing = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    one, other = (summary_of(draws_of(seed), existing) for seed in (1, 2))
    assert len(one) == len(TOP_LEVEL) - 1 + len(existing)
    assert all(600 < row["ess_bulk"] < 1700 for row in one)
    assert one[0]["mcse_mean"] == pytest.approx(1 / sqrt(1000), rel=0.2)
    (found,) = agreement({"one": one, "other": other})
    assert max(found["z_mean"], found["z_sd"]) < found["limit_z"]
    moved = summary_of(draws_of(2, kappa=0.4), existing)
    (found,) = agreement({"one": one, "moved": moved})
    assert found["z_mean"] > found["limit_z"]
    assert found["worst_mean"] == "kappa"


def test_the_report_puts_ratios_first() -> None:
    ran = {}
    for name, seconds in (("numpyro", 1.0), ("nutpie", 12.0)):
        found = {
            "parameters": summary_of(draws_of(1), [(0, 0)]),
            "compile_seconds": seconds,
            "sample_seconds": seconds,
            "n_warmup": 200,
            "n_steps": 7.0,
            "diverging": 0,
            "peak_mib": 500.0,
            "peak_mib_of_largest_child": 0.0,
        }
        ran[name] = found | speed(found)
    document = {
        "table": "simulated",
        "questions": 7,
        "groups": 5,
        "cells": 34,
        "lengths": {"n_chains": 2, "n_draws": 500},
        "samplers": ran | {"stan": {"skipped": "No module named 'stan'"}},
        "densities": [{"a": "numpyro", "b": "nutpie", "spread": 1e-9}],
        "agreement": list(agreement({name: one["parameters"] for name, one in ran.items()})),
    }
    text = "\n".join(report_lines(document))
    assert "| nutpie | 12.0 | 12.0 | 1.00 |" in text
    assert "stan was skipped: No module named 'stan'." in text
    assert text.index("nutpie | 12.0") < text.index("| numpyro | 1.0")


@pytest.mark.parametrize("apart", [0.0, 1e-4])
def test_nothing_is_sampled_unless_the_densities_are_one(
    apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[str] = []
    rng = np.random.default_rng(3)

    def child(name: str, folder: Path, python: str, spec: dict[str, Any]) -> dict[str, Any]:
        n_points = len(load_points(folder / "points.npz"))
        if name == "stan":
            return {"skipped": "ModuleNotFoundError: No module named 'stan'"}
        if spec["only"] == "densities":
            here = apart if name == "nutpie" else 0.0
            return {"densities": [number * (1.0 + here) for number in range(n_points)]}
        sampled.append(name)
        shapes = load_problem(folder / "problem.npz").mask.shape[2]
        draws = draws_of(len(sampled)) | {"shape_logit": rng.normal(size=(2, 500, 9, shapes))}
        np.savez(folder / f"{name}.npz", **draws)
        return {"compile_seconds": 1.0, "sample_seconds": 2.0}

    monkeypatch.setattr("benchmarks.sampling_peers.run_child", child)
    frame, name = table_of(None, 0)
    assert name.startswith("simulated")
    arguments = (frame, ("numpyro", "nutpie", "stan"), "python", Lengths(2, 500, None), 0)
    if apart:
        with pytest.raises(click.ClickException, match="nothing was sampled"):
            compare(*arguments)
        assert sampled == []
        return
    found = compare(*arguments)
    assert sampled == ["numpyro", "nutpie"]
    assert found["samplers"]["stan"] == {"skipped": "ModuleNotFoundError: No module named 'stan'"}
    assert found["samplers"]["numpyro"]["ess_per_second"] > 300
    assert (found["questions"], found["groups"], found["cells"]) == (60, 14, 840)
    (pair_of,) = found["agreement"]
    assert (pair_of["a"], pair_of["b"]) == ("numpyro", "nutpie")
