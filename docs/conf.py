"""Sphinx configuration; ``make docs`` builds with warnings as errors."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from click import Context
from docutils import nodes
from sphinx.application import Sphinx

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"

project = "opinion-calibration"
author = "opinion-calibration contributors"
copyright = "2026, opinion-calibration contributors"
version = release = version_of("opinion-calibration")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "data"]
html_theme = "pydata_sphinx_theme"
html_title = "opinion-calibration"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "logo": {"text": "opinion-calibration"},
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "tutorial": []}

# Pages with code cells are executed when the site is built, and again when a cell changed.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "cells")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
# What cells run: this environment's commands, with lines of one width.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ |= {"COLUMNS": "110", "DOCS_DATA": str(HERE / "data")}
# Kernels ask programs for colours, and warn of how they are reached; neither belongs on a page.
profile = HERE / "_build" / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text(
    "c.IPKernelApp.exec_lines = ["
    "\"__import__('os').environ.update(FORCE_COLOR='', TERM='dumb')\"]\n"
    f"c.IPKernelApp.exec_files = [{str(HERE / 'shell_cells.py')!r}]\n"
    "c.IPKernelApp.log_level = 'ERROR'\n"
)
os.environ["IPYTHONDIR"] = str(profile.parent)
# Programs compiled for one page serve the next.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(HERE / "_build" / "compiled")

# Signatures as they are written: shapes stand in the annotations.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
# What is returned is told in sentences, without a line for its type.
napoleon_custom_sections = ["Returns"]


def _shell_cells(_app: Sphinx, doctree: nodes.document) -> None:
    """Show a cell of shell commands as what a reader types."""
    for block in doctree.findall(nodes.literal_block):
        first, _, rest = block.astext().partition("\n")
        if first.startswith("%%sh"):
            block.children = [nodes.Text(rest)]
            block.rawsource, block["language"] = rest, "bash"


def _lists(_app: Sphinx, page: str, source: list[str]) -> None:
    """Complete the two pages whose contents grow: the how-tos, and the committed results."""
    if page == "howto":  # Sphinx warns of a pattern that nothing matches yet.
        lines = source[0].splitlines()
        source[0] = "\n".join(x for x in lines if "*" not in x or [*HERE.glob(f"{x}.md")])
    if page == "figures":
        if not (RESULTS / "findings.md").exists():
            source[0] += "\nThe findings of the studies were not made for this version.\n"
        for path in sorted(RESULTS.glob("*.md")):
            place = f"../benchmarks/results/{path.name}"
            source[0] += f"\n```{{include}} {place}\n:heading-offset: 1\n```\n"


def _bars(_app: Sphinx, _context: Context, lines: list[str]) -> None:
    """Help texts are plain: a bar in them is a bar."""
    lines[:] = [line.replace(" |", r" \|") for line in lines]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", _shell_cells)
    app.connect("source-read", _lists)
    app.connect("sphinx-click-process-options", _bars)
