"""The Dirichlet calibrator: a hierarchical regression of whole answer distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

from calib.base import Calibrator, Prediction
from calib.errors import DataError, Fault
from calib.opinions import Elicited, Index, Opinions
from calib.paired import Paired
from calib.survey import Group, QuestionKey

if TYPE_CHECKING:
    from xarray import DataTree

    from calib.models import RegressionData
    from calib.sampling import Plan, Samples

ASSUMED_N: Final = 1000.0
"""Effective respondents where ``n_human`` is unknown; see ``training_cells_assumed_n``."""
QUESTION_PADDING: Final = 8
"""Questions are padded to a multiple of this, so that folds share one compiled program."""
N_PREDICTIVE_DRAWS: Final = 1000
"""Draws at prediction: the posterior's, thinned evenly to at most so many."""
N_STORED_PREDICTIVE: Final = 200
"""Draws of the training rows' shares that a saved model keeps for predictive checks."""
POSTERIOR_FILE: Final = "posterior.nc"

GROUP_SITES: Final = (
    "beta_between_group", "beta_within_group", "scale_linear_group", "scale_curve_group",
)  # fmt: skip
DIMS: Final[Mapping[str, list[str]]] = {
    "beta_between": ["source"],
    "beta_within": ["source"],
    "log_floor": ["source"],
    "sd_between": ["source"],
    "sd_within": ["source"],
    "beta_between_group": ["source", "group"],
    "beta_within_group": ["source", "group"],
    "scale_linear_group": ["group"],
    "scale_curve_group": ["group"],
    "question_logit": ["question", "option"],
    "answers": ["row"],
    "shares": ["row", "option"],
    "human": ["row", "option"],
    "n": ["row"],
}


