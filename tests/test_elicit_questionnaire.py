"""Questionnaires: one form in four formats, all faults at once, and a schema that agrees."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from calib.errors import DataError, MissingExtraError
from calib.survey import Group, Option, Question
from elicit.prompt import POPULATION, Example
from elicit.questionnaire import (
    Questionnaire,
    example_questionnaire,
    questionnaire_schema,
    read_document,
    read_questionnaire,
)
from elicit.questionnaire_rules import (
    ATTRIBUTE_FIELDS,
    EXAMPLE_FIELDS,
    OPTION_FIELDS,
    QUESTION_FIELDS,
    TOP_FIELDS,
)

DOCUMENT: dict[str, Any] = {
    "survey": "s",
    "question": [
        {"id": "q1", "text": "How much?", "scale": "ordinal", "options": ["less", "same", "more"]},
        {
            "id": "q2",
            "text": "Yes or no?",
            "scale": "binary",
            "options": [
                {"label": "Yes", "value": 1},
                {"label": "No", "value": 2.5},
                {"label": "Don't know", "kind": "dont_know"},
            ],
        },
        {"id": "q3", "text": "Which?", "scale": "nominal", "options": ["x", "y"]},
    ],
    "attributes": {
        "party": {"wording": "Which party?", "groups": ["Left", "Right"]},
        "sex": {"groups": ["Left"]},
    },
    "example": [
        {"question_id": "q1", "attribute": "party", "group": "Left", "shares": [0.2, 0.3, 0.5]},
        {
            "text": "Older?",
            "options": ["a", "b"],
            "attribute": "sex",
            "group": "Left",
            "shares": {"b": 0.75, "a": 0.25},
        },
    ],
    "model": {"name": "m"},
    "ask": {},
}
Q1 = Question(
    "s", "q1", "How much?", "ordinal",
    (Option(0, "less", 0.0), Option(1, "same", 1.0), Option(2, "more", 2.0)),
)  # fmt: skip
READ = Questionnaire(
    "s",
    (
        Q1,
        Question(
            "s", "q2", "Yes or no?", "binary",
            (
                Option(0, "Yes", 1.0),
                Option(1, "No", 2.5),
                Option(2, "Don't know", None, "dont_know"),
            ),
        ),
        Question("s", "q3", "Which?", "nominal", (Option(0, "x"), Option(1, "y"))),
    ),
    (Group("party", "Left"), Group("party", "Right"), Group("sex", "Left")),
    {"party": "Which party?"},
    (
        Example(Q1, Group("party", "Left"), (0.2, 0.3, 0.5)),
        Example(
            Question("", "", "Older?", "nominal", (Option(0, "a"), Option(1, "b"))),
            Group("sex", "Left"),
            (0.25, 0.75),
        ),
    ),
)  # fmt: skip


def write(folder: Path, document: object, suffix: str = ".json") -> Path:
    path = folder / f"survey{suffix}"
    dump: Callable[[object], str] = json.dumps if suffix == ".json" else yaml.safe_dump
    path.write_text(dump(document), encoding="utf-8")
    return path


def faults(folder: Path, document: object) -> str:
    with pytest.raises(DataError) as raised:
        read_questionnaire(write(folder, document))
    return str(raised.value)


def changed(*path: str | int, to: object) -> dict[str, Any]:
    """The document with the field at a path changed; ``...`` removes it."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return document


TOML = """
survey = "s"
[[question]]
id = "q1"
text = "How much?"
scale = "ordinal"
options = ["less", "same", "more"]
"""


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_documents_hold_one_form(tmp_path: Path, suffix: str) -> None:
    assert read_questionnaire(write(tmp_path, DOCUMENT, suffix)) == READ


def test_toml_without_attributes_asks_the_whole_population(tmp_path: Path) -> None:
    path = tmp_path / "survey.toml"
    path.write_text(TOML, encoding="utf-8")
    assert read_questionnaire(path) == Questionnaire("s", (Q1,), (POPULATION,))


def test_the_example_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "survey.toml"
    path.write_text(example_questionnaire(), encoding="utf-8")
    found = read_questionnaire(path)
    assert [question.scale for question in found.questions] == ["ordinal", "binary", "nominal"]
    assert len(found.wordings) == 2
    jsonschema.validate(read_document(path), questionnaire_schema())
    # What is commented out is right too.
    before, after = example_questionnaire().split("# [[example]]")
    path.write_text(before + "[[example]]" + after.replace("\n# ", "\n"), encoding="utf-8")
    (example,) = read_questionnaire(path).examples
    assert example.shares == (0.41, 0.59)


