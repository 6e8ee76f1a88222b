"""What each part of the Dirichlet regression adds, one left out at a time.

    python -m benchmarks.ablation run DATA         results/ablation.json
    python -m benchmarks.ablation report           results/ablation.md

Question-level folds as in ``benchmarks.heldout``. All variants, the default among them, are
fitted by ``--inference laplace``, in a tenth of the time of sampling. Stacking weights are
ArviZ's, from held-out log scores by question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from benchmarks.heldout import FOLDS, RESULTS, SCORES, SEED, mark, paired_ratio
from benchmarks.record import record, write_markdown
from calib.base import Calibrator, make_calibrator
from calib.dirichlet import Dirichlet
from calib.errors import FitError
from calib.evaluate import folds_of_questions
from calib.heldout import HeldOut, held_out
from calib.paired import pair, settings_of
from calib.prior import Gamma, Normal, Prior
from calib.sources import parse_sources
from calib.summary import plain
from calib.table import read_table

SETTINGS: Final = (
    ("opinionqa_dev", "model=gpt-4,elicitation=verbalized,prompt=sd"),
    ("opinionqa_dev", "model=anthropic_haiku,elicitation=sequence,prompt=sd"),
    ("opinionqa_dev", "model=gpt-4,elicitation=logprob,prompt=sd"),
    ("synthbench_dev", "model=claude-haiku-4-5"),
    ("synthbench_dev", "model=llama-3.3-70b-instruct"),
)
NONE: Final = Gamma(np.array(3.0), np.array(3e4))
"""A spread of a ten-thousandth: no effects to speak of."""


def _held(like: Normal, value: float) -> Normal:
    loc = np.full(np.shape(like.loc), value)
    return Normal(loc, np.full(loc.shape, 1e-3))


class Variant(NamedTuple):
    """The regression with one thing changed."""

    what: str
    prior: Callable[[Prior], Prior] | None = None
    table: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    calibrator: str = "dirichlet"


def _each_group_its_attribute(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(attribute=frame["attribute"] + ": " + frame["group"])


VARIANTS: Final = {
    "default": Variant("as it is"),
    "labels": Variant("options of one label have nothing in common",
                      lambda p: p._replace(label_spread=NONE)),
    "shapes": Variant("scales of one shape have nothing in common",
                      lambda p: p._replace(shape_logit=_held(p.shape_logit, 0.0))),
    "scale": Variant("no terms for the place on the scale",
                     lambda p: p._replace(scale_linear=_held(p.scale_linear, 0.0),
                                          scale_curve=_held(p.scale_curve, 0.0))),
    "floor": Variant("shares floored at 0.001 instead of a floor that is learnt",
                     lambda p: p._replace(log_floor=_held(p.log_floor, np.log(1e-3)))),
    "attribute": Variant("groups deviate from the question's mean, not their attribute's",
                         table=_each_group_its_attribute),
    "within": Variant("the LLM's differences between groups are ignored",
                      lambda p: p._replace(
                          beta_within=_held(p.beta_within, 0.0),
                          beta_contradiction=_held(p.beta_contradiction, 0.0))),
    "contradiction": Variant("what the LLM says of all groups of an attribute is ignored",
                             lambda p: p._replace(
                                 beta_contradiction=_held(p.beta_contradiction, 0.0))),
    "pooled": Variant("all groups alike: one slope, one scale",
                      lambda p: p._replace(group_spread=NONE)),
    "unpooled": Variant("groups apart: effects that differ without bound",
                        lambda p: p._replace(group_spread=Gamma(np.array(3e4), np.array(1e4)))),
    "question": Variant("no error that a question's groups share",
                        lambda p: p._replace(log_kappa=_held(p.log_kappa, np.log(1e5)))),
    "cell": Variant("no error of a cell: multinomial answers",
                    lambda p: p._replace(log_phi=_held(p.log_phi, np.log(1e5)))),
    "independent": Variant("no joint model: ridge-structured, each choice on its own",
                           calibrator="ridge-structured"),
}  # fmt: skip
"""What is left out, by name."""


def run_setting(data: Path, table: str, sources: str) -> dict[str, Any]:
    """Every variant on one setting."""
    whole = read_table(data / f"{table}.parquet")
    [selection] = parse_sources(sources, settings_of(whole), default_join=True)
    rows: dict[str, Any] = {}
    default: HeldOut | None = None
    elpd: dict[str, np.ndarray] = {}
    for name, variant in VARIANTS.items():
        frame = whole if variant.table is None else variant.table(whole)
        paired = pair(frame, selection)
        fold_of = folds_of_questions(paired.index.question_keys, FOLDS, SEED)
        of_question = np.array([fold_of[key] for key in paired.index.question_keys])
        fold_of_row = of_question[paired.index.question_of_row]

        def make(variant: Variant = variant) -> Calibrator:
            if variant.calibrator != "dirichlet":
                return make_calibrator(variant.calibrator)
            return Dirichlet(inference="laplace", prior=variant.prior)

        try:
            result = held_out(variant.calibrator, paired, fold_of_row, SEED, make=make)
        except FitError as error:
            rows[name] = {"failed": str(error)}
            continue
        question = paired.take(paired.complete).index.question_of_row
        default = default or result
        rows[name] = {
            score: paired_ratio(result.own_act[score], default.own_act[score], question)
            | {"value": float(result.own_act[score].mean()),
               "mean_act": float(result.mean_act[score].mean())}
            for score in SCORES
        }  # fmt: skip
        if result.has_draws:
            rows[name]["coverage_90"] = float(np.nanmean(result.spread["coverage_90"]))
            elpd[name] = of_questions(result.spread["log_score"], question)
        click.echo(f"{table} {sources} {name}: KL {rows[name]['kl_1e3']['value']:.4f}")
    for name, weight in stacking_weights(elpd).items():
        rows[name] |= {"log_score": float(elpd[name].mean()), "weight": weight}
    label = " + ".join(map(str, selection))
    return {"table": table, "sources": label, "variants": rows}


def of_questions(
    log_score: Float[np.ndarray, " row"], question: Int[np.ndarray, " row"]
) -> Float[np.ndarray, " question"]:
    """Mean log score of each question's cells of known size; questions without one are left out.

    >>> of_questions(np.array([-1.0, np.nan, -3.0, np.nan]), np.array([0, 0, 0, 1]))
    array([-2.])
    """
    known = ~np.isnan(log_score)
    counts = np.bincount(question[known], minlength=1)
    sums = np.bincount(question[known], weights=log_score[known], minlength=1)
    means: np.ndarray = sums[counts > 0] / counts[counts > 0]
    return means


def stacking_weights(elpd: dict[str, np.ndarray]) -> dict[str, float]:
    """ArviZ's stacking weights of held-out log scores by question."""
    import arviz_stats
    import xarray as xr
    from arviz_stats.utils import ELPDData

    data = {
        name: ELPDData(
            kind="kfold",
            elpd=float(values.sum()),
            se=float(np.sqrt(len(values)) * values.std()),
            p=float("nan"),
            n_samples=1,
            n_data_points=len(values),
            scale="log",
            warning=False,
            good_k=0.7,
            elpd_i=xr.DataArray(values, dims="question"),
            n_folds=FOLDS,
        )
        for name, values in elpd.items()
    }
    weights = arviz_stats.compare(data, method="stacking")["weight"]
    return {str(name): float(weight) for name, weight in weights.items()}


