"""The importer of Meister et al.'s layout, on a layout written by hand and on the real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calib.errors import DataError
from calib.importers import answers, meister
from calib.importers.scales import guess, kind_of, read_info

DATASET = "Pew_100"
LAYOUT = Path(__file__).parents[2] / "shared" / "data" / "meister_layout"
DEV = LAYOUT.parent / "opinionqa_dev.parquet"
SETTING = ["model", "elicitation", "prompt"]
CELL = ["question_id", "attribute", "group"]

# The scale is Better 1, Neither 1.5, Worse 2; letters are alphabetical over what the group
# chose: Democrats A Better, B Neither.., C Refused, D Worse; Republicans A Better, B Worse.
SCALE_Q = {
    "MC_options": ["Better", "Worse", "Neither better nor worse", "Refused"],
    "question_text": "Is it better?",
    "Democrat": {"Worse": 2.0, "Better": 5.0, "Neither better nor worse": 2.0, "Refused": 1.0},
    "Republican": {"Worse": 3.0, "Better": 1.0},
}
DEMOCRAT = {"A": 0.5, "B": 0.2, "C": 0.1, "D": 0.2}
REPUBLICAN = {"A": 0.25, "B": 0.75}
# Not in info.csv, and cut at its commas as published.
CUT_Q = {
    "MC_options": ["Yes", "a reason", "No", "not a reason", '"Can\'t say"', "Refused"],
    "question_text": "Was it a reason?",
    "Democrat": {"No, not a reason": 1.0, "Yes, a reason": 1.0, "Can't say": 2.0},
    "Republican": {"Yes, a reason": 4.0, "No, not a reason": 4.0},
}
INFO = (
    "key,option_mapping,question,option_ordinal\n"
    "SCALE,\"{1.0: 'Better', 2.0: 'Worse', 3.0: 'Neither better nor worse', 99.0: 'Refused'}\","
    'Is it better?,"[1.0, 2.0, 1.5]"\n'
)


def stored(reply: str, shares: dict[str, float], **expected: dict[str, float]) -> dict[str, Any]:
    """One answer as published."""
    return {
        "actual_results": {letter: [share] for letter, share in shares.items()},
        "response": [reply],
        **(expected or {}),
    }


def persona(reply: str, expected: dict[str, float], shares: dict[str, float]) -> dict[str, Any]:
    return {**stored(reply, shares), "expected_results": expected}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two questions, two groups; one model, one method, one task."""
    humans = tmp_path / "opinions_qa" / "data" / "human_resp" / DATASET
    humans.mkdir(parents=True)
    (humans / "info.csv").write_text(INFO)
    (humans / "POLPARTY_data.json").write_text(json.dumps({"SCALE": SCALE_Q, "CUT": CUT_Q}))
    put(
        tmp_path,
        "express_distribution/opus/task1",
        "POLPARTY/Democrat",
        {
            "SCALE": persona(
                "{'A': 0.4, 'B': 0.3, 'C': 0.1, 'D': 0.2}", DEMOCRAT, dict.fromkeys("ABCD", 0.0)
            ),
            # Sorted: Can't say, No, Yes.
            "CUT": persona(
                "{'A': '50%', 'B': '25%', 'C': '20%'}",
                {"A": 0.5, "B": 0.25, "C": 0.25},
                {"A": 0.5, "B": 0.25, "C": 0.2},
            ),
        },
    )
    return tmp_path


def put(source: Path, folder: str, group: str, content: object) -> Path:
    """Write a result file."""
    path = source / "results" / "opinionqa" / folder / DATASET / f"{group}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def cell(table: pd.DataFrame, question: str, group: str, **setting: str) -> pd.DataFrame:
    rows = table[(table["question_id"] == question) & (table["group"] == group)]
    for column, value in setting.items():
        rows = rows[rows[column] == value]
    assert rows["option_index"].tolist() == list(range(len(rows)))
    return rows


