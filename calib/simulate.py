"""A survey and a biased LLM whose true effects are known: for checks, examples and the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from calib.errors import CalibError
from calib.survey import Group, Option, Question, Scale, Setting
from calib.table import check_table

SURVEY: Final = "simulated"
SETTING: Final = Setting("simulated", "verbalized", "sd")


@dataclass(frozen=True, slots=True)
class Truth:
    """Parameters of the simulation, on the log scale of shares unless said otherwise."""

    beta_between: float = 1.0
    """Slope on the LLM's mean over groups, on average over groups."""
    beta_within: float = 0.3
    """Slope on a group's deviation from the groups of its attribute: the LLM exaggerates
    differences between groups by 1/``beta_within``."""
    beta_contradiction: float = 0.0
    """Slope on what the groups of an attribute have in common beyond the question's mean: the
    same people answer, whichever the attribute, so an LLM that differs there is mistaken."""
    sd_between: float = 0.1
    sd_within: float = 0.1
    """Standard deviations of these slopes between groups."""
    scale_linear: float = 0.0
    scale_curve: float = -1.0
    """Effects of an option's place z in [-1/2, 1/2] and of z², centred over the options."""
    sd_scale_linear: float = 0.1
    sd_scale_curve: float = 0.1
    """Standard deviations of these effects between groups."""
    sd_shape: float = 0.2
    """Standard deviation of what scales with one number of options have in common."""
    n_labels: int = 0
    """Labels from which each question's options draw theirs; 0: an option's label is its place
    and says nothing."""
    sd_label: float = 0.2
    """Standard deviation of what options of one label have in common."""
    kappa: float = 20.0
    """Concentration of a question's shares, which its groups have in common, around their
    expectation; may be infinite."""
    phi: float = 80.0
    """Concentration of a cell's shares around their expectation; may be infinite."""
    n: int = 500
    """Respondents in each cell."""
    floor: float = 0.02
    """Added to the LLM's shares before logarithms are taken: below it they tell nothing."""
    llm_mean: float = 1.0
    llm_spread: float = 0.7
    """Standard deviations of the LLM's log-shares: of their mean, and of a group around it."""


@dataclass(frozen=True, eq=False)
class SimulatedSurvey:
    """A paired table of one setting, with everything that made it."""

    table: pd.DataFrame
    """The paired table."""
    true_shares: pd.DataFrame
    """``p_true`` by question, group and option: the population's shares, of which the
    table's ``p_human`` are a sample."""
    truth: Truth
    group_effects: Mapping[str, Float[np.ndarray, " group"]]
    """beta_between, beta_within, scale_linear and scale_curve, each as drawn for the groups."""


def simulate_survey(
    *,
    n_questions: int,
    groups: Sequence[Group],
    n_options: Sequence[int],
    truth: Truth | None = None,
    nominal: bool = False,
    seed: int,
) -> SimulatedSurvey:
    """Draw a survey and an LLM's answers from the model that ``dirichlet`` fits.

    With ℓ the LLM's log-shares log(p + ε) centred over the options of a cell, m their mean over
    the groups of the question q, and d their deviation from the mean over the groups of an
    attribute (from m where it has one group)::

        s = softmax(β^between · m + γ1 · z + γ2 · (z² - mean z²) + γ_shape + γ_label)
        θ ~ Dirichlet(κ s)
        η = log θ + (β_g^between - β^between) · m + β_g^within · d
            + (γ_g1 - γ1) · z + (γ_g2 - γ2) · (z² - mean z²)
        shares ~ Dirichlet(φ · softmax(η)),   counts ~ Multinomial(n, shares)

    where parameters without g are those of ``truth``, around which the groups' deviate with
    sum zero: independent normal deviations less their mean.

    Parameters
    ----------
    n_options
        Options a question, repeated in turn over the questions; at least two each.
    truth
        The parameters; those of ``Truth()`` if None.
    nominal
        Whether scales are nominal, hence without places (z = 0), instead of ordinal.

    Raises
    ------
    CalibError
        If there is no question or group, or a question has fewer than two options, or more
        than there are labels.
    """
    if n_questions < 1 or not groups or not n_options or min(n_options) < 2:
        raise CalibError(
            "a simulated survey needs questions, groups and two options a question; got "
            f"{n_questions} questions, {len(groups)} groups and options {tuple(n_options)}; "
            "ask for at least one, one and two"
        )
    truth = Truth() if truth is None else truth
    if truth.n_labels and truth.n_labels < max(n_options):
        raise CalibError(
            "the options of a question have labels of their own; got "
            f"{truth.n_labels} labels for {max(n_options)} options; ask for more labels"
        )
    rng = np.random.default_rng(seed)
    effects = _group_effects(truth, len(groups), rng)
    of_shape = {size: truth.sd_shape * rng.standard_normal(size) for size in sorted(set(n_options))}
    of_label = truth.sd_label * rng.standard_normal(truth.n_labels)
    attributes = np.array([group.attribute for group in groups])
    blocks, shares = [], []
    for number in range(n_questions):
        size = n_options[number % len(n_options)]
        labels, of_option = [f"option {place + 1}" for place in range(size)], of_shape[size]
        if truth.n_labels:
            chosen = rng.choice(truth.n_labels, size, replace=False)
            labels = [f"label {label + 1}" for label in chosen]
            of_option = of_option + of_label[chosen]
        question = _question(number, labels, nominal)
        llm, true, human = _answers(question, truth, effects, of_option, attributes, rng)
        rows = _keys(question, groups)
        blocks.append(_columns(question, rows).assign(p_human=human.ravel(), p_llm=llm.ravel()))
        shares.append(rows.assign(p_true=true.ravel()))
    table = pd.concat(blocks, ignore_index=True).assign(n_human=float(truth.n))
    return SimulatedSurvey(check_table(table), pd.concat(shares, ignore_index=True), truth, effects)


