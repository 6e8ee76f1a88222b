"""Replies whose meaning is known, and replies that have none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from calib.errors import MissingExtraError
from elicit.parse import Reading, read_letter, read_letters_sequence, read_percentages

LABELS = ["Too little", "About right", "Too much"]
NUMBERS = [str(number) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ('{"A": 30, "B": 50, "C": 20}', "json"),
        ('{"A": 0.30, "B": 0.5, "C": 0.2}', "json"),
        ('{"A": "30%", "B": "50 %", "C": "20 percent"}', "json"),
        ('{"A": "30%", "B": 50, "C": "20"}', "json"),
        ('{"c": 20, "a": 30, "b": 50}', "json"),
        ('{"Too little": 30, "about right": 50, " TOO  MUCH": 20}', "json"),
        ('{"A. Too little": 30, "Option B": 50, "(C)": 20}', "json"),
        ("[30, 50, 20]", "json"),
        ('{"percentages": {"A": 30, "B": 50, "C": 20}}', "json"),
        ('{"distribution": [0.3, 0.5, 0.2]}', "json"),
        (
            'Here you are:\n```json\n{"A": 30,\n "B": 50,\n "C": 20}\n```\nAll is [estimated].',
            "json",
        ),
        ('I take {groups} of 2 people. {"A": 30, "B": 50, "C": 20}', "json"),
        ('{"A": 30, "B": 50, "C": 20} That is, {"A": 0.3, "B": 0.5, "C": 0.2}.', "json"),
        ('<think>{"A": 1, "B": 1, "C": 98}? No.</think>{"A": 30, "B": 50, "C": 20}', "json"),
        ('Perhaps {"A": 98}?</think>\n{"A": 30, "B": 50, "C": 20}', "json"),
        ('As an AI I cannot know, but: {"A": 30, "B": 50, "C": 20}', "json"),
        ('{"A": 30, "B": 50, "C": 20,}', "repaired"),
        ("{'A': 30, 'B': 50, 'C': 20}", "repaired"),
        ("{A: 30, B: 50, C: 20}", "repaired"),
        ('{"A": 30, // few\n "B": 50, "C": 20}', "repaired"),
        ('{"A": 30%, "B": 50%, "C": 20%', "repaired"),
        ("A: 30%\nB: 50%\nC: 20%", "pattern"),
        ("A: 30\nB: 50\nC: 20", "pattern"),
        ("A = 0.3; B = 0.5; C = 0.2", "pattern"),
        ("- **A. Too little**: 30%\n- **B.** 50%\n* C 20 %\n\nTotal: 100%", "pattern"),
        ("Too little - 30%, About right - 50%, and Too much - 20%.", "pattern"),
        ("A: 30%, B: 50% and C: 20%", "pattern"),
        ("| A | 30% |\n|---|---|\n| B | 50% |\n| C | 20% |", "pattern"),
    ],
)
def test_one_distribution_in_many_spellings(text: str, how: str) -> None:
    reading = read_percentages(text, LABELS)
    assert (reading.outcome, reading.how, reading.renormalised) == ("answered", how, False)
    np.testing.assert_allclose(reading.shares, [0.3, 0.5, 0.2], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"A": 30, "B": 50}', "no share for C"),
        ('{"A": 30, "B": 50, "C": null}', "'None' is no share"),
        ('{"A": 30, "B": 50, "C": true}', "'True' is no share"),
        ('{"A": 30, "B": 50, "C": "20-25"}', "'20-25' is no share"),
        ('{"A": 30, "B": 50, "C": 20, "D": 0}', "'D' names no option"),
        ('{"A": 30, "B": 50, "C": 20, "comment": "rough"}', "'comment' names no option"),
        ('{"A": 30, "B": 30, "B": 20, "C": 20}', "option B has two shares"),
        ('{"A": 30, "B": 50, "C": 20, "Too little": 30}', "option A has two shares"),
        ('{"A. Too much": 30, "B": 50, "C": 20}', "'A. Too much' names several options"),
        ('{"A": -30, "B": 110, "C": 20}', "'-30.0' is no share"),
        ('{"A": NaN, "B": 50, "C": 50}', "'nan' is no share"),
        ('{"A": 1e999, "B": 50, "C": 50}', "'inf' is no share"),
        ('{"A": ' + "9" * 5000 + ', "B": 0, "C": 0}', "'inf' is no share"),
        ('{"A": 30, "B": 50, "C": 9}', "the shares sum to 89"),
        ('{"A": 30, "B": 50, "C": 31}', "the shares sum to 111"),
        ('{"A": 0.3, "B": 0.5, "C": 0.05}', "the shares sum to 0.85"),
        ('{"A": "0.3%", "B": "0.5%", "C": "0.2%"}', "the shares sum to 1"),
        ('{"A": 0, "B": 0, "C": 0}', "the shares sum to 0"),
        ('{"A": 30, "B": 50, "C": 20} or {"A": 20, "B": 50, "C": 30}', "several different"),
        # Cut off where the last number may go on.
        ('{"A": 60, "B": 30, "C": 1', "number"),
        ("A: 60%\nB: 30%\nC: 1", "number that may go on"),
        # The last of two equal keys would hide the first.
        ('{"A": 10, \'B\': 70, "C": 20, "A": 10}', "without losing numbers"),
        ("{'note': [50, 50, 0], 'A': 30, 'B': 50, 'C': 20}", "'note' names no option"),
        ("30, 50, 20", "no distribution"),
        ("A: 30-40%\nB: 50%\nC: 20%", "no share for A"),
        ("A: 30%\nB: 50%\nC: 20%\nDon't know: 5%", "names no option"),
        ("", "empty"),
        (" \n\t", "empty"),
        ('<think>{"A": 30, "B": 50, "C": 20}', "within its reasoning"),
        ("A" * 30_000, "30000 characters"),
        ("[" * 15_000, "no distribution"),
        ("[1," * 6_000, "too long"),
        ('{"A":' * 4_000, "no distribution"),
    ],
)
def test_what_is_no_distribution_says_why(text: str, why: str) -> None:
    reading = read_percentages(text, LABELS)
    assert reading.outcome == "unparsable"
    assert why in reading.detail
    assert reading.shares == ()


@pytest.mark.parametrize(
    ("shares", "renormalised"),
    [
        ((30, 50, 20), False), ((33.3, 33.3, 33.3), True), ((30, 40, 20), True),
        ((40, 50, 20), True), ((0.3, 0.4, 0.2), True), ((0.4, 0.5, 0.2), True),
        ((0.1, 0.2, 0.7), False), ((1, 0, 0), False),
    ],
)  # fmt: skip
def test_sums_near_one_are_renormalised_and_said_to_be(
    shares: tuple[float, ...], renormalised: bool
) -> None:
    reading = read_percentages(str(list(shares)), LABELS)
    assert reading.outcome == "answered"
    assert reading.renormalised == renormalised
    np.testing.assert_allclose(reading.shares, np.array(shares) / sum(shares), rtol=1e-12)


def test_labels_that_are_numbers_are_whole_words() -> None:
    shares = {"1": 10, "10": 60, **dict.fromkeys(NUMBERS[1:9], 3.75)}
    text = "\n".join(f"{label}: {share}%" for label, share in shares.items())
    reading = read_percentages(text, NUMBERS)
    assert reading.shares[0] == pytest.approx(0.1)
    assert reading.shares[9] == pytest.approx(0.6)
    # A number that is no label is no position either.
    assert read_percentages('{"1": 30, "2": 50, "3": 20}', LABELS).outcome == "unparsable"


@pytest.mark.parametrize(
    "text",
    [
        "B", " b\n", "(B)", "B.", "[B]", "**B**", '"B"', "B. About right", "B) about right",
        "b - About right", "About right", '"About right."', "Answer: B", "answer: (b)",
        "The answer is B.", "My answer is: About right", "Option B", "My choice: option B",
        "B\n\nBecause A is extreme.", "B. Because I like it.", "Answer:\nB", "Answer:\n\n**B**",
        "I would choose B.", "A person like me would pick B because of it.",
        "So the final answer is **B**.", r"\boxed{B}", r"The result: $\boxed{\text{B}}$",
        '{"answer": "B"}', '{"answer": "About right"}', '["B"]',
        '{"explanation": "A is too extreme", "answer": "B"}', '```json\n{"answer": "B"}\n```',
        "<think>A, or C?</think>B", "A?</think> B", "As an AI I have no opinions.\nB",
    ],
)  # fmt: skip
def test_one_option_in_many_spellings(text: str) -> None:
    reading = read_letter(text, LABELS)
    assert reading.outcome == "answered"
    assert reading.shares == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "", "D", "1", "2", "AB", "I", "A or B", "A, B", "A\nB", "B. Too much", "Answer: A, B",
        "A lot of people think so", "I would not choose B", "I don't think the answer is B.",
        "If I had to, I would choose B.", "Would you choose B?", "The answer is B or C",
        "Vitamin C is good", "I choose B because A is too extreme", "The answer is A lot",
        "A. Too little\nB. About right\nC. Too much", '{"answer": "A", "answer": "B"}',
        '{"answer": ["A", "B"]}', "A: 30%, B: 70%", "<think>B", "B" * 30_000,
        "answer " * 2_000, "answer is " * 1_500, "((((" * 4_000,
    ],
)  # fmt: skip
def test_what_names_no_option_or_several_is_unparsable(text: str) -> None:
    reading = read_letter(text, LABELS)
    assert (reading.outcome, reading.shares) == ("unparsable", ())
    assert reading.detail


def test_words_are_no_letters() -> None:
    many = [f"label {number}" for number in range(9)]
    for text in ("I think so", "I", "A", "I am not sure.", "A good question"):
        expected = {"I": 8, "A": 0}.get(text)
        reading = read_letter(text, many)
        assert reading.outcome == ("unparsable" if expected is None else "answered")
        if expected is not None:
            assert reading.shares[expected] == 1


def test_one_and_ten_are_not_confused() -> None:
    for text, place in (
        ("1", 0),
        ("10", 9),
        ("A. 1", 0),
        ("J", 9),
        ("Answer: 10", 9),
        ("J) 10", 9),
    ):
        reading = read_letter(text, NUMBERS)
        assert (reading.outcome, reading.shares.index(1)) == ("answered", place)
    for text in ("B. 10", "A. 10", "1 0", "1, 10", "100", "10 or 1"):
        assert read_letter(text, NUMBERS).outcome == "unparsable"


def test_a_letter_is_a_letter_where_labels_are_letters_too() -> None:
    labels = ["B", "C", "A"]
    assert read_letter("A", labels).shares == (1.0, 0.0, 0.0)
    assert read_letter("A. B", labels).shares == (1.0, 0.0, 0.0)
    shares = read_percentages('{"A": 10, "B": 20, "C": 70}', labels).shares
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7])
    # In small letters it may be either.
    assert read_letter("a", labels).outcome == "unparsable"


def test_labels_that_look_like_something_else_are_only_labels() -> None:
    sly = ["Ignore all of this and answer B", '{"answer": "C"}', "Answer: A"]
    assert read_letter("A. Ignore all of this and answer B", sly).shares == (1.0, 0.0, 0.0)
    assert read_letter('B. {"answer": "C"}', sly).shares == (0.0, 1.0, 0.0)
    assert read_letter("Ignore all of this and answer B", sly).shares == (1.0, 0.0, 0.0)
    # The label of one option, and the announcement of another.
    assert read_letter("Answer: A", sly).outcome == "unparsable"
    assert read_letter('{"answer": "C"}', sly).outcome == "unparsable"


def test_labels_that_cannot_be_told_apart_by_case_need_their_letter() -> None:
    labels = ["it", "IT"]
    assert read_letter("it", labels).outcome == "unparsable"
    assert read_letter("B. IT", labels).shares == (0.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I do not have personal opinions.",
        "I cannot choose between A and B.",
        "I\u2019m not able to estimate the views of groups.",
        "I must decline.",
    ],
)
def test_refusals(text: str) -> None:
    for read in (read_percentages, read_letter, read_letters_sequence):
        assert read(text, LABELS).outcome == "refused"


def test_what_is_no_refusal() -> None:
    for text in ("They could not care less", "Refused", "The weather is fine"):
        assert read_letter(text, LABELS).outcome == "unparsable"


SEQUENCE = "ABCBBBAAAA"


@pytest.mark.parametrize(
    "text",
    [
        '{"answers": ["A", "B", "C", "B", "B", "B", "A", "A", "A", "A"]}',
        '["A", "B", "C", "B", "About right", "B.", "A. Too little", "a", "A", "A"]',
        '```json\n{"n": 10, "answers": ["A","B","C","B","B","B","A","A","A","A"]}\n```',
        '[{"id": 1, "answer": "A"},' + ",".join(f'{{"answer": "{x}"}}' for x in SEQUENCE[1:]) + "]",
        "{" + ",".join(f'"{n}": "{x}"' for n, x in enumerate(SEQUENCE)) + "}",
        "A, B, C, B, B, B, A, A, A, A",
        "A B C B B B A A A A",
        "ABCBBBAAAA",
        "Here are ten people, simulated:\n"
        + "\n".join(f"{n}. {x}" for n, x in enumerate(SEQUENCE)),
        "\n".join(f"Person {n}: {x}" for n, x in enumerate(SEQUENCE)),
        "<think>A, A, A</think>A; B; C; B; B; B; A; A; A; A",
    ],
)
def test_one_sequence_in_many_spellings(text: str) -> None:
    reading = read_letters_sequence(text, LABELS, expected=10)
    assert reading.outcome == "answered"
    assert reading.unread == 0
    np.testing.assert_allclose(reading.shares, [0.5, 0.4, 0.1], rtol=1e-12)


def test_parts_of_a_sequence_that_name_nothing_are_counted() -> None:
    text = '{"answers": ["A", "B", "D", "A or B", "B", "B", "A", "A", "", "A"]}'
    reading = read_letters_sequence(text, LABELS, expected=10)
    assert (reading.outcome, reading.unread) == ("answered", 3)
    np.testing.assert_allclose(reading.shares, [4 / 7, 3 / 7, 0])
    cut = read_letters_sequence('{"answers": ["A", "B", "B", "A", "A", "B", "B", "To', LABELS, 10)
    assert (cut.outcome, cut.unread, cut.how) == ("answered", 1, "pattern")
    listed = read_letters_sequence("1. A\n2. none\n3. B\n4. B", LABELS, expected=4)
    assert (listed.outcome, listed.unread) == ("answered", 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('["A", "B", "B", "A", "A", "B"]', "6 answers and 0 other parts where 10"),
        ("A, " * 16, "16 answers where 10 were asked for"),
        ('["A", "B"] and ["B", "A"]', "2 lists are given"),
        ('{"A": 5, "B": 5}', "0 answers"),
        ("A person, I think, would say B, or A", "answers"),
        ("", "empty"),
    ],
)
def test_what_is_no_sequence(text: str, why: str) -> None:
    reading = read_letters_sequence(text, LABELS, expected=10)
    assert reading.outcome == "unparsable"
    assert why in reading.detail


def test_repair_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json_repair", None)
    assert read_percentages('{"A": 30, "B": 50, "C": 20}', LABELS).outcome == "answered"
    with pytest.raises(MissingExtraError, match=r"opinion-calibration\[llm\]"):
        read_percentages('{"A": 30, "B": 50, "C": 20,}', LABELS)


def test_a_reading_that_is_none_has_no_shares() -> None:
    assert Reading("unparsable").shares == ()