def test_letters_become_the_order_of_the_scale(source: Path) -> None:
    table, counts = meister.read(source)
    rows = cell(table, "SCALE", "Democrat")
    assert rows["option"].tolist() == ["Better", "Neither better nor worse", "Worse", "Refused"]
    assert rows["option_value"].tolist()[:3] == [1.0, 1.5, 2.0]
    assert rows["option_kind"].tolist() == ["substantive"] * 3 + ["refused"]
    assert rows["p_human"].tolist() == [0.5, 0.2, 0.2, 0.1]
    assert rows["n_human"].tolist() == [10.0] * 4
    # The publication stored this reply as zeros.
    assert rows["p_llm"].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=1e-12)
    assert set(rows["outcome"]) == {"answered"}
    assert counts["answers_stored_as_zeros_and_recovered"] == 1
    assert counts["answers_read_as_fractions"] == 1
    assert counts["scales_published"] == 1


def test_labels_cut_at_commas_are_joined_and_a_sum_of_95_per_cent_is_divided_out(
    source: Path,
) -> None:
    table, counts = meister.read(source)
    rows = cell(table, "CUT", "Democrat")
    assert rows["option"].tolist() == ["Yes, a reason", "No, not a reason", "Can't say", "Refused"]
    assert rows["p_human"].tolist() == [0.25, 0.25, 0.5, 0.0]
    assert rows["p_llm"].tolist() == pytest.approx([0.2 / 0.95, 0.25 / 0.95, 0.5 / 0.95, 0.0])
    assert counts["questions_with_rejoined_labels"] == 1
    assert counts["scales_guessed_as_listed"] == 1
    assert counts["answers_renormalised"] == 1
    assert counts["cells_with_an_option_not_shown"] == 1
    assert counts["options_that_no_counted_respondent_chose"] == 1


def test_an_answer_without_a_group_is_repeated_for_the_groups_beside_it(source: Path) -> None:
    put(
        source,
        "sequence/opus/task0",
        "NONE/Democrat",
        {
            "SCALE": stored(
                "AAAAABBBCD",
                {},
                expected_results_NONE_Democrat=DEMOCRAT,
                expected_results_POLPARTY_Democrat=DEMOCRAT,
                expected_results_POLPARTY_Republican=REPUBLICAN,
                expected_results_SEX_Male={},
                # No counts for this attribute: four letters can only be all four labels …
                **{"expected_results_INCOME_Less than $30,000": DEMOCRAT},
                # … but two could be any two.
                **{"expected_results_INCOME_$100,000 or more": REPUBLICAN},
            )
        },
    )
    table, counts = meister.read(source)
    base = table[table["prompt"] == "base"]
    assert set(base["group"]) == {"Democrat", "Republican", "Less than $30,000"}
    for group in ("Democrat", "Republican", "Less than $30,000"):
        rows = cell(base, "SCALE", group)
        assert rows["p_llm"].tolist() == [0.5, 0.3, 0.1, 0.1]
    assert cell(base, "SCALE", "Republican")["p_human"].tolist() == [0.25, 0.0, 0.75, 0.0]
    assert cell(base, "SCALE", "Republican")["n_human"].tolist() == [4.0] * 4
    assert cell(base, "SCALE", "Less than $30,000")["n_human"].isna().all()
    assert counts["cells_without_respondents_left_out"] == 1
    assert counts["cells_with_ambiguous_letters_left_out"] == 1
    assert counts["cells_that_share_a_base_answer"] == 3
    assert counts["cells_without_published_n"] == 1
    assert counts["sequences_of_other_length_than_30"] == 1


