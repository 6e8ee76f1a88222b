"""Exaggeration factors of a posterior that is written down."""

from __future__ import annotations

import arviz_base
import numpy as np
import pytest
from xarray import DataTree

from calib.exaggeration import exaggeration
from calib.survey import Group

GROUPS = (Group("PARTY", "left"), Group("PARTY", "right"), Group("SEX", "Female"))


def posterior(
    *slopes: np.ndarray, sources: tuple[str, ...] = ("llm",), floor: float = 0.02
) -> DataTree:
    """Slopes [draw, group], one array a source."""
    tree: DataTree = arviz_base.from_dict(
        {
            "posterior": {
                "beta_within_group": np.stack(slopes, axis=1)[None],
                "log_floor": np.full((1, len(slopes[0]), len(slopes)), np.log(floor)),
            }
        },
        coords={"source": list(sources), "group": [str(group) for group in GROUPS]},
        dims={"beta_within_group": ["source", "group"], "log_floor": ["source"]},
    )
    return tree


def test_a_factor_is_one_over_the_slope_turned_upside_down() -> None:
    # Slopes uniform on [0.2, 0.3], [0.4, 0.5] and [0.8, 0.9]: quantiles are known.
    ramp = np.linspace(0.0, 0.1, 1001)
    found = exaggeration(posterior(np.stack([ramp + 0.2, ramp + 0.4, ramp + 0.8], axis=1)), GROUPS)
    assert [(one.attribute, one.group) for one in found] == [
        ("PARTY", None), ("PARTY", "left"), ("PARTY", "right"), ("SEX", "Female"),
    ]  # fmt: skip
    party, left = found[:2]
    assert party.slope == pytest.approx(0.35)
    assert party.factor == pytest.approx(1 / 0.35)
    assert left.factor_lo == pytest.approx(1 / 0.295)
    assert left.factor_hi == pytest.approx(1 / 0.205)
    assert str(party) == ("llm exaggerates PARTY differences: 2.9 times (90 % interval 2.5 to 3.3)")
    assert len(exaggeration(posterior(np.full((5, 3), 0.5)), GROUPS, attributes_only=True)) == 1


def test_a_slope_that_may_be_zero_has_no_largest_factor() -> None:
    found = exaggeration(posterior(np.linspace(-0.1, 0.3, 401)[:, None] * np.ones(3)), GROUPS)
    assert np.isinf(found[0].factor_hi)
    assert str(found[0]) == (
        "llm exaggerates PARTY differences: 3.6 times or more, if they tell anything "
        "(90 % interval)"
    )
    weak = exaggeration(posterior(np.linspace(-0.2, 1.2, 401)[:, None] * np.ones(3)), GROUPS)
    assert "2.0 times (90 % interval 0.9 to no limit)" in str(weak[0])
    against = exaggeration(posterior(np.full((9, 3), -0.2)), GROUPS)
    assert np.isinf(against[0].factor)
    assert "tells nothing" in str(against[0])


def test_slopes_of_several_sources_are_summed() -> None:
    both = posterior(np.full((9, 3), 0.3), np.full((9, 3), -0.05), sources=("a", "b"))
    found = exaggeration(both, GROUPS)
    assert len(found) == 4
    assert found[0].factor == pytest.approx(4.0)
    assert str(found[0]).startswith("the mean of 2 sources exaggerates PARTY differences: 4.0")


def test_a_factor_is_on_the_scale_of_log_shares() -> None:
    slopes = np.full((9, 3), 0.5)
    of = {floor: exaggeration(posterior(slopes, floor=floor), GROUPS)[0] for floor in (0.02, 0.1)}
    assert of[0.02].factor == pytest.approx(2.0)
    assert of[0.1].factor == pytest.approx(2.0 * np.log(11) / np.log(51))
