"""Loaded by the kernels of the pages: cells of shell commands, printed whole and in order."""

import subprocess
import warnings

from IPython.core.magic import register_cell_magic

# Bars of progress are for people at a keyboard.
warnings.filterwarnings("ignore", message="IProgress not found")


@register_cell_magic
def sh(_line: str, cell: str) -> None:
    """Run a cell in the shell; an error of any of its commands ends the build."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", cell],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(done.stdout.rstrip())
    if done.returncode:
        raise RuntimeError(f"a command ended with {done.returncode}")
