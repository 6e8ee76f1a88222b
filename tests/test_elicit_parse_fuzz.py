"""Generated malformed replies with known truth: no exception, no wrong option, all classified."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase, printable

import pytest

from elicit.parse import Reading, read_letter, read_letters_sequence, read_percentages

SLY = ("Ignore this and answer B", '{"answer": "A"}', "Answer: A", "<think>", "50%")
SLIER = ("I", "A lot", "A little", "Option B", "None of these")
LABEL_SETS = (
    ("Too little", "About right", "Too much"),
    ("Yes", "No"),
    ("Disagree strongly", "Disagree", "Neither", "Agree", "Agree strongly"),
    tuple(str(number) for number in range(1, 11)),
    ("18-29", "30-49", "50-64", "65+"),
    ("B", "C", "A"),
    SLIER,
    SLY,
    tuple(f"Choice {letter}" for letter in ascii_uppercase),
    ("Oui, bien sûr", "Non — jamais", "不知道", "\u202eyes"),
)
PROSE = (
    "Sure!", "I think that people differ.", "A person like this may say much.",
    "Here is my estimate for the 2 groups:", "In 2018, 45 of 100 said so.", "Note [1] and {this}.",
    "As an AI, I have no opinions.", "This adds up to one.",
)  # fmt: skip
JUNK = (
    "\x00", "\ud800", "```", "<think>", "</think>", "{", "}", "[", "]", '"', "\\", "\n", ",", "%",
    "NaN", "1e999", "-", "null", "A", "I", "\u2028", "🙂", "((((((", '{"A": 1}', "Answer: A", ":",
)  # fmt: skip


@dataclass
class Reply:
    """A text, and what may be read in it: None where anything or nothing may be."""

    text: str
    labels: Sequence[str]
    truth: tuple[float, ...] | None
    must_be_read: bool


def distribution(rng: random.Random) -> Reply:
    """A distribution, spelt in some way, then perhaps damaged."""
    labels = rng.choice(LABEL_SETS)
    n = len(labels)
    cuts = sorted(rng.sample(range(1, 100), n - 1))
    shares = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    letters = ascii_uppercase[:n]
    fraction = rng.random() < 0.3
    sign = "" if fraction else rng.choice(["", "", "%"])
    numbers = [f"{share / 100:g}" if fraction else str(share) for share in shares]
    quoted = [f'"{number}{sign}"' if sign else number for number in numbers]
    keyed_by_label = labels in LABEL_SETS[:5] and rng.random() < 0.3
    keys = [
        json.dumps(label, ensure_ascii=False) for label in (labels if keyed_by_label else letters)
    ]
    style = rng.choice(
        ["json", "spread", "list", "single", "bare", "trailing", "lines", "markdown"]
    )
    pairs = [f"{key}: {number}" for key, number in zip(keys, quoted, strict=True)]
    text = {
        "json": "{" + ", ".join(pairs) + "}",
        "spread": "{\n  " + ",\n  ".join(pairs) + "\n}",
        "list": "[" + ", ".join(quoted) + "]",
        "single": ("{" + ", ".join(pairs) + "}").replace('"', "'"),
        "bare": "{" + ", ".join(f"{x}: {y}" for x, y in zip(letters, numbers, strict=True)) + "}",
        "trailing": "{" + ", ".join(pairs) + ",}",
        "lines": "\n".join(f"{x}: {y}{sign}" for x, y in zip(letters, numbers, strict=True)),
        "markdown": "\n".join(
            f"- **{x}**: {y}{sign}" for x, y in zip(letters, numbers, strict=True)
        ),
    }[style]
    truth = tuple(share / 100 for share in shares)
    damage = rng.choice(["none", "cut", "prose", "break", "rewrite", "noise"])
    if damage == "cut":
        return Reply(text[: rng.randrange(len(text))], labels, truth, False)
    if damage == "prose":
        return Reply(wrapped(rng, text), labels, truth, False)
    if damage == "break":
        return Reply(broken_distribution(rng, letters, numbers), labels, (), False)
    if damage in ("rewrite", "noise"):
        return Reply(scrambled(rng, text), labels, None, False)
    return Reply(text, labels, truth, True)


def broken_distribution(rng: random.Random, letters: str, numbers: list[str]) -> str:
    """Something that must not be read: a share missing, double, unknown, negative, undefined."""
    pairs = list(zip(letters, numbers, strict=True))
    place = rng.randrange(len(pairs))
    letter, number = pairs[place]
    match rng.randrange(6):
        case 0:
            del pairs[place]
        case 1:
            pairs.insert(rng.randrange(len(pairs)), (letter, str(rng.randrange(5))))
        case 2:
            pairs.append((rng.choice(["total", "a b", "?", "Z9"]), "0"))
        case 3:
            pairs[place] = (letter, f"-{number}" if float(number) else "-1")
        case 4:
            pairs[place] = (letter, rng.choice(["NaN", "Infinity", "null", "true", '"many"', "[]"]))
        case _:
            factor = rng.choice([0.5, 1.3])
            pairs = [(one, str(float(share) * factor)) for one, share in pairs]
    opening, closing, quote = rng.choice([("{", "}", '"'), ("{", ",}", '"'), ("{", "}", "'")])
    body = ", ".join(f"{quote}{one}{quote}: {share}" for one, share in pairs)
    return opening + body + closing


def letter(rng: random.Random) -> Reply:
    """One option, spelt in some way, then perhaps damaged."""
    labels = rng.choice(LABEL_SETS)
    place = rng.randrange(len(labels))
    name, label = ascii_uppercase[place], labels[place]
    truth = tuple(float(one == place) for one in range(len(labels)))
    # A label that looks like an announcement makes some spellings ambiguous.
    plain = labels not in (SLY, SLIER)
    text = rng.choice(
        [
            name, f"({name})", f"{name}.", f"**{name}**", f"{name}. {label}",
            f"{name}) {label}", f"Answer: {name}", f"The answer is {name}.",
            f"Option {name}", f"I would choose {name}.", f'{{"answer": "{name}"}}',
            f'```json\n{{"answer": "{name}"}}\n```', f"\\boxed{{{name}}}",
        ]
    )  # fmt: skip
    damage = rng.choice(["none", "cut", "prose", "reason", "two", "refusal", "noise"])
    if damage == "cut":
        # What is left may be another option's label or letter: "A" of "Answer".
        cut = text[: rng.randrange(len(text))]
        known = label not in text and cut.strip() not in ("A", "I", "O", "T")
        return Reply(cut, labels, truth if known else None, False)
    if damage == "prose":
        return Reply(wrapped(rng, text), labels, truth, False)
    if damage == "reason":
        other = ascii_uppercase[rng.randrange(len(labels))]
        return Reply(f"<think>{other}? Answer: {other}</think>\n{text}", labels, truth, plain)
    if damage == "two" and len(labels) > 1:
        other = ascii_uppercase[(place + rng.randrange(1, len(labels))) % len(labels)]
        joined = rng.choice([f"{name} or {other}", f"{name}\n{other}", f"{name}, {other}",
                             f"Answer: {name}\nAnswer: {other}", f"I choose {name} or {other}.",
                             f"The answer is not {name} but {other}"])  # fmt: skip
        return Reply(joined, labels, (), False)
    if damage == "refusal":
        said = rng.choice(
            [f"I cannot choose {name}.", f"I'm sorry, I can't answer {name} here.",
             f"As an AI, I would never choose {name}", f"I will not say {name}"]
        )  # fmt: skip
        return Reply(said, labels, (), False)
    if damage == "noise":
        return Reply(scrambled(rng, text), labels, None, False)
    return Reply(text, labels, truth, plain)


def sequence(rng: random.Random) -> Reply:
    """Thirty answers, spelt in some way, then perhaps damaged."""
    labels = rng.choice(LABEL_SETS)
    places = [rng.randrange(len(labels)) for _ in range(30)]
    names = [ascii_uppercase[place] for place in places]
    counts = Counter(places)
    truth = tuple(counts[place] / 30 for place in range(len(labels)))
    text = rng.choice(
        [
            json.dumps({"answers": names}), json.dumps(names), ", ".join(names), " ".join(names),
            "\n".join(f"{number}. {name}" for number, name in enumerate(names, start=1)),
            "\n".join(f"Person {number}: {name}" for number, name in enumerate(names, start=1)),
            "\n".join(names),
        ]
    )  # fmt: skip
    damage = rng.choice(["none", "reason", "short", "long", "noise"])
    if damage == "reason":
        return Reply(f"<think>{', '.join(names[::-1])}</think>{text}", labels, truth, True)
    if damage == "short":
        return Reply(", ".join(names[: rng.randrange(20)]), labels, (), False)
    if damage == "long":
        return Reply(json.dumps(names * 2), labels, (), False)
    if damage == "noise":
        return Reply(scrambled(rng, text), labels, None, False)
    return Reply(text, labels, truth, True)


def wrapped(rng: random.Random, text: str) -> str:
    before, after = rng.choice(PROSE), rng.choice(PROSE)
    return rng.choice([f"{before}\n{text}", f"{text}\n{after}", f"{before}\n\n{text}\n\n{after}"])


def scrambled(rng: random.Random, text: str) -> str:
    """Characters lost, doubled, exchanged and put in."""
    characters = list(text)
    for _ in range(rng.randrange(1, 8)):
        place = rng.randrange(len(characters) + 1)
        match rng.randrange(5):
            case 0:
                del characters[place : place + rng.randrange(1, 4)]
            case 1:
                characters[place:place] = characters[place : place + rng.randrange(1, 9)]
            case 2:
                rng.shuffle(characters) if rng.random() < 0.1 else characters.reverse()
            case 3:
                characters.insert(place, rng.choice(JUNK))
            case _:
                characters.insert(place, rng.choice(printable))
    return "".join(characters)


KINDS: tuple[tuple[Callable[[random.Random], Reply], Callable[..., Reading]], ...] = (
    (distribution, read_percentages),
    (letter, read_letter),
    (sequence, read_letters_sequence),
)


def fuzz(number: int, seed: int) -> Counter[tuple[str, str]]:
    """Outcomes by kind; raises where a reading is wrong."""
    rng = random.Random(seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    for _ in range(number):
        generate, read = rng.choices(KINDS, weights=(5, 4, 1))[0]
        reply = generate(rng)
        reading = read(reply.text, reply.labels)
        outcomes[generate.__name__, reading.outcome] += 1
        problem = wrong(reading, reply)
        assert not problem, f"{problem}: {reply} was read as {reading}"
    return outcomes


def wrong(reading: Reading, reply: Reply) -> str:
    """What is wrong with a reading; empty if nothing is."""
    if reading.outcome not in ("answered", "refused", "unparsable"):
        return "not classified"
    if reading.outcome != "answered":
        if reading.shares or not reading.detail:
            return "no answer, but shares or no reason"
        return "not read" if reply.must_be_read else ""
    if len(reading.shares) != len(reply.labels) or min(reading.shares) < 0:
        return "no shares"
    if abs(sum(reading.shares) - 1) > 1e-9:
        return "shares do not sum to one"
    if reply.truth is None:
        return ""
    if not reply.truth:
        return "read where nothing can be"
    near = max(abs(a - b) for a, b in zip(reading.shares, reply.truth, strict=True)) < 1e-9
    return "" if near else "another answer than given"


def test_3000_replies() -> None:
    outcomes = fuzz(3_000, seed=1)
    # All outcomes come up: a generator of nothing but noise would show nothing.
    for kind in ("distribution", "letter", "sequence"):
        assert outcomes[kind, "answered"] > 100
        assert outcomes[kind, "unparsable"] > 50
    assert outcomes["letter", "refused"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_100000_replies(seed: int) -> None:
    # In four parts, for as many processes.
    assert fuzz(25_000, seed=seed).total() == 25_000


def test_a_wrong_reading_is_noticed() -> None:
    reply = Reply("B", ("x", "y"), (0.0, 1.0), True)
    assert wrong(read_letter("B", ("x", "y")), reply) == ""
    assert wrong(read_letter("A", ("x", "y")), reply) == "another answer than given"
    assert wrong(read_letter("?", ("x", "y")), reply) == "not read"
    assert wrong(Reading("answered", (0.5, 0.6)), reply) == "shares do not sum to one"
    nothing = Reply("?", ("x", "y"), (), False)
    assert wrong(read_letter("A", ("x", "y")), nothing) == "read where nothing can be"
