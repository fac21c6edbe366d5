"""What a report tells of where its numbers come from: the processor, and the command."""

from __future__ import annotations

import contextlib
import functools
import platform
import shlex
import sys
from pathlib import Path


@functools.cache
def processor() -> str:
    """Return the processor's name, or at least its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def command() -> str | None:
    """Return the command that started this process; None of one that no command line explains, such as a notebook's."""
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name == "__main__.py":
        words = ["python", "-m", "sttp.study" if program.parent.name == "study" else program.parent.name]
    elif program.suffix == ".py" and program.name != "ipykernel_launcher.py":
        words = ["python", program.name]
    elif program.suffix or program.name in ("", "-c", "-"):
        return None
    else:
        words = [program.name]
    return shlex.join([*words, *sys.argv[1:]])