def report_lines(settings: list[dict[str, Any]]) -> Iterator[str]:
    """One table a setting."""
    yield "# What each part adds"
    yield ""
    yield (
        "One thing changed at a time; KL and W1 under their acts, ratios to the default (above 1: "
        "the part helps; \\* the variant significantly better, ! significantly worse, paired 95 % "
        "interval over questions). Of those that predict draws: coverage of 90 % intervals, "
        "held-out log score a cell (–: not told in this run, people's n being unknown in some "
        "cells), and the weight that stacking gives the variant. W1 of the "
        "mean act stands beside that of the median cumulative act."
    )
    for setting in settings:
        yield from ("", f"## {setting['table']}: {setting['sources']}", "")
        yield "| changed | KL | ratio | W1 | ratio | W1, mean act | cover 90 | log score | weight |"
        yield "|---" * 9 + "|"
        for name, row in setting["variants"].items():
            what = f"{name}: {VARIANTS[name].what}"
            if "failed" in row:
                yield f"| {what} | no fit | | | | | | | |"
                continue
            kl, w1 = row["kl_1e3"], row["w1"]
            drawn = " | |"
            if "coverage_90" in row and row["log_score"] is None:
                drawn = f"{row['coverage_90']:.3f} | – | –"
            elif "log_score" in row:
                drawn = f"{row['coverage_90']:.3f} | {row['log_score']:.3f} | {row['weight']:.2f}"
            yield (
                f"| {what} | {kl['value']:.4f} | {kl['ratio']:.3f}{mark(kl)} | {w1['value']:.4f} | "
                f"{w1['ratio']:.3f}{mark(w1)} | {w1['mean_act']:.4f} | {drawn} |"
            )


@click.group()
def main() -> None:
    """What each part of the Dirichlet regression adds."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
def run(data: Path) -> None:
    """Run all variants and keep their figures."""
    document = record(SEED) | {"settings": [run_setting(data, *one) for one in SETTINGS]}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(plain(document), indent=1)
    (RESULTS / "ablation.json").write_text(text + "\n", encoding="utf-8")


@main.command()
def report() -> None:
    """Write the Markdown from the figures kept."""
    document = json.loads((RESULTS / "ablation.json").read_text(encoding="utf-8"))
    write_markdown(RESULTS / "ablation.md", report_lines(document["settings"]), [document])


if __name__ == "__main__":
    main()
