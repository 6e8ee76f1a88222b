"""Sphinx configuration; ``make docs`` builds with warnings as errors."""

from importlib.metadata import version as version_of

project = "opinion-calibration"
author = "opinion-calibration contributors"
copyright = "2026, opinion-calibration contributors"
version = release = version_of("opinion-calibration")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Opinion distributions of language models, calibrated"}

# Signatures as they are written: shapes stand in the annotations.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
