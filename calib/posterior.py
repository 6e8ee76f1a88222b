"""From a fitted posterior to draws of shares: every question and cell with its own error."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

from calib.anchor import Anchors
from calib.blocks import Block
from calib.errors import FitError
from calib.formulas import (
    Common,
    Covariates,
    GroupEffects,
    design,
    deviation,
    question_mean,
    softmax,
)
from calib.margins import shares_with_margins
from calib.opinions import Elicited
from calib.prior import GROUP_PARTS, SHAPE_SPREAD
from calib.survey import Group, QuestionKey, Shape

if TYPE_CHECKING:
    from xarray import DataTree

N_PREDICTIVE_DRAWS: Final = 1000
"""Draws at prediction: the posterior's, thinned evenly to at most so many."""
SMALLEST_CONCENTRATION: Final = 1e-300
"""Of a Dirichlet variate; a share expected below it is zero to all that follows."""
SMALLEST_TOTAL: Final = 1e-290
"""Of a draw's gamma variates, for the smaller among them to have all their digits."""
BLOCK_SIZE: Final = 1_000_000
"""Numbers that one array of a prediction holds at most: 8 MB, which a processor's cache holds.

With 40 MB a prediction took one and a half times as long.
"""
N_THREADS: Final = 2
"""Portions that are drawn side by side."""