def test_log_probabilities_are_taken_as_stored_and_few_shot_is_named(source: Path) -> None:
    mass = {"A": 0.6, "B": 0.35}
    put(
        source,
        "model_logprobs/gpt-4/task3_easy_hard",
        "POLPARTY/Republican",
        {"SCALE": persona("A", REPUBLICAN, mass), "CUT": persona("A", {"A": 0.5, "B": 0.5}, mass)},
    )
    table, counts = meister.read(source)
    rows = cell(table, "SCALE", "Republican", elicitation="logprob", prompt="fewshot")
    assert rows["p_llm"].tolist() == pytest.approx([0.6 / 0.95, 0.0, 0.35 / 0.95, 0.0])
    # Letters of this group: A No, B Yes; 'Can't say' and 'Refused' were not shown.
    rows = cell(table, "CUT", "Republican")
    assert rows["p_llm"].tolist() == pytest.approx([0.35 / 0.95, 0.6 / 0.95, 0.0, 0.0])
    assert counts["answers_renormalised"] == 3


def test_an_unreadable_reply_is_a_cell_without_shares(source: Path) -> None:
    put(
        source,
        "express_distribution/gpt-4/task1",
        "POLPARTY/Republican",
        {"SCALE": persona("I cannot say.", REPUBLICAN, {"A": 0.0, "B": 0.0})},
    )
    table, counts = meister.read(source)
    rows = cell(table, "SCALE", "Republican")
    assert set(rows["outcome"]) == {"unparsable"}
    assert rows["p_llm"].isna().all()
    assert rows["p_human"].tolist() == [0.25, 0.0, 0.75, 0.0]
    assert counts["answers_unparsable"] == 1


@pytest.mark.parametrize(
    ("reply", "shares"),
    [
        ("{'A': '35%', 'B': '65%'}", [0.35, 0.65]),
        ("{'A':'.35','B':'.65'}", [0.35, 0.65]),
        ("{'A': 35%, B: 65%}", [0.35, 0.65]),
        ('{"A": 35.5, "B": 64.5}', [0.355, 0.645]),
        ("Here it is: {'B': '100%'}", [0.0, 1.0]),
        ("{'A': '45%', 'B': '45%'}", [0.5, 0.5]),
        ("{'A': '40%', 'B': '45%'}", None),
        ("{'A': '60%', 'B': '60%'}", None),
        ("{'A': '35%', 'C': '65%'}", None),
        ("{'A': '35%', 'A': '65%'}", None),
        ("{'A': '-10%', 'B': '110%'}", None),
        ("{'A': '30-40%', 'B': '65%'}", None),
        ("{'A': '0%', 'B': '0%'}", None),
        ("{'A': '35%', 'B': '65%'} or {'A': '5%', 'B': '95%'}", None),
        ("{'A': 'most', 'B': '95%'}", None),
        ("", None),
    ],
)
def test_verbalised_replies(reply: str, shares: list[float] | None) -> None:
    reading = answers.verbalized(reply, "AB")
    if shares is None:
        assert reading.shares is None
    else:
        assert reading.shares is not None
        assert list(reading.shares.values()) == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize(
    ("reply", "shares"),
    [
        ("ABBB", [0.25, 0.75]),
        ("A, B\nB B", [0.25, 0.75]),
        ("A" * 5 + "B" * 14 + "Z", [5 / 19, 14 / 19]),
        ("ABZZ", None),
        ("I think AAB", None),
        ("", None),
    ],
)
def test_sequences_of_letters(reply: str, shares: list[float] | None) -> None:
    reading = answers.sequence(reply, "AB")
    assert (reading.shares is None) == (shares is None)
    if shares is not None and reading.shares is not None:
        assert list(reading.shares.values()) == pytest.approx(shares, abs=1e-12)


def test_several_replies_are_averaged_without_the_unreadable() -> None:
    reading = answers.mean([answers.verbalized(r, "AB") for r in ("A: 20%, B: 80%", "no", "A: 1")])
    assert reading.shares == pytest.approx({"A": 0.6, "B": 0.4})
    assert "averaged_without_unreadable_replies" in reading.repairs