class Dirichlet(Calibrator):
    """Joint regression of all options of all groups, with the question's shared error.

    The human counts of a cell are Dirichlet-multinomial around the softmax of the LLM's
    log shares, split into what the groups of a question share and how each differs, with
    slopes for each group around those of the population; see
    ``calib.models.dirichlet_regression``. Sampled by NUTS in 64 bit.

    Declared behaviour: a group not seen in training gets a draw from the population of
    groups (counted as ``rows_of_unseen_groups``); a source silent in a cell is filled from
    those that spoke (``source_cells_filled``); where ``n_human`` is unknown ``ASSUMED_N``
    is taken (``training_cells_assumed_n``).

    The mean over a question's groups is taken over the cells at hand, so predict all
    groups of a question together.
    """

    name = "dirichlet"

    posterior_: DataTree
    """Posterior in ArviZ's form: groups posterior, sample_stats, log_likelihood,
    posterior_predictive, observed_data and constant_data."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan

    def _fit(self, training: Paired, seed: int) -> None:
        import jax

        from calib.models import dirichlet_regression
        from calib.sampling import Plan, sample

        self.groups_ = training.index.groups
        self.seed_ = seed
        n = training.human.n
        unknown = np.ones(len(training), bool) if n is None else np.isnan(n)
        self.n_assumed_ = int(unknown.sum())
        respondents = (
            np.full(len(training), ASSUMED_N) if n is None else np.where(unknown, ASSUMED_N, n)
        )
        with jax.enable_x64(True):
            data = _regression_data(training, respondents)
            samples = sample(
                dirichlet_regression,
                data,
                _initial(data),
                plan=self.plan or Plan(),
                seed=seed,
            )
        self.posterior_ = self._to_arviz(samples, training, respondents)

    def _predict(self, elicited: Elicited) -> Prediction:
        index = elicited.index
        rows = np.asarray(elicited.answered.any(axis=0))
        counts = {
            "rows_no_source_answered": int((~rows).sum()),
            "source_cells_filled": elicited.n_filled,
            "training_cells_assumed_n": self.n_assumed_,
            "rows_of_unseen_groups": int(
                sum(index.groups[number] not in self.groups_ for number in index.group_of_row[rows])
            ),
        }
        drawn = _draw_shares(
            _Posterior(self.posterior_, self.groups_), elicited.take(rows), self.seed_
        )
        draws = np.where(index.mask, np.nan, 0.0)[None].repeat(len(drawn), axis=0)
        draws[:, rows] = drawn
        return Prediction(Opinions(index, _mean(draws, index)), counts, draws)

    def state(self) -> dict[str, Any]:
        """Groups, seed and the cells for which a sample size was assumed."""
        return {
            "groups": [list(group) for group in self.groups_],
            "seed": self.seed_,
            "cells_assumed_n": self.n_assumed_,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.groups_ = tuple(Group(*group) for group in state["groups"])
        self.seed_ = int(state["seed"])
        self.n_assumed_ = int(state["cells_assumed_n"])

    def save_files(self, folder: Path) -> None:
        """Write the posterior as NetCDF, which ArviZ opens."""
        self.posterior_.to_netcdf(folder / POSTERIOR_FILE, engine="h5netcdf")

    def load_files(self, folder: Path) -> None:
        """Read the posterior; ``DataError`` where the file is missing or damaged."""
        import xarray

        path = folder / POSTERIOR_FILE
        try:
            with xarray.open_datatree(path, engine="h5netcdf") as tree:
                self.posterior_ = tree.load()
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                Fault(
                    rule="a dirichlet model holds its posterior as NetCDF",
                    value=" ".join(str(error).split())[:200],
                    remedy="fit the model again",
                ),
                file=path,
            ) from None

    def _to_arviz(
        self, samples: Samples, training: Paired, respondents: Float[np.ndarray, " row"]
    ) -> DataTree:
        import arviz_base

        index = training.index
        block = _Block(index)
        cells = (slice(None), slice(None), block.question, block.slot)
        sites = dict(samples.sites)
        log_likelihood = sites.pop("log_likelihood")[cells]
        shares = sites.pop("mean_shares")[cells]
        sites["question_logit"] = sites["question_logit"][:, :, : len(index.questions)]
        every = max(1, int(np.ceil(shares.shape[0] * shares.shape[1] / N_STORED_PREDICTIVE)))
        tree: DataTree = arviz_base.from_dict(
            {
                "posterior": {
                    name: value for name, value in sites.items() if not name.startswith("off_")
                },
                "sample_stats": samples.stats,
                "log_likelihood": {"answers": log_likelihood},
                "posterior_predictive": {"shares": shares[:, ::every].astype(np.float32)},
                "observed_data": {"human": training.human.probs},
                "constant_data": {"n": respondents},
            },
            coords={
                "source": [str(setting) for setting in training.elicited.settings],
                "group": [str(group) for group in index.groups],
                "question": ["/".join(key) for key in index.question_keys],
                "option": np.arange(index.mask.shape[1]),
                "row": [
                    f"{'/'.join(index.question_keys[q])} | {index.groups[g]}"
                    for q, g in zip(index.question_of_row, index.group_of_row, strict=True)
                ],
            },
            dims=dict(DIMS),
        )
        return tree


class _Block:
    """Where each row goes in a block [question, slot], and the places of its options."""

    def __init__(self, index: Index) -> None:
        self.question: Int[np.ndarray, " row"] = index.question_of_row
        order = np.argsort(self.question, kind="stable")
        sizes = np.bincount(self.question, minlength=len(index.questions))
        self.n_slots = int(sizes.max())
        self.slot = np.empty_like(self.question)
        starts = np.cumsum(sizes) - sizes
        self.slot[order] = np.arange(len(index)) - starts[self.question[order]]
        shape = (len(index.questions), index.mask.shape[1])
        exists = np.zeros(shape, dtype=bool)
        self.place = np.zeros(shape)
        for q, question in enumerate(index.questions):
            exists[q, : len(question.options)] = True
            if question.ordered:
                self.place[q, : len(question.options)] = question.places - 0.5
        square = np.where(exists, self.place**2, 0.0)
        self.curve = np.where(
            exists,
            square - square.sum(axis=1, keepdims=True) / exists.sum(axis=1, keepdims=True),
            0,
        )

    def of_rows(self, values: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Row values [row, …] in the block [question, slot, …]; zero in empty slots."""
        block = np.zeros(
            (*(shape or (len(self.place), self.n_slots)), *values.shape[1:]), values.dtype
        )
        block[self.question, self.slot] = values
        return block


