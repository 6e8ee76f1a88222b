from __future__ import annotations

import pytest

from calib.errors import DataError
from calib.sources import parse_sources, sources_label
from calib.survey import Setting

HERE = [
    Setting(model, elicitation, prompt)
    for model in ("a", "b")
    for elicitation in ("logprob", "verbalized")
    for prompt in ("base", "sd")
]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (None, [1] * 8),
        ("model=a", [1] * 4),
        ("model=a|b, prompt=sd", [1] * 4),
        ("model=a,elicitation=logprob,prompt=sd", [1]),
        ("all", [8]),
        ("all,prompt=sd", [4]),
        ("prompt=sd,all", [4]),
    ],
)
def test_what_is_selected(text: str | None, sizes: list[int]) -> None:
    found = parse_sources(text, HERE, default_join=False)
    assert [len(sources) for sources in found] == sizes
    # The order of the settings, whatever the order of the words.
    flat = [setting for sources in found for setting in sources]
    assert flat == sorted(flat)


def test_a_fit_joins_what_is_selected() -> None:
    assert parse_sources(None, HERE, default_join=True) == [tuple(HERE)]
    assert len(parse_sources("model=b", HERE, default_join=True)[0]) == 4


@pytest.mark.parametrize(
    "text", ["", "colour=red", "model", "model=c", "model=a|c", "model=a,model=b", "every"]
)
def test_what_is_not_there_is_refused_and_what_is_there_named(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_sources(text, HERE, default_join=False)
    assert "a/logprob/base" in str(caught.value) and caught.value.exit_code == 5


def test_values_that_never_occur_together_select_nothing() -> None:
    with pytest.raises(DataError, match="nothing that matches"):
        parse_sources("model=b,prompt=base", [HERE[0], HERE[5]], default_join=False)


def test_labels() -> None:
    assert sources_label(HERE[:1]) == "a/logprob/base"
    assert sources_label([HERE[3], HERE[7]]) == "a+b/verbalized/sd"