def test_what_was_fitted_on_the_human_answers_is_refused(source: Path) -> None:
    fitted = put(source, "rescaled_model_logprobs/gpt-4/task1", "POLPARTY/Democrat", {})
    _, counts = meister.read(source)
    assert counts["rescaled_model_logprobs_files_left_out"] == 1
    reason = "fitted on the human answers"
    with pytest.raises(DataError, match=reason):
        meister.read(source, methods=["rescaled_model_logprobs"])
    with pytest.raises(DataError, match=reason):
        meister.read(fitted.parents[4])
    (source / "results" / "opinionqa" / "express_distribution").rename(source / "elsewhere")
    with pytest.raises(DataError, match=reason):
        meister.read(source)


def _no_results(source: Path) -> None:
    (source / "results").rename(source / "elsewhere")


def _other_dataset(source: Path) -> None:
    (source / "results" / "opinionqa").rename(source / "results" / "nytimes")


def _no_counts(source: Path) -> None:
    (source / "opinions_qa" / "data" / "human_resp" / DATASET / "POLPARTY_data.json").unlink()


def _no_info(source: Path) -> None:
    (source / "opinions_qa" / "data" / "human_resp" / DATASET / "info.csv").unlink()


def _code_in_info(source: Path) -> None:
    path = source / "opinions_qa" / "data" / "human_resp" / DATASET / "info.csv"
    path.write_text(INFO.replace("[1.0, 2.0, 1.5]", "__import__('os').getcwd()"))


def _strange_label(source: Path) -> None:
    path = source / "opinions_qa" / "data" / "human_resp" / DATASET / "POLPARTY_data.json"
    path.write_text(path.read_text().replace('"Worse": 3.0', '"Worst": 3.0'))


def _truncated(source: Path) -> None:
    put(source, "sequence/opus/task1", "POLPARTY/Democrat", '{"SCALE": {')


def _list(source: Path) -> None:
    put(source, "sequence/opus/task1", "POLPARTY/Democrat", [])


def _too_many_letters(source: Path) -> None:
    content = {"SCALE": persona("AB", {**REPUBLICAN, "C": 0.0}, {})}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)


def _other_order(source: Path) -> None:
    content = {"SCALE": persona("AB", {"A": 0.75, "B": 0.25}, {})}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)


def _other_letters(source: Path) -> None:
    content = {"SCALE": persona("XY", {"X": 0.75, "Y": 0.25}, {})}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)


def _foreign_letter(source: Path) -> None:
    content = {"SCALE": persona("A", REPUBLICAN, {"A": 0.5, "E": 0.5})}
    put(source, "model_logprobs/gpt-4/task1", "POLPARTY/Republican", content)


def _unknown_question(source: Path) -> None:
    content = {"OTHER": persona("AB", REPUBLICAN, {})}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)


def _no_reply(source: Path) -> None:
    content = {"SCALE": {"actual_results": {}, "expected_results": REPUBLICAN}}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)


def _nameless_expectation(source: Path) -> None:
    content = {"SCALE": stored("AB", {}, expected_results_POLPARTY_Republican=REPUBLICAN)}
    content["SCALE"]["expected_results_SEX"] = DEMOCRAT
    put(source, "sequence/opus/task0", "NONE/Republican", content)