def _regression_data(training: Paired, respondents: Float[np.ndarray, " row"]) -> RegressionData:
    import jax.numpy as jnp

    from calib.models import RegressionData

    index = training.index
    block = _Block(index)
    more = -len(index.questions) % QUESTION_PADDING
    shape = (len(index.questions) + more, block.n_slots)
    return RegressionData(
        probs=jnp.asarray(
            np.stack([block.of_rows(source, shape) for source in training.elicited.filled])
        ),
        mask=jnp.asarray(block.of_rows(index.mask, shape)),
        counts=jnp.asarray(block.of_rows(training.human.probs * respondents[:, None], shape)),
        group=jnp.asarray(block.of_rows(index.group_of_row, shape)),
        place=jnp.asarray(np.pad(block.place, ((0, more), (0, 0)))),
        curve=jnp.asarray(np.pad(block.curve, ((0, more), (0, 0)))),
        group_number=jnp.arange(len(index.groups)),
    )


def _initial(data: RegressionData) -> dict[str, Any]:
    """A start near the data: question logits from the human shares pooled over groups."""
    import jax.numpy as jnp

    pooled = data.counts.sum(axis=1)
    shares = pooled / jnp.maximum(pooled.sum(axis=1, keepdims=True), 1.0)
    offered = data.mask.any(axis=1)
    logit = jnp.where(offered, jnp.log(shares + 0.02), 0.0)
    centre = logit.sum(axis=1, keepdims=True) / jnp.maximum(offered.sum(axis=1, keepdims=True), 1)
    n_sources = data.probs.shape[0]
    return {
        "question_logit": jnp.where(offered, logit - centre, 0.0),
        "tau": jnp.asarray(0.5),
        "phi": jnp.asarray(50.0),
        "log_floor": jnp.full(n_sources, np.log(0.02)),
        "beta_between": jnp.full(n_sources, 0.8 / n_sources),
        "beta_within": jnp.full(n_sources, 0.5 / n_sources),
    }


class _Posterior:
    """Flat, thinned draws of what prediction needs, for any list of groups."""

    def __init__(self, tree: DataTree, groups: Sequence[Group]) -> None:
        posterior = tree["posterior"].dataset
        n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
        kept = np.linspace(0, n_draws - 1, min(n_draws, N_PREDICTIVE_DRAWS)).astype(int)
        self.sites: dict[str, np.ndarray] = {
            str(name): values.to_numpy().reshape(n_draws, *values.shape[2:])[kept]
            for name, values in posterior.items()
            if name != "question_logit"
        }
        self.groups = list(groups)
        self.n_draws = len(kept)

    def of_groups(self, groups: Sequence[Group], seed: int) -> dict[str, np.ndarray]:
        """Slopes and scale terms [draw, (source,) group]; unseen groups from the population."""
        return {
            site: np.stack([self._of_group(site, group, seed) for group in groups], axis=-1)
            for site in GROUP_SITES
        }

    def _of_group(self, site: str, group: Group, seed: int) -> np.ndarray:
        if site in self.sites and group in self.groups:
            column: np.ndarray = self.sites[site][..., self.groups.index(group)]
            return column
        population = site.removesuffix("_group")
        if population not in self.sites:
            # Fitted on one group: how groups differ was never seen.
            return np.zeros_like(self.sites["beta_between"])
        mean = self.sites[population]
        spread = "sd_" + population.removeprefix("beta_")
        if spread not in self.sites:
            return mean
        noise = np.random.default_rng([seed, crc32(f"{site}|{group}".encode())])
        drawn: np.ndarray = mean + self.sites[spread] * noise.standard_normal(mean.shape)
        return drawn


