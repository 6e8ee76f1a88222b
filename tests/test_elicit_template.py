"""Templates: what is shipped, what users write, and what is refused before anything is asked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from calib.errors import CalibError, DataError
from calib.survey import ELICITATIONS
from elicit.template import fill, load_template, template_names

OWN = """
name = "mine"
version = 3
prompt = "sd"
persona = "{group} ({wording})"
[verbalized]
user = 'As {persona}: {question} {"A": 30} {options} {form}'
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str) -> str:
    with pytest.raises(DataError) as raised:
        load_template(write(folder, text))
    return str(raised.value)


def test_shipped_templates() -> None:
    assert template_names() == ("base", "fewshot", "sd-bio", "sd-portray", "sd-qa")


@pytest.mark.parametrize("name", ["base", "fewshot", "sd-bio", "sd-portray", "sd-qa"])
def test_each_can_do_every_elicitation(name: str) -> None:
    template = load_template(name)
    assert template.id == f"{name}/1"
    assert template.builtin
    assert template.setting == template.prompt == name.partition("-")[0]
    assert tuple(template.tasks) == ELICITATIONS
    assert len(set(template.rewordings)) >= 5
    assert "{form}" in template.tasks["verbalized"].user
    assert "{form}" in template.tasks["sequence"].user
    assert "{count}" in template.tasks["sequence"].user


def test_a_template_of_ones_own_stands_under_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path, OWN)
    template = load_template(path)
    assert (template.id, template.setting, template.prompt) == ("mine/3", "mine", "sd")
    assert not template.builtin
    assert template.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert template.task("verbalized").system == ""
    with pytest.raises(CalibError, match=r"mine/3 has none for 'sequence'.*verbalized"):
        template.task("sequence")


def test_placeholders_are_filled_in_one_pass() -> None:
    values = {"question": "Why {options}?", "options": "{question}"}
    assert fill("{question}|{options}|{other}|{}|{0}", values) == (
        "Why {options}?|{question}|{other}|{}|{0}"
    )


@pytest.mark.parametrize("missing", ["{persona}", "{question}", "{options}"])
def test_a_template_without_its_placeholders_is_refused(tmp_path: Path, missing: str) -> None:
    told = faults(tmp_path, OWN.replace(missing, "it"))
    assert f"verbalized: the text must hold the placeholder {missing}" in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "mine"', "", "column name: a template has a name"),
        ('name = "mine"', 'name = "my own"', "'my own'"),
        ('name = "mine"', 'name = "sd-qa"', "which is a shipped template's"),
        ('name = "mine"', 'name = "base"', "which is a shipped template's"),
        ("version = 3", "version = 0", "column version"),
        ("version = 3", "version = true", "column version"),
        ('prompt = "sd"', 'prompt = "persona"', "prompt is one of base, sd, fewshot"),
        ("{wording}", "{attribute}", "placeholders here are {group}, {wording}"),
        ("{group}", "it", "persona: the text must hold the placeholder {group}"),
        ("{form}", "{forms}", "found {forms}"),
        ('prompt = "sd"', 'prompt = "fewshot"', "placeholder {examples}"),
        ('prompt = "sd"', 'prompt = "sd"\ncolour = "red"', "column colour"),
        ('persona = "', 'persona = 3 # "', "column persona: must be a text"),
        ("[verbalized]", "[verbal]", "a template has a table for one or more of verbalized"),
        ("user =", "text =", "the texts system (optional) and user"),
        ("[verbalized]", 'rewordings = ["{question}"]\n[verbalized]', "at least 5 different"),
        ("[verbalized]", "[paraphrase]", "at least 5 different"),
        ("[verbalized]", "rewordings = [1, 2]\n[verbalized]", "rewordings is a list of texts"),
        (
            "[verbalized]",
            'rewordings = ["a {question}", "b", "c {question}", "d {question}", "e {question}"]\n'
            "[verbalized]",
            "column rewordings: the text must hold the placeholder {question}",
        ),
        ("[verbalized]", "[[verbalized]", "a template is a TOML file"),
    ],
)
def test_broken_templates_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in faults(tmp_path, OWN.replace(old, new))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    told = faults(tmp_path, OWN.replace("{question}", "").replace("{options}", "{option}"))
    assert told.count("\n  - ") == 3


def test_a_template_that_is_not_there() -> None:
    with pytest.raises(CalibError, match=r"one of base, fewshot.*found no 'sd-bioo'"):
        load_template("sd-bioo")
