"""``calib fit`` with approximations and priors, and what ``calib diagnose`` says of them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from test_cli import calib, ok, refused

from calib.diagnostics import Diagnosis
from calib.files import write_table
from calib.show import show_diagnosis
from calib.simulate import simulate_survey
from calib.survey import Group

GROUPS = [Group("PARTY", name) for name in ("left", "right", "centre")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and a model fitted on it by its mode and curvature."""
    folder = tmp_path_factory.mktemp("fit")
    table = simulate_survey(n_questions=24, groups=GROUPS, n_options=(3, 4), seed=1).table
    write_table(table, folder / "table.parquet")
    done = ok("fit", folder / "table.parquet", "-o", folder / "model", "--inference", "laplace")
    (folder / "said.txt").write_text(done.stdout, encoding="utf-8")
    ok("fit", folder / "table.parquet", "-o", folder / "ridge", "--calibrator", "ridge")
    return folder


def test_a_fit_says_how_much_the_llm_exaggerates(folder: Path) -> None:
    said = (folder / "said.txt").read_text(encoding="utf-8")
    assert "exaggerates PARTY differences: " in said
    document = json.loads(ok("diagnose", folder / "model", "--json").stdout)
    factors = {one["group"]: one for one in document["exaggeration"]}
    assert set(factors) == {None, "left", "right", "centre"}
    # The simulator's slope is 0.3: some three times too large.
    assert factors[None]["factor_lo"] < 1 / 0.3 < factors[None]["factor_hi"]


def test_an_approximation_is_called_one(folder: Path) -> None:
    document = json.loads(ok("diagnose", folder / "model", "--json").stdout)
    assert document["inference"] == "laplace"
    assert document["r_hat_max"] is None


def test_a_model_can_be_the_prior_of_another(folder: Path) -> None:
    ok(
        "fit", folder / "table.parquet", "-o", folder / "second",
        "--inference", "laplace", "--prior", folder / "model",
    )  # fmt: skip
    content = json.loads((folder / "second" / "model.json").read_text(encoding="utf-8"))
    assert content["state"]["prior"] == "model"


def test_a_model_without_a_posterior_is_no_prior(folder: Path) -> None:
    said = refused(
        "fit", folder / "table.parquet", "-o", folder / "none", "--prior", folder / "ridge"
    )
    assert "only a model with a posterior can be a prior" in said
    assert not (folder / "none").exists()


@pytest.mark.parametrize("words", [("--inference", "laplace"), ("--prior", "model")])
def test_other_calibrators_have_neither(folder: Path, words: tuple[str, str]) -> None:
    option, value = words
    done = calib(
        "fit", folder / "table.parquet", "-o", folder / "none", "--calibrator", "ridge",
        option, folder / value if option == "--prior" else value,
    )  # fmt: skip
    assert done.exit_code == 1
    assert f"ridge has no {option.removeprefix('--')} to choose" in done.stderr


def test_figures_stand_beside_their_limits() -> None:
    parameters = [
        {"name": f"beta[{number}]", "ess_bulk": 100.0 * number} for number in (4, 1, 3, 2)
    ]
    diagnosis = Diagnosis(
        False, "nuts", ("R-hat",), 1.0234, 100.4, 250.0, 4, 1000, 3, 7, 0.8765, None, parameters
    )
    out = Console(record=True, width=100, file=io.StringIO())
    show_diagnosis("model", diagnosis, out)
    said = out.export_text()
    for figure, limit in (("1.023", "at most 1.01"), ("100", "at least 400"), ("3", "none")):
        assert re.search(rf"│ +{figure} │ +{limit} │", said), figure
    assert "4 chains of 1000 draws" in said
    assert "sampled again with smaller steps, after 7 divergent transitions" in said
    assert "slowest to mix: beta[1] (100 effective draws), beta[2]" in said
    assert "beta[4]" not in said