def _two_few_shots(source: Path) -> None:
    for task in ("task3_easy", "task3_hard"):
        content = {"SCALE": persona("AB", REPUBLICAN, {})}
        put(source, f"sequence/opus/{task}", "POLPARTY/Republican", content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_results, "SOURCE holds results/opinionqa"),
        (_other_dataset, "opinionqa are supported; found only nytimes"),
        (_no_counts, "human answers stand in files"),
        (_no_info, "info.csv"),
        (_code_in_info, "option_ordinal must be a Python list literal"),
        (_strange_label, "'Worst' in SCALE"),
        (_truncated, "Democrat.json: the file must be readable JSON"),
        (_list, "one JSON object; found a list"),
        (_too_many_letters, "3 letters for 2 options"),
        (_other_order, "shares .* for counts"),
        (_other_letters, "letters XY"),
        (_foreign_letter, "letters of SCALE are AB; found AE"),
        (_unknown_question, "none for OTHER"),
        (_no_reply, "SCALE must have 'response', a list; found none"),
        (_nameless_expectation, "column group, .*must be filled"),
        (_two_few_shots, "task3_easy and task3_hard"),
    ],
)
def test_bad_layouts_are_refused(
    source: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        meister.read(source)
    assert caught.value.file is not None
    assert all(fault.remedy for fault in caught.value.faults)


def test_all_faults_of_a_file_are_told_at_once(source: Path) -> None:
    content = {"OTHER": {}, "SCALE": persona("AB", {"A": 0.75, "B": 0.25}, {})}
    put(source, "sequence/opus/task1", "POLPARTY/Republican", content)
    with pytest.raises(DataError) as caught:
        meister.read(source)
    assert len(caught.value.faults) == 2


def test_other_tasks_are_left_out_with_a_count(source: Path) -> None:
    put(source, "sequence/opus/task7", "POLPARTY/Democrat", {})
    assert meister.read(source).counts["files_of_other_tasks_left_out"] == 1


def test_unknown_methods_are_refused(source: Path) -> None:
    with pytest.raises(DataError, match="found sequence"):
        meister.read(source, methods=["express_distribution", "sequence"])


def test_scales_of_info(tmp_path: Path) -> None:
    path = tmp_path / "info.csv"
    path.write_text(
        "key,option_mapping,option_ordinal\n"
        "SAME,\"{1: 'x', 2: 'y', 99: 'Refused'}\",\"[1, 1]\"\n"
        "UNSURE,\"{1: 'x', 2: 'y', 3: 'Not sure', 99: 'Refused'}\",\"[1, 2]\"\n"
        "GAP,\"{1: 'x', 2: 'y', 3: 'z', 99: 'Refused'}\",\"[1, 7, 2.5]\"\n"
    )
    scales = read_info(path)
    assert [scales[key].scale for key in ("SAME", "UNSURE", "GAP")] == [
        "nominal",
        "nominal",
        "ordinal",
    ]
    assert [(o.label, o.value) for o in scales["GAP"].options] == [
        ("x", 1.0),
        ("z", 2.5),
        ("y", 7.0),
        ("Refused", None),
    ]
    assert all(option.value is None for option in scales["UNSURE"].options)


@pytest.mark.parametrize(
    ("labels", "order", "origin"),
    [
        (["a", "b", "c"], ["a", "b", "c"], "guessed_as_listed"),
        (["Good", "Bad", "Neither"], ["Good", "Neither", "Bad"], "guessed_middle_moved"),
        (["1", "2", "3", "4", "No difference"], ["1", "2", "No difference", "3", "4"],
         "guessed_middle_moved"),
        # Three others have no middle; a middle answer in its place stays there.
        (["1", "2", "3", "Neither"], ["1", "2", "3", "Neither"], "guessed_as_listed"),
        (["Up", "Stay the same", "Down"], ["Up", "Stay the same", "Down"], "guessed_as_listed"),
        (["Yes", "No", "Not sure"], ["Yes", "No", "Not sure"], "guessed_nominal"),
    ],
)  # fmt: skip
def test_guessed_scales(labels: list[str], order: list[str], origin: str) -> None:
    scaled = guess([*labels, "Refused"])
    assert [option.label for option in scaled.options] == [*order, "Refused"]
    assert scaled.origin == origin
    values = [option.value for option in scaled.options[:-1]]
    assert values == ([None] * 3 if origin == "guessed_nominal" else sorted(values, key=float))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Refused", "refused"),
        ("(VOL.) Don't know", "dont_know"),
        ("DK/Refused", "dont_know"),
        ("Don't know who that is", "substantive"),
        ("Refused to fight", "substantive"),
    ],
)
def test_kinds_of_labels(label: str, kind: str) -> None:
    assert kind_of(label) == kind