CSV = """question_id,question,scale,option_index,option,option_value,option_kind
q2,Yes or no?,binary,1,No,2.5,
q2,Yes or no?,binary,0,Yes,1,substantive
q2,Yes or no?,binary,9,"Don't know",,dont_know
q1,"How much, roughly?",ordinal,,less,,
q1,"How much, roughly?",ordinal,,more,,
"""


def test_csv_has_one_row_an_option(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(CSV, encoding="utf-8-sig")
    (tmp_path / "g.csv").write_text(
        "attribute,group,wording\nparty,Left,Which party?\nsex,Left,\nparty,Right,\n", "utf-8"
    )
    document = {"survey": "s", "questions": "q.csv", "groups": "g.csv"}
    found = read_questionnaire(write(tmp_path, document))
    second, first = found.questions
    assert second.options == (
        Option(0, "Yes", 1.0),
        Option(1, "No", 2.5),
        Option(9, "Don't know", None, "dont_know"),
    )
    assert first.text == "How much, roughly?"
    assert first.options == (Option(0, "less", 0.0), Option(1, "more", 1.0))
    assert found.groups == (
        Group("party", "Left"), Group("party", "Right"), Group("sex", "Left"),
    )  # fmt: skip
    assert found.wordings == {"party": "Which party?"}


def test_csv_alone_names_its_survey(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("survey,question_id,question,scale,option\n" + 2 * "s,q,Why?,nominal,x\n")
    with pytest.raises(DataError, match="labels differ"):
        read_questionnaire(path)
    path.write_text(
        "survey,question_id,question,scale,option\ns,q,Why?,nominal,x\ns,q,Why?,nominal,y\n"
    )
    found = read_questionnaire(path)
    assert (found.survey, found.groups) == ("s", (POPULATION,))


def test_faults_of_csv_rows_have_their_place(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(
        "survey,question_id,question,scale,option_index,option,option_value\n"
        "s,q,Why?,ordinal,0,x,1\n"
        "s,q,Why not?,ordinal,1.5,y,many\n"
        "t,q,Why?,ordinal,2,,nan\n"
    )
    with pytest.raises(DataError) as raised:
        read_questionnaire(path)
    places = [(fault.column, fault.rows) for fault in raised.value.faults]
    assert places[:6] == [
        ("option", (2,)),
        ("survey", ()),
        ("question", (0, 1, 2)),
        ("option_index", (1,)),
        ("option_value", (1,)),
        ("option_value", (2,)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question_id,question,scale\n", "the columns are question_id, question, scale, option"),
        ("question_id,question,scale,option,colour\n", "colour"),
        ("question_id,question,scale,option\n", "rows below its header"),
        ("question_id,question,scale,option\nq,a,ordinal\n", "a field for each column"),
        ("", "found none"),
    ],
)
def test_csv_of_another_layout_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_questionnaire(path)


def test_all_faults_are_told_at_once_with_their_place(tmp_path: Path) -> None:
    document = changed("question", 0, "scale", to="likert")
    document["question"][1]["options"][0] = {"label": "", "value": "one", "kind": "none"}
    document["attributes"]["sex"]["groups"] = []
    document["colour"] = 1
    told = faults(tmp_path, document)
    for part in (
        "found colour",
        "'likert' in question 1 (q1)",
        "label is a text; found '' in option 1 of question 2 (q2)",
        "kind is one of substantive, dont_know, refused, other; found 'none'",
        "value is a finite number; found 'one'",
        "groups is a list of texts; found [] in attribute sex",
    ):
        assert part in told


MISSHAPEN = [
    changed("survey", to=...),
    changed("survey", to=3),
    changed("survey", to=" "),
    changed("question", to=...),
    changed("question", to=[]),
    changed("question", to={"id": "q1"}),
    changed("question", 0, to="q1"),
    changed("question", 2, "id", to=...),
    changed("question", 0, "text", to=""),
    changed("question", 0, "scale", to=...),
    changed("question", 0, "scale", to="likert"),
    changed("question", 0, "wording", to="x"),
    changed("question", 0, "options", to=["only"]),
    changed("question", 0, "options", to="less"),
    changed("question", 0, "options", to=[str(number) for number in range(27)]),
    # What YAML makes of an unquoted Yes.
    changed("question", 0, "options", to=[True, False]),
    changed("question", 1, "options", 0, "value", to="1"),
    changed("question", 1, "options", 0, "value", to=True),
    changed("question", 1, "options", 0, "kind", to="dk"),
    changed("question", 1, "options", 0, "colour", to="red"),
    changed("question", 1, "options", 0, "index", to=0.5),
    changed("attributes", to=[]),
    changed("attributes", "party", to=["Left"]),
    changed("attributes", "party", "groups", to=...),
    changed("attributes", "party", "groups", to=["Left", "Left"]),
    changed("attributes", "party", "groups", to=["Left", 3]),
    changed("attributes", "party", "wording", to=""),
    changed("attributes", "party", "words", to="x"),
    changed("groups", to="g.csv"),
    changed("questions", to="q.csv"),
    changed("example", to=[]),
    changed("example", 0, "group", to=...),
    changed("example", 0, "question_id", to=...),
    changed("example", 0, "text", to="both"),
    changed("example", 0, "shares", to=...),
    changed("example", 0, "shares", to="half"),
    changed("example", 0, "shares", to=[-0.1, 0.6, 0.5]),
    changed("examples", to=[]),
]
BEYOND_A_SCHEMA = [
    changed("question", 2, "id", to="q1"),
    changed("question", 0, "options", to=["Same", "same", "more"]),
    changed("question", 0, "options", to=[{"label": "a", "value": 1}, "b"]),
    changed("question", 0, "options", to=[{"label": "a", "index": 1}, {"label": "b", "index": 0}]),
    changed("question", 0, "options", to=["a", {"label": "b", "kind": "other"}]),
    changed("question", 1, "options", to=["a", "b", "c"]),
    changed("example", 0, "question_id", to="q9"),
    changed("example", 0, "group", to="Middle"),
    changed("example", 0, "shares", to=[0.2, 0.3, 0.4]),
    changed("example", 0, "shares", to=[0.2, 0.8]),
    changed("example", 1, "shares", to={"a": 0.5, "c": 0.5}),
]


def fits(document: object) -> bool:
    return bool(jsonschema.Draft202012Validator(questionnaire_schema()).is_valid(document))


@pytest.mark.parametrize("number", range(len(MISSHAPEN)))
def test_schema_and_reader_refuse_the_same_shapes(tmp_path: Path, number: int) -> None:
    (tmp_path / "q.csv").write_text(CSV)
    (tmp_path / "g.csv").write_text("attribute,group\na,b\n")
    assert not fits(MISSHAPEN[number])
    faults(tmp_path, MISSHAPEN[number])


@pytest.mark.parametrize("number", range(len(BEYOND_A_SCHEMA)))
def test_the_reader_knows_more_than_the_schema(tmp_path: Path, number: int) -> None:
    assert fits(BEYOND_A_SCHEMA[number])
    faults(tmp_path, BEYOND_A_SCHEMA[number])


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        changed("attributes", to=...),
        changed("example", to=...),
        changed(
            "question", 2, "options", to=[{"label": "a", "index": 3}, {"label": "b", "index": 7}]
        ),
    ],
)
def test_schema_and_reader_accept_the_same(tmp_path: Path, document: dict[str, Any]) -> None:
    if "attributes" not in document:
        del document["example"]
    assert fits(document)
    read_questionnaire(write(tmp_path, document))


def test_schema_and_reader_know_the_same_fields() -> None:
    schema = questionnaire_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(TOP_FIELDS)
    for name, fields in (
        ("question", QUESTION_FIELDS),
        ("option", OPTION_FIELDS),
        ("attribute", ATTRIBUTE_FIELDS),
        ("example", EXAMPLE_FIELDS),
    ):
        assert set(schema["$defs"][name]["properties"]) == set(fields)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", "survey = ", "TOML in UTF-8"),
        ("a.json", "[1, 2]", "table of named fields; found list"),
        ("a.json", "[" * 5000, "JSON in UTF-8"),
        ("a.yaml", "a: [", "YAML in UTF-8"),
        ("a.yaml", "!!python/object/apply:os.getcwd []", "YAML in UTF-8"),
        ("a.toml", "\xff".encode("latin-1"), "TOML in UTF-8"),
        ("a.txt", "", "suffix is one of"),
        ("a", "", "found none"),
    ],
)
def test_files_that_are_no_documents(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_questionnaire(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("a.toml", "a.csv"):
        with pytest.raises(DataError, match="No such file"):
            read_questionnaire(tmp_path / name)


def test_yaml_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, DOCUMENT, ".yaml")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[llm\]"):
        read_questionnaire(path)