def _group_effects(
    truth: Truth, n_groups: int, rng: np.random.Generator
) -> dict[str, Float[np.ndarray, " group"]]:
    spreads = {
        "beta_between": truth.sd_between,
        "beta_within": truth.sd_within,
        "scale_linear": truth.sd_scale_linear,
        "scale_curve": truth.sd_scale_curve,
    }
    effects = {}
    for name, spread in spreads.items():
        unit = rng.standard_normal(n_groups)
        effects[name] = getattr(truth, name) + spread * (unit - unit.mean())
    return effects


def _answers(
    question: Question,
    truth: Truth,
    effects: Mapping[str, Float[np.ndarray, " group"]],
    of_option: Float[np.ndarray, " option"],
    attributes: np.ndarray,
    rng: np.random.Generator,
) -> tuple[
    Float[np.ndarray, "group option"],
    Float[np.ndarray, "group option"],
    Float[np.ndarray, "group option"],
]:
    """Shares of the LLM, of the population and of the sample."""
    n_groups, n_options = len(effects["beta_within"]), len(question.options)
    log_llm = truth.llm_mean * rng.standard_normal(n_options) + (
        truth.llm_spread * rng.standard_normal((n_groups, n_options))
    )
    llm = _softmax(log_llm)
    logs = np.log(llm + truth.floor)
    logs -= logs.mean(axis=1, keepdims=True)
    mean = logs.mean(axis=0)
    own, contradiction = logs - mean, np.zeros(logs.shape)
    for attribute in set(attributes):
        of_attribute = attributes == attribute
        if of_attribute.sum() > 1:
            contradiction[of_attribute] = own[of_attribute].mean(axis=0)
    own -= contradiction
    z = question.places - 0.5 if question.ordered else np.zeros(n_options)
    terms = {
        "beta_between": mean,
        "scale_linear": z,
        "scale_curve": z**2 - np.mean(z**2),
    }
    line = of_option + sum(effects[name].mean() * term for name, term in terms.items())
    of_question = _softmax(line[None])
    if np.isfinite(truth.kappa):
        of_question = rng.dirichlet(truth.kappa * of_question[0])[None]
    # A share may be rounded to zero; its logarithm may not.
    eta = np.log(np.maximum(of_question, 1e-300)) + effects["beta_within"][:, None] * own
    eta += truth.beta_contradiction * contradiction
    for name, term in terms.items():
        eta = eta + (effects[name] - effects[name].mean())[:, None] * term
    expected = _softmax(eta)
    true = expected
    if np.isfinite(truth.phi):
        true = np.stack([rng.dirichlet(truth.phi * row) for row in expected])
    human = rng.multinomial(truth.n, true) / truth.n
    return llm, true, human


def _softmax(log_weights: Float[np.ndarray, "row option"]) -> Float[np.ndarray, "row option"]:
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    shares: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _question(number: int, labels: Sequence[str], nominal: bool) -> Question:
    options = tuple(
        Option(place, label, None if nominal else place + 1.0) for place, label in enumerate(labels)
    )
    scale: Scale = "nominal" if nominal else "ordinal"
    return Question(SURVEY, f"q{number + 1:03}", f"Simulated {number + 1}", scale, options)


def _keys(question: Question, groups: Sequence[Group]) -> pd.DataFrame:
    size = len(question.options)
    return pd.DataFrame(
        {
            "survey": question.survey,
            "question_id": question.id,
            "attribute": np.repeat([group.attribute for group in groups], size),
            "group": np.repeat([group.name for group in groups], size),
            "option_index": np.tile([option.index for option in question.options], len(groups)),
        }
    )


def _columns(question: Question, keys: pd.DataFrame) -> pd.DataFrame:
    option = [question.options[place] for place in keys["option_index"]]
    return keys.assign(
        question=question.text,
        scale=question.scale,
        option=[one.label for one in option],
        option_value=[np.nan if one.value is None else one.value for one in option],
        option_kind="substantive",
        **SETTING._asdict(),
        outcome="answered",
    )