@pytest.mark.skipif(not (LAYOUT.exists() and DEV.exists()), reason="the real layout is not here")
def test_the_real_layout_agrees_with_the_table_made_from_the_same_publication() -> None:
    table, counts = meister.read(LAYOUT)
    dev = pd.read_parquet(DEV)
    key = [*SETTING, *CELL, "option"]
    both = dev.merge(table, on=key, suffixes=("_dev", ""), validate="one_to_one")
    cells = dev[[*SETTING, *CELL]].drop_duplicates().merge(table[SETTING].drop_duplicates())
    missing = cells.merge(both[[*SETTING, *CELL]].drop_duplicates(), how="left", indicator=True)
    missing = missing[missing["_merge"] == "left_only"]
    # Four cells whose group has no counts in the layout and fewer letters than labels.
    assert set(map(tuple, missing[["question_id", "attribute"]].drop_duplicates().to_numpy())) <= {
        ("EAT2_W34", "EDUCATION"), ("EAT2_W34", "INCOME"), ("EAT5B_W34", "EDUCATION"),
    }  # fmt: skip
    assert len(missing) == 12
    assert len(both) == 24_158

    for column in ("survey", "question", "option_index", "option_kind", "outcome"):
        assert (both[column] == both[f"{column}_dev"]).all(), column
    for column in ("p_human", "p_llm"):
        np.testing.assert_allclose(both[column], both[f"{column}_dev"], rtol=0, atol=1e-9)
    counted = both["n_human"].notna()
    assert (both["n_human"] == both["n_human_dev"])[counted].all()
    assert set(both.loc[~counted, "attribute"]) == {"CREGION", "EDUCATION", "INCOME"}

    # The layout's info.csv lacks this nominal question, so its scale is guessed.
    known = both["question_id"] != "WRKTRN1F2_W41"
    assert (both["scale"] == both["scale_dev"])[known].all()
    pd.testing.assert_series_equal(
        both["option_value"][known], both["option_value_dev"][known], check_names=False
    )
    assert counts["scales_published"] == 11
    assert counts["answers_stored_as_zeros_and_recovered"] == 146
    assert counts["answers_unparsable"] == 1


@pytest.mark.skipif(not (LAYOUT.exists() and DEV.exists()), reason="the real layout is not here")
def test_letters_in_listed_order_would_not_agree() -> None:
    """The twin of the comparison above: the options' listed order fails it."""
    dev = pd.read_parquet(DEV).query("model == 'gpt-4' and elicitation == 'logprob'")
    dev = dev[(dev["group"] == "Democrat") & (dev["prompt"] == "sd")]
    (file,) = LAYOUT.glob("results/opinionqa/model_logprobs/gpt-4/task1/*/POLPARTY/Democrat.json")
    (human,) = LAYOUT.glob("opinions_qa/data/human_resp/*/POLPARTY_data.json")
    results, asked = json.loads(file.read_text()), json.loads(human.read_text())
    agree: dict[str, list[bool]] = {"listed": [], "alphabetical": []}
    for question, rows in dev.groupby("question_id"):
        right = dict(zip(rows["option"], rows["p_llm"], strict=True))
        mass = [share for (share,) in results[question]["actual_results"].values()]
        chosen = asked[question]["Democrat"]
        listed = [label for label in asked[question]["MC_options"] if label in chosen]
        for name, order in (("listed", listed), ("alphabetical", sorted(chosen))):
            wrong = [abs(right[label] - p) for label, p in zip(order, mass, strict=False)]
            # The file's probabilities are not closed: up to 1e-3 went to other tokens.
            agree[name].append(len(order) == len(mass) and max(wrong) < 1e-3)
    assert all(agree["alphabetical"])
    assert np.mean(agree["listed"]) < 0.5
