"""The page of a study: its numbers, its figures' data, what is escaped and what is refused."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from builders import known_distortion, table
from click.testing import CliRunner, Result

from calib.cli import main
from calib.files import write_table
from calib.study.figures import before_and_after, data_uri, learning_curve
from calib.study.markdown import escaped
from calib.study.page import _findings
from calib.study.run import resume_study, run_study
from calib.table import check_table

HOSTILE = "<script>alert('x')</script> | *a*"
TEXT = """
name = "a <b>bold</b> name"
question = "QUESTION"
folds = 2
calibrators = ["temperature"]
training_sizes = [2, "all"]
splits = ["question", "model"]
sources = ["prompt=sd"]

[[variants]]
name = "VARIANT"
calibrator = "simplex"

[[tables]]
path = "t.parquet"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with hostile names."""
    folder = tmp_path_factory.mktemp("study")
    frame = table(known_distortion(n_questions=8, n_groups=2, n_sources=2))
    frame["model"] = frame["model"].replace({"m0": HOSTILE})
    write_table(check_table(frame), folder / "t.parquet")
    text = TEXT.replace("QUESTION", HOSTILE).replace("VARIANT", "mine & $x$ <i>")
    (folder / "S.toml").write_text(text, encoding="utf-8")
    run_study(folder / "S.toml", folder / "out")
    return folder / "out"


def report(*words: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


def page(study: Path, name: str) -> str:
    out = study.parent / name
    done = report(study, "-o", out)
    assert done.exit_code == 0, done.stderr
    return out.read_text("utf-8")


def summary(study: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study / "summary.json").read_text("utf-8"))
    return found


def tables_of(html: str) -> list[list[dict[str, str]]]:
    """The CSV files that a page holds."""
    uris = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', html)
    texts = [base64.b64decode(uri).decode() for uri in uris]
    return [list(csv.DictReader(io.StringIO(text))) for text in texts]


def test_the_page_says_what_it_shows(study: Path) -> None:
    html = page(study, "page.html")
    assert "These are model-based estimates, not respondents." in html
    assert '<meta name="benchmark_status" content="benchmarked">' in html
    assert "Specification curve" in html and "Peaks, groups and errors" in html
    assert "questions held out" in html and "learnt from one model" in html
    [row] = [
        one
        for one in summary(study)["over_settings"]
        if (one["split"], one["size"], one["calibrator"], one["over"])
        == ("question", "all", "temperature", "all")
    ]
    assert f"{row['after']['oa']['mean']:.2f}" in html
    assert html.count("<img src=") == 2 * 5


def test_sentences_count_better_settings_and_name_worse_ones(study: Path) -> None:
    one = next(
        over
        for over in summary(study)["over_settings"]
        if (over["calibrator"], over["over"], over["size"]) == ("temperature", "all", "all")
    )

    def sentence(worse_on_kl: int) -> str:
        against = {"w1": {"better": 2, "worse": 0}, "kl_1e3": {"better": 1, "worse": worse_on_kl}}
        own = one | {"settings": 3, "against": dict.fromkeys(("identity", "train-mean"), against)}
        return " ".join(_findings([own]))

    assert sentence(0).endswith(
        "of 3 settings clearly better than the raw LLM in 2 on W1 and 1 on KL, "
        "and better than the train mean in 2 on W1 and 1 on KL; in none clearly worse."
    )
    assert "none" not in sentence(2)
    assert sentence(2).endswith("the train mean in 2 on W1 and 1 on KL (worse in 2 on KL).")


def test_nothing_is_fetched_and_every_text_is_escaped(study: Path) -> None:
    html = page(study, "page.html")
    assert "<script" not in html and "<i>" not in html and "<b>" not in html
    assert "&lt;script&gt;" in html
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"#]", html)


def test_figures_have_their_data(study: Path) -> None:
    files = tables_of(page(study, "page.html"))
    rows = summary(study)["rows"]
    assert len(files) == 1 + 2 * 5 and len(files[0]) == len(rows) == 2 * 2 * 2 * 5
    for line, row in zip(files[0], rows, strict=True):
        assert float(line["kl_1e3_lo"]) == row["kl_1e3"]["lo"]
        assert line["calibrator"] == row["calibrator"]
    drawn = {(one["sources"], one["calibrator"]): float(one["mean"]) for one in files[1]}
    for row in rows:
        if (row["split"], row["size"]) == ("question", "all"):
            assert drawn[row["sources"], row["calibrator"]] == row["oa"]["mean"]
    assert {one["training_questions"] for one in files[3]} == {"2.0", "4.0"}


def test_markdown_holds_the_same_and_escapes(study: Path) -> None:
    text = page(study, "page.md")
    assert "model-based estimates" in text and "<" not in text
    for row in summary(study)["rows"]:
        assert f"{row['oa']['mean']:.2f} [" in text
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("<b>", "&lt;b&gt;"),
        ("[x](y)", r"\[x\](y)"),
        ("*_`#", r"\*\_\`\#"),
    ],
)
def test_markdown_escapes(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_a_csv_file_round_trips() -> None:
    rows: list[dict[str, object]] = [{"a": 'x, "y"\nz', "b": 0.1 + 0.2}]
    [found] = tables_of(f'href="{data_uri(rows)}"')
    assert found == [{"a": 'x, "y"\nz', "b": str(0.1 + 0.2)}]


def test_no_figure_of_what_is_not_there(study: Path) -> None:
    rows = [row | {"oa": None} for row in summary(study)["rows"]]
    assert before_and_after(rows, "oa", "x") is None and learning_curve(rows, "oa", "x") is None
    one_size = [row for row in summary(study)["rows"] if row["size"] == "all"]
    assert learning_curve(one_size, "oa", "x") is None


def test_other_suffixes_and_unfinished_studies_are_refused(study: Path) -> None:
    done = report(study, "-o", study.parent / "page.pdf")
    assert done.exit_code == 5 and ".html" in done.stderr
    (study / "summary.json").rename(study / "aside.json")
    try:
        done = report(study, "-o", study.parent / "none.html")
        assert done.exit_code == 5 and "calib study resume" in done.stderr
        assert not (study.parent / "none.html").exists()
    finally:
        (study / "aside.json").unlink()
        resume_study(study)
    assert report(study, "-o", study.parent / "page.html").exit_code == 0