def _draw_shares(
    posterior: _Posterior, elicited: Elicited, seed: int
) -> Float[np.ndarray, "draw row option"]:
    """Draws of true shares; rows of one question share the draw of its error.

    Every question and cell has random numbers of its own, made from the seed and its name,
    so that a prediction does not depend on what else is in the table.
    """
    index = elicited.index
    logits = _linear_predictor(posterior, elicited, seed)
    tau, phi = posterior.sites["tau"], posterior.sites["phi"]
    shape = (posterior.n_draws, index.mask.shape[1])
    for q, key in enumerate(index.question_keys):
        error = tau[:, None] * _generator(seed, key).standard_normal(shape)
        logits[:, index.question_of_row == q] += error[:, None, :]
    logits = np.where(index.mask, logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    concentration = phi[:, None, None] * weights / weights.sum(axis=2, keepdims=True)
    draws = np.zeros_like(concentration)
    for row, (q, g) in enumerate(zip(index.question_of_row, index.group_of_row, strict=True)):
        generator = _generator(seed, index.question_keys[q], index.groups[g])
        offered = index.mask[row]
        gammas = generator.standard_gamma(concentration[:, row, offered])
        draws[:, row, offered] = gammas / gammas.sum(axis=1, keepdims=True)
    return draws


def _linear_predictor(
    posterior: _Posterior, elicited: Elicited, seed: int
) -> Float[np.ndarray, "draw row option"]:
    index = elicited.index
    block = _Block(index)
    of_group = posterior.of_groups(index.groups, seed)
    question, group = index.question_of_row, index.group_of_row
    logits = np.empty((posterior.n_draws, *index.mask.shape))
    for some in _blocks(posterior.n_draws, elicited.probs.size):
        between, within = _design(elicited, posterior.sites["log_floor"][some])
        effect = {site: draws[some][..., group] for site, draws in of_group.items()}
        logits[some] = (
            np.einsum("sjr,sjro->sro", effect["beta_between_group"], between)
            + np.einsum("sjr,sjro->sro", effect["beta_within_group"], within)
            + effect["scale_linear_group"][..., None] * block.place[question]
            + effect["scale_curve_group"][..., None] * block.curve[question]
        )
    return logits


def _blocks(n_draws: int, size: int) -> Iterator[slice]:
    """Slices of the draws that keep a block's arrays below some 160 MB."""
    step = max(1, int(2e7 // max(size, 1)))
    for start in range(0, n_draws, step):
        yield slice(start, start + step)


def _design(
    elicited: Elicited, log_floor: Float[np.ndarray, "draw source"]
) -> tuple[
    Float[np.ndarray, "draw source row option"], Float[np.ndarray, "draw source row option"]
]:
    """Between and within part of every row, as ``calib.models.design``, for many draws."""
    index = elicited.index
    logs = np.log(elicited.filled[None] + np.exp(log_floor)[:, :, None, None])
    centre = np.where(index.mask, logs, 0.0).sum(axis=3, keepdims=True) / index.n_options[:, None]
    logs = np.where(index.mask, logs - centre, 0.0)
    between = np.empty_like(logs)
    for q in range(len(index.questions)):
        rows = np.flatnonzero(index.question_of_row == q)
        offered = np.maximum(index.mask[rows].sum(axis=0), 1)
        between[:, :, rows] = logs[:, :, rows].sum(axis=2, keepdims=True) / offered
    between = np.where(index.mask, between, 0.0)
    return between, logs - between


def _generator(seed: int, key: QuestionKey, group: Group | None = None) -> np.random.Generator:
    name = "|".join([*key, *(group or ())])
    return np.random.default_rng([seed, crc32(name.encode())])


def _mean(
    draws: Float[np.ndarray, "draw row option"], index: Index
) -> Float[np.ndarray, "row option"]:
    mean = draws.mean(axis=0)
    return np.where(index.mask, mean / mean.sum(axis=1, keepdims=True), 0.0)
