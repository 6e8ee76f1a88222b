"""The tables [model] and [ask]: what they mean, and everything wrong with them at once."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from calib.errors import DataError
from elicit.budget import Prices
from elicit.plan import AskPlan, ModelPlan, example_plan, read_plan

FAKE = {"fake": True}


def plan(model: Any = FAKE, **ask: Any) -> tuple[ModelPlan, AskPlan]:
    return read_plan({"survey": "s", "model": model, "ask": ask})


def faults(model: Any = FAKE, **ask: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        plan(model, **ask)
    return [str(fault) for fault in raised.value.faults]


def test_an_endpoint() -> None:
    model, ask = plan(
        {
            "name": "m",
            "base_url": "http://localhost:8000/v1",
            "api_key_env": "MY_KEY",
            "api": "completions",
            "timeout": 5,
        },
        elicitation=["verbalized", "self_random"],
        template="base",
        orders="rotations",
        draws={"self_random": 10},
        temperature=0.5,
        max_tokens=900,
        at_once=32,
        requests_per_minute=500,
        tokens_per_minute=1e5,
        prices={"in": 0.15, "out": 0.6},
        paraphrases={"q1": ["a", "b"]},
    )
    assert model == ModelPlan(
        kind="http",
        name="m",
        base_url="http://localhost:8000/v1",
        api_key_env="MY_KEY",
        api="completions",
        timeout=5.0,
    )
    assert ask.elicitations == ("verbalized", "self_random")
    assert ask.templates == ("base",)
    assert (ask.orders, ask.at_once) == ("rotations", 32)
    assert ask.draws == {"self_random": 10}
    assert ask.temperature == {"verbalized": 0.5, "self_random": 0.5}
    assert ask.max_tokens == {"verbalized": 900, "self_random": 900}
    assert (ask.requests_per_minute, ask.tokens_per_minute) == (500.0, 1e5)
    assert ask.prices == Prices(0.15, 0.6)
    assert ask.paraphrases == {"q1": ("a", "b")}


def test_models_in_this_process() -> None:
    assert plan({"gguf": "bundled"})[0] == ModelPlan(kind="gguf")
    assert plan({"gguf": "/m.gguf", "name": "m"})[0] == ModelPlan("gguf", name="m", gguf="/m.gguf")
    assert plan(FAKE)[0] == ModelPlan(kind="fake", fake={})
    fake = {"noise": 0.5, "seed": 3}
    assert plan({"fake": fake})[0].fake == fake


def test_without_ask_everything_is_at_its_default() -> None:
    assert read_plan({"model": FAKE})[1] == AskPlan()


def test_the_example_is_a_plan() -> None:
    document = tomllib.loads(example_plan())
    model, ask = read_plan(document)
    assert model.kind == "http"
    assert ask.elicitations == ("verbalized",)


def test_the_examples_commented_lines_are_right_too() -> None:
    lines = example_plan().splitlines()
    settings = [line[2:] for line in lines if line.startswith("# ") and " = " in line[:24]]
    assert len(settings) >= 8
    text = "\n".join(settings)
    ask = tomllib.loads(text[text.index("draws") :])
    plan(**ask)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, "has a table [model]"),
        ({}, "none of them"),
        ({"base_url": "http://x/v1"}, "none of them"),
        ({"gguf": "bundled", "fake": True}, "gguf, fake"),
        ({"fake": True, "base_url": "http://x/v1"}, "base_url beside fake"),
        ({"name": "m", "api": "responses"}, "'responses' in model.api"),
        ({"name": ""}, "name is a text"),
        ({"name": "m", "timeout": 0}, "timeout is a number above zero"),
        ({"name": "m", "colour": 1}, "'colour'"),
        ({"fake": {"nose": 1}}, "fake is true or a table of position_bias"),
    ],
)
def test_faults_of_the_model(model: Any, said: str) -> None:
    (found,) = faults(model)
    assert said in found


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"elicitation": "guess"}, "'guess' in ask.elicitation"),
        ({"elicitation": []}, "a text or a list of texts"),
        ({"elicitation": ["logprob", "logprob"]}, "is named once"),
        ({"template": 1}, "template is a text or a list"),
        ({"orders": "random"}, "'random' in ask.orders"),
        ({"draws": 0}, "a whole number above zero"),
        ({"draws": 1.5}, "a whole number above zero"),
        ({"draws": {"sequence": 3}}, "use the elicitations asked: verbalized"),
        ({"temperature": -1}, "a number from zero"),
        ({"temperature": True}, "a number from zero"),
        ({"at_once": 2.5}, "a whole number above zero"),
        ({"requests_per_minute": "many"}, "a number above zero"),
        ({"prices": {"in": 1}}, "in and out"),
        ({"prices": {"in": -1, "out": 1}}, "in and out"),
        ({"paraphrases": ["a"]}, "by question id"),
        ({"temprature": 1}, "'temprature'"),
    ],
)
def test_faults_of_the_asking(ask: dict[str, Any], said: str) -> None:
    (found,) = faults(**ask)
    assert said in found


def test_all_faults_are_told_at_once() -> None:
    assert len(faults({"name": 1}, orders="x", at_once=0, draws="y")) == 4


@pytest.mark.parametrize("field", ["api_key", "key"])
def test_a_key_in_the_file_is_refused_and_not_repeated(field: str) -> None:
    (found,) = faults({"name": "m", field: "sk-very-secret"})
    assert "a key stands in no file" in found
    assert "sk-very-secret" not in found