class Posterior:
    """Flat, thinned draws of what prediction needs, for any groups and scale shapes."""

    def __init__(
        self,
        tree: DataTree,
        groups: Sequence[Group],
        shapes: Sequence[Shape],
        labels: Sequence[str],
        seed: int,
    ) -> None:
        posterior = tree["posterior"].dataset
        n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
        kept = np.linspace(0, n_draws - 1, min(n_draws, N_PREDICTIVE_DRAWS)).astype(int)
        self.sites: dict[str, np.ndarray] = {
            str(name): values.to_numpy().reshape(n_draws, *values.shape[2:])[kept]
            for name, values in posterior.items()
            if name != "question_logit"
        }
        self.groups, self.shapes, self.seed = list(groups), list(shapes), seed
        self.number_of = {group: number for number, group in enumerate(self.groups)}
        self.labels = tuple(labels)
        self.n_draws = len(kept)

    def common(self, shapes: Sequence[Shape], n_options: int) -> Common:
        """What holds for all groups; a scale shape not seen gets a draw from its prior."""
        sites = self.sites
        logits = np.zeros((self.n_draws, len(shapes), n_options))
        for number, shape in enumerate(shapes):
            has = slice(shape.n_options)
            logits[:, number, has] = (
                sites["shape_logit"][:, self.shapes.index(shape), has]
                if shape in self.shapes
                else SHAPE_SPREAD * self._noise(f"shape|{shape}", (self.n_draws, shape.n_options))
            )
        of_label = np.zeros((self.n_draws, len(self.labels)))
        if "label_logit" in sites:
            of_label[:, 1:] = sites["label_logit"]
        return Common(
            sites["beta_between"], sites["scale_linear"], sites["scale_curve"], logits, of_label
        )

    def effects(self, groups: Sequence[Group]) -> GroupEffects | None:
        """Effects of groups; unseen ones from the population. None where one group was seen."""
        if "beta_within_group" not in self.sites:
            return None
        columns = {
            part: np.stack([self._off(part, group) for group in groups], axis=-1)
            for part in GROUP_PARTS
        }
        slopes = (self.sites[site] for site in ("beta_within", "beta_contradiction"))
        return GroupEffects(*slopes, *columns.values())

    def _off(self, part: str, group: Group) -> Float[np.ndarray, " draw"]:
        """How a group differs from the population: one value for all sources together."""
        if group not in self.number_of:
            return self.sites[f"sd_{part}"] * self._noise(f"{part}|{group}", (self.n_draws,))
        number = self.number_of[group]
        if part.startswith("scale"):
            own: np.ndarray = self.sites[f"{part}_group"][:, number] - self.sites[part]
            return own
        slopes = self.sites[f"beta_{part}_group"][:, :, number] - self.sites[f"beta_{part}"]
        of_sources: np.ndarray = slopes.sum(axis=1)
        return of_sources

    def _noise(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return _generator(self.seed, name).standard_normal(shape)


def draw_shares(
    posterior: Posterior, elicited: Elicited, anchors: Anchors | None = None
) -> Iterator[tuple[Int[np.ndarray, " taken"], Float[np.ndarray, "draw taken option"]]]:
    """Draws of true shares, some questions at a time: the rows and their draws.

    Together the draws of a large table would not fit in memory. Rows of one question share
    the draw of its error. Where the topline of a question is known, what its groups share is
    not drawn but such that their expected shares add up to it; ``FitError`` where they cannot.

    Every question and cell has random numbers of its own, made from the seed and its name,
    so that a prediction does not depend on what else is in the table.
    """
    index = elicited.index
    if not len(index):
        return
    order = np.argsort(index.question_of_row, kind="stable")
    n_questions = len(index.questions)
    ends = np.searchsorted(index.question_of_row[order], np.arange(n_questions + 1))

    def drawn(
        questions: Int[np.ndarray, " question"],
    ) -> tuple[Int[np.ndarray, " taken"], Float[np.ndarray, "draw taken option"]]:
        rows = np.sort(order[ends[questions[0]] : ends[questions[-1] + 1]])
        known = None if anchors is None else anchors.take(questions, rows)
        return rows, _draw_portion(posterior, elicited.take(rows), known)

    # NumPy lets go of the interpreter's lock while it computes.
    with ThreadPoolExecutor(N_THREADS) as pool:
        ahead: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
        for questions in _portions(posterior.n_draws * elicited.probs.size, n_questions):
            ahead.append(pool.submit(drawn, questions))
            # No more ahead than threads: what is drawn and not yet taken fills the memory.
            if len(ahead) > N_THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _draw_portion(
    posterior: Posterior, elicited: Elicited, anchors: Anchors | None
) -> Float[np.ndarray, "draw row option"]:
    index = elicited.index
    block = Block(index, posterior.labels)
    expected = _expected(posterior, block, block.covariates(elicited.filled), anchors)
    expected = expected[:, block.question, block.slot]
    if "phi" not in posterior.sites:
        return expected
    shares = np.zeros(expected.shape)
    for row, (q, g) in enumerate(zip(index.question_of_row, index.group_of_row, strict=True)):
        generator = _generator(posterior.seed, *index.question_keys[q], *index.groups[g])
        offered = index.mask[row]
        concentration = posterior.sites["phi"][:, None] * expected[:, row, offered]
        shares[:, row, offered] = dirichlet(concentration, generator)
    return shares


def _expected(
    posterior: Posterior, block: Block, data: Covariates, anchors: Anchors | None
) -> Float[np.ndarray, "draw question slot option"]:
    """Draws of each cell's expected shares, its question's error among them."""
    parts = design(np, data, posterior.sites["log_floor"])
    common = posterior.common(block.shapes, data.place.shape[1])
    mean = question_mean(np, data, parts, common)
    logits = np.zeros(mean.shape)
    for q, (key, exists) in enumerate(
        zip(block.index.question_keys, data.mask.any(axis=1), strict=True)
    ):
        concentration = posterior.sites["kappa"][:, None] * mean[:, q, exists]
        logits[:, q, exists] = log_dirichlet(concentration, _generator(posterior.seed, *key))
    effects = posterior.effects(block.index.groups)
    deviations = np.zeros((len(mean), *data.mask.shape))
    if effects is not None:
        deviations += deviation(np, data, parts, effects)
    expected = softmax(np, logits[:, :, None, :] + deviations, data.mask)
    if anchors is not None:
        weight = block.of_rows(anchors.weight)
        for q in np.flatnonzero(anchors.known).tolist():
            key, mask = block.index.question_keys[q], data.mask[q]
            topline = np.tile(anchors.topline[q], (len(mean), 1))
            if not np.isnan(anchors.n[q]):
                log_mean = np.log(np.maximum(mean[:, q], SMALLEST_CONCENTRATION))
                without_error = softmax(np, log_mean[:, None, :] + deviations[:, q], mask)
                prior = (weight[q][:, None] * without_error).sum(axis=1)
                topline = _topline(posterior, key, prior, anchors.n[q] * topline)
            expected[:, q], reached = shares_with_margins(
                deviations[:, q], mask, weight[q], topline
            )
            if not reached.all():
                raise FitError(
                    "the groups of an anchored question can add up to its topline; those of "
                    f"{'/'.join(key)} cannot in {(~reached).sum()} of {len(reached)} draws, for "
                    "too few were offered some option; take the question out of the toplines, "
                    "or predict together with it the groups that were offered the option"
                )
    return expected


def _topline(
    posterior: Posterior,
    key: QuestionKey,
    prior: Float[np.ndarray, "draw option"],
    counts: Float[np.ndarray, "draw option"],
) -> Float[np.ndarray, "draw option"]:
    """Draws of the shares of all people, of whom some were asked: Dirichlet(κ prior + counts).

    The prior is the model's own, what the groups add up to without their question's error:
    few respondents leave much to it, many nothing.
    """
    exists = prior.any(axis=0)
    concentration = posterior.sites["kappa"][:, None] * prior + counts
    drawn = np.zeros(prior.shape)
    generator = _generator(posterior.seed, *key, "topline")
    drawn[:, exists] = dirichlet(concentration[:, exists], generator)
    return drawn


def dirichlet(
    concentration: Float[np.ndarray, "draw option"], generator: np.random.Generator
) -> Float[np.ndarray, "draw option"]:
    """Dirichlet draws: gamma variates divided by their sum.

    Where all of a draw are rounded to zero it is drawn anew by way of logarithms: the sum
    tells nothing of the shares (Lukacs 1955, doi:10.1214/aoms/1177728549).
    """
    shares: np.ndarray = generator.standard_gamma(concentration)
    total = shares.sum(axis=-1)
    lost = total < SMALLEST_TOTAL
    shares /= np.where(lost, 1.0, total)[:, None]
    if lost.any():
        shares[lost] = np.exp(log_dirichlet(concentration[lost], generator))
    return shares


def log_dirichlet(
    concentration: Float[np.ndarray, "draw option"], generator: np.random.Generator
) -> Float[np.ndarray, "draw option"]:
    """Logarithms of Dirichlet draws, exact where a share itself would be rounded to zero.

    log Γ-variate(a) = log Γ-variate(a+1) + log(uniform)/a (Marsaglia and Tsang 2000,
    doi:10.1145/358407.358414).
    """
    # A mean that was rounded to zero keeps an option's logarithm far down, yet finite.
    concentration = np.maximum(concentration, SMALLEST_CONCENTRATION)
    gammas = np.log(generator.standard_gamma(concentration + 1.0))
    # 1 - uniform is never zero.
    logs = gammas + np.log1p(-generator.random(concentration.shape)) / concentration
    highest = logs.max(axis=-1, keepdims=True)
    total: np.ndarray = highest + np.log(np.exp(logs - highest).sum(axis=-1, keepdims=True))
    return logs - total


def _portions(size: int, n_questions: int) -> list[np.ndarray]:
    """Questions in portions that keep arrays below ``BLOCK_SIZE`` numbers, if they can."""
    n_portions = min(n_questions, -(-size // BLOCK_SIZE))
    return np.array_split(np.arange(n_questions), max(n_portions, 1))


def _generator(seed: int, *name: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32("|".join(name).encode())])
