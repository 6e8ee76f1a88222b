"""Small questions, blocks, pairs and tables for tests, with known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from calib.opinions import Elicited, Index, Opinions, close
from calib.paired import Paired
from calib.survey import Group, Option, Question, Scale, Setting


def question(
    id: str,
    n_options: int = 3,
    scale: Scale = "ordinal",
    values: Sequence[float] | None = None,
    survey: str = "test",
) -> Question:
    """A question with options o0, o1, …, valued 1, 2, … unless told otherwise."""
    codes: Sequence[float | None]
    if values is not None:
        codes = [float(value) for value in values]
    else:
        codes = [None if scale == "nominal" else i + 1.0 for i in range(n_options)]
    options = tuple(Option(i, f"o{i}", code) for i, code in enumerate(codes))
    return Question(survey, id, f"What about {id}?", scale, options)


def groups(n: int) -> tuple[Group, ...]:
    """Groups g00, g01, … of one attribute."""
    return tuple(Group("ATTR", f"g{i:02}") for i in range(n))


def settings(n: int) -> tuple[Setting, ...]:
    """Settings of models m0, m1, …, verbalised with the persona prompt."""
    return tuple(Setting(f"m{i}", "verbalized", "sd") for i in range(n))


def index(
    questions: Sequence[Question],
    of_groups: Sequence[Group] | None = None,
    mask: Bool[np.ndarray, "row option"] | None = None,
) -> Index:
    """Every question put to every group (two unless given), all groups of a question in turn."""
    asked = groups(2) if of_groups is None else tuple(of_groups)
    sizes = np.repeat([len(q.options) for q in questions], len(asked))
    exists = np.arange(max(sizes)) < sizes[:, None]
    return Index(
        questions=tuple(questions),
        groups=asked,
        question_of_row=np.repeat(np.arange(len(questions)), len(asked)),
        group_of_row=np.tile(np.arange(len(asked)), len(questions)),
        mask=exists if mask is None else mask & exists,
    )


def opinions(
    of_index: Index,
    rng: np.random.Generator,
    n: float | None = None,
    concentration: float = 1.0,
) -> Opinions:
    """Random shares, Dirichlet with equal concentrations; n respondents a row if given."""
    shares = close(rng.gamma(concentration, size=of_index.mask.shape) + 1e-12, of_index.mask)
    return Opinions(of_index, shares, None if n is None else np.full(len(of_index), n))


def paired(human: Opinions, *sources: Opinions) -> Paired:
    """Human opinions beside those of one or several sources."""
    return Paired(human, Elicited(settings(len(sources)), sources), {})


def silence(block: Opinions, rows: Int[np.ndarray, " silent"] | list[int]) -> Opinions:
    """The same opinions with some rows unanswered."""
    probs = block.probs.copy()
    probs[rows] = np.where(block.index.mask[rows], np.nan, 0.0)
    return Opinions(block.index, probs, block.n)


def tempered(block: Opinions, temperature: float) -> Opinions:
    """Shares to the power 1/temperature, closed: sharper below 1, flatter above."""
    powered = np.where(block.index.mask, block.probs, 1.0) ** (1 / temperature)
    return Opinions(block.index, close(powered, block.index.mask), block.n)


def known_distortion(
    seed: int = 0,
    n_questions: int = 40,
    n_groups: int = 4,
    n_options: Sequence[int] = (2, 3, 4, 5),
    n_sources: int = 1,
) -> Paired:
    """People whose shares an LLM reports exaggerated: tempered at 0.4, 0.5, …, 200 a cell.

    Shares of a question's groups lie near each other. Option counts rotate over questions
    and every fifth question is nominal.
    """
    rng = np.random.default_rng(seed)
    sizes = [n_options[i % len(n_options)] for i in range(n_questions)]
    asked = [
        question(f"q{i:03}", size, "nominal" if i % 5 == 4 else "ordinal")
        for i, size in enumerate(sizes)
    ]
    of_index = index(asked, groups(n_groups))
    width = of_index.mask.shape[1]
    topline = rng.normal(0.0, 0.7, size=(n_questions, width))[of_index.question_of_row]
    logits = topline + rng.normal(0.0, 0.2, size=topline.shape)
    truth = Opinions(of_index, close(np.exp(logits), of_index.mask))
    counts = rng.multinomial(200, truth.probs)
    human = Opinions(
        of_index, close(counts.astype(float), of_index.mask), np.full(len(truth), 200.0)
    )
    sources = [tempered(truth, 0.4 + 0.1 * number) for number in range(n_sources)]
    return paired(human, *sources)


def table(pair: Paired) -> pd.DataFrame:
    """The paired table, in long format, of which ``pair`` is the block form."""
    cells = pair.index
    rows: list[dict[str, object]] = []
    for setting, source in zip(pair.elicited.settings, pair.elicited.sources, strict=True):
        for row in range(len(cells)):
            asked = cells.questions[cells.question_of_row[row]]
            group = cells.groups[cells.group_of_row[row]]
            for option in np.flatnonzero(cells.mask[row]):
                chosen = asked.options[option]
                rows.append(
                    {
                        "survey": asked.survey,
                        "question_id": asked.id,
                        "question": asked.text,
                        "scale": asked.scale,
                        "option_index": chosen.index,
                        "option": chosen.label,
                        "option_value": chosen.value,
                        "option_kind": chosen.kind,
                        "attribute": group.attribute,
                        "group": group.name,
                        "n_human": np.nan if pair.human.n is None else pair.human.n[row],
                        "p_human": pair.human.probs[row, option],
                        "model": setting.model,
                        "elicitation": setting.elicitation,
                        "prompt": setting.prompt,
                        "outcome": "answered" if source.known[row] else "refused",
                        "p_llm": source.probs[row, option],
                    }
                )
    return pd.DataFrame(rows).astype({"option_value": float})


def reordered(pair: Paired, order_of: Sequence[Int[np.ndarray, " option"]]) -> Paired:
    """The same pairs with each question's options in another order (values stay with options).

    ``order_of[q]`` lists question q's former option numbers in their new order.
    """
    former = pair.index
    questions = tuple(
        Question(
            q.survey, q.id, q.text, q.scale,
            tuple(
                Option(new, q.options[old].label, q.options[old].value)
                for new, old in enumerate(order)
            ),
        )
        for q, order in zip(former.questions, order_of, strict=True)
    )  # fmt: skip
    moved = reordering(former, order_of)
    of_index = Index(
        questions, former.groups, former.question_of_row, former.group_of_row,
        np.take_along_axis(former.mask, moved, axis=1),
    )  # fmt: skip

    def block(old: Opinions) -> Opinions:
        return Opinions(of_index, np.take_along_axis(old.probs, moved, axis=1), old.n)

    return paired(block(pair.human), *map(block, pair.elicited.sources))


def reordering(
    of_index: Index, order_of: Sequence[Int[np.ndarray, " option"]]
) -> Int[np.ndarray, "row option"]:
    """For each row, the former column of each new column; padding stays where it is."""
    width = of_index.mask.shape[1]
    columns = np.tile(np.arange(width), (len(of_index.questions), 1))
    for number, order in enumerate(order_of):
        columns[number, : len(order)] = order
    former: np.ndarray = columns[of_index.question_of_row]
    return former


def with_probs(block: Opinions, probs: Float[np.ndarray, "row option"]) -> Opinions:
    """Other shares for the same cells."""
    return Opinions(block.index, probs, block.n)
