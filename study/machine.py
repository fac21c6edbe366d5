"""The machine and the process that a run is made by: what decides its outcome, and what its numbers come from."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import platform
import re
import resource
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import torch


def environment() -> dict[str, str]:
    """Return the versions of what decides an outcome, and torch's default dtype where it is another one than usual."""
    dtype = torch.get_default_dtype()
    return {
        "sttp-torch": version("sttp-torch"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **({} if dtype == torch.float32 else {"dtype": str(dtype).removeprefix("torch.")}),
    }


def load() -> float | None:
    """Return how many processes have wanted a core over the last minute; None where the system does not tell."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return None


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


def reset_peak_memory(device: str = "cpu") -> None:
    """Start a new measurement, where the system can: Linux. Elsewhere the peak is that of the whole process."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    if sys.platform == "linux":
        # Memory that an earlier run freed and glibc keeps would count for this one.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # 5 resets the peak resident set, see proc(5)
        except OSError:
            return


def peak_memory(device: str = "cpu") -> int:
    """Return the largest resident set since the last reset, in bytes; of a GPU the largest amount in use by tensors."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if match is not None:
            return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
