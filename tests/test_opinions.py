"""Blocks of distributions: what they refuse, how they pad, close, pool and select."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import Bool, Float
from numpy.testing import assert_allclose, assert_array_equal

from calib.errors import CalibError
from calib.opinions import Elicited, Index, Opinions, close
from calib.survey import Group, Option, Question, Setting, Shape

A, B, C = (Setting(name, "verbalized", "sd") for name in "abc")
NAN = np.nan


def question(
    name: str, values: tuple[float | None, ...], scale: str = "ordinal", kind: str = "substantive"
) -> Question:
    options = tuple(
        Option(place, f"option {place}", value, kind)  # type: ignore[arg-type]
        for place, value in enumerate(values)
    )
    return Question("toy", name, f"{name}?", scale, options)  # type: ignore[arg-type]


@pytest.fixture
def index() -> Index:
    """A scale 1, 2, 4 and a choice of two, put to two groups; one group was not offered all."""
    return Index(
        questions=(question("q1", (1.0, 2.0, 4.0)), question("q2", (None, None), "nominal")),
        groups=(Group("PARTY", "left"), Group("PARTY", "right")),
        question_of_row=np.array([0, 0, 1, 1]),
        group_of_row=np.array([0, 1, 0, 1]),
        mask=np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 0]], dtype=bool),
    )


def test_an_index_knows_its_options_and_places(index: Index) -> None:
    assert len(index) == 4
    assert_array_equal(index.n_options, [3, 2, 2, 2])
    assert_array_equal(index.ordered, [True, True, False, False])
    assert_allclose(index.places[0], [0, 1 / 3, 1])
    # An option that was not offered does not move the others' places.
    assert_allclose(index.places[1], [0, NAN, 1])
    assert np.isnan(index.places[2:]).all()
    assert_allclose(index.uniform(), [[1 / 3] * 3, [0.5, 0, 0.5], [0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_taking_rows_drops_what_they_do_not_speak_of(index: Index) -> None:
    taken = index.take(np.array([3, 3]))
    assert [asked.id for asked in taken.questions] == ["q2"]
    assert taken.groups == (Group("PARTY", "right"),)
    assert_array_equal(taken.question_of_row, [0, 0])
    assert taken.mask.shape == (2, 3)
    assert len(index.take(np.zeros(4, dtype=bool))) == 0
    by_mask = index.take(np.array([False, True, False, True]))
    assert_array_equal(by_mask.question_of_row, [0, 1])


GOOD = np.array([[0.2, 0.3, 0.5], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [NAN, NAN, 0.0]])


def test_good_shares_are_taken_as_they_are(index: Index) -> None:
    opinions = Opinions(index, GOOD, np.array([10.0, 20.0, 30.0, NAN]))
    assert opinions.probs is GOOD
    assert_array_equal(opinions.known, [True, True, True, False])
    taken = opinions.take(np.array([2, 0]))
    assert taken.n is not None
    assert_array_equal(taken.n, [30.0, 10.0])
    assert_array_equal(taken.probs, GOOD[[2, 0]])
    assert Opinions(index, GOOD).take(np.array([1])).n is None


@pytest.mark.parametrize(
    ("row", "shares", "message"),
    [
        (0, [0.2, 0.3, 0.4], "sum to one"),
        (0, [-0.1, 0.6, 0.5], "non-negative"),
        (0, [2.0, -0.5, -0.5], "non-negative"),
        (1, [0.5, 0.25, 0.25], "off the mask"),
        (2, [0.5, 0.5, NAN], "off the mask"),
    ],
)
def test_bad_shares_are_refused(index: Index, row: int, shares: list[float], message: str) -> None:
    bad = GOOD.copy()
    bad[row] = shares
    with pytest.raises(CalibError, match=message):
        Opinions(index, bad)


def test_the_negative_share_is_the_one_that_is_shown(index: Index) -> None:
    bad = GOOD.copy()
    bad[2] = [1.5, -0.5, 0.0]
    with pytest.raises(CalibError, match=r"1\.5 *-0\.5"):
        Opinions(index, bad)


def test_a_row_is_known_or_unknown_as_a_whole(index: Index) -> None:
    half = GOOD.copy()
    half[0] = [NAN, 0.5, 0.5]
    with pytest.raises(CalibError, match="all options or none"):
        Opinions(index, half)


def test_another_shape_is_refused(index: Index) -> None:
    with pytest.raises(CalibError, match="shape of their index"):
        Opinions(index, GOOD[:, :2])


@given(
    shares=arrays(float, (4, 5), elements=st.floats(0, 1e6)),
    mask=arrays(bool, (4, 5)),
)
def test_close_divides_by_the_sum_over_the_mask(
    shares: Float[np.ndarray, "4 5"], mask: Bool[np.ndarray, "4 5"]
) -> None:
    before = shares.copy()
    closed = close(shares, mask)
    assert_array_equal(shares, before)
    assert (closed[~mask] == 0).all()
    for row in range(4):
        kept = shares[row, mask[row]]
        if kept.sum() > 0:
            assert_allclose(closed[row, mask[row]], kept / kept.sum(), rtol=1e-12)
        else:
            assert np.isnan(closed[row, mask[row]]).all()


def test_close_works_on_draws_and_leaves_nan_nan() -> None:
    shares = np.array([[[1.0, 1.0, 5.0]], [[NAN, 1.0, 0.0]]])
    closed = close(shares, np.array([[True, True, False]] * 2)[:, None])
    assert_array_equal(closed, [[[0.5, 0.5, 0.0]], [[NAN, NAN, 0.0]]])


@pytest.fixture
def elicited(index: Index) -> Elicited:
    """Two sources; the second is silent on row 0, both on row 3."""
    second = GOOD[:, ::1].copy()
    second[0] = NAN
    second[2] = [0.0, 1.0, 0.0]
    return Elicited((A, B), (Opinions(index, GOOD), Opinions(index, second)))


def test_silent_sources_are_filled_with_the_others_and_counted(elicited: Elicited) -> None:
    assert_array_equal(elicited.answered, [[1, 1, 1, 0], [0, 1, 1, 0]])
    assert_allclose(elicited.pooled(), [GOOD[0], GOOD[1], [0.5, 0.5, 0], [NAN, NAN, 0]])
    assert elicited.n_filled == 1
    assert_allclose(elicited.filled[1, 0], GOOD[0])
    assert_allclose(elicited.filled[0], GOOD)
    assert_allclose(elicited.filled[1, 2], [0, 1, 0])


def test_sources_are_selected_by_setting(elicited: Elicited) -> None:
    swapped = elicited.select([B, A])
    assert swapped.settings == (B, A)
    assert_array_equal(swapped.probs, elicited.probs[::-1])
    with pytest.raises(CalibError, match=r"missing c/verbalized/sd; the table has a/.*, b/"):
        elicited.select([A, C])


def test_taking_rows_of_every_source(elicited: Elicited) -> None:
    taken = elicited.take(np.array([2]))
    assert taken.sources[0].index is taken.sources[1].index
    assert_array_equal(taken.probs, elicited.probs[:, [2]])


def test_shapes_in_annotations_are_checked_in_tests(index: Index) -> None:
    """The twin of every other test here: wrong axes do not get as far as the mathematics."""
    with pytest.raises(Exception, match=r"Type-check error|did not match"):
        Opinions(index, GOOD[0])


def test_a_question_in_its_parts() -> None:
    mixed = Question(
        "toy",
        "q",
        "?",
        "ordinal",
        (
            Option(0, "yes", 3.0),
            Option(1, "no", 1.0),
            Option(2, "Refused", None, "refused"),
        ),
    )
    kept = mixed.substantive()
    assert [option.label for option in kept.options] == ["yes", "no"]
    assert kept.shape == Shape(ordered=True, n_options=2)
    assert_array_equal(kept.places, [1.0, 0.0])  # places follow the codes, not the order
    assert str(Group("PARTY", "left")) == "PARTY: left"
    assert str(A) == "a/verbalized/sd"
    assert_array_equal(question("b", (None, None), "binary").places, [0.0, 1.0])
