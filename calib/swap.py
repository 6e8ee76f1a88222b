"""Two folders change places in one step, where the system can do that."""

from __future__ import annotations

import sys
from pathlib import Path


def exchange(first: Path, second: Path) -> bool:
    """Whether the two now stand in each other's place; False where the system cannot.

    In one step: whoever looks, and whatever is killed, finds one of the two. renameat2(2) of
    Linux and renamex_np(2) of macOS; not every file system has it.
    """
    import ctypes
    import os

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            at_here, swap = -100, 2
            failed = libc.renameat2(at_here, os.fsencode(first), at_here, os.fsencode(second), swap)
        elif sys.platform == "darwin":
            swap = 2
            failed = libc.renamex_np(os.fsencode(first), os.fsencode(second), swap)
        else:
            return False
    except (AttributeError, OSError, TypeError):
        return False
    return not failed
