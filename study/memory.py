"""Peak memory of this process, or of its GPU, from one moment to another."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from pathlib import Path
from typing import Final

import torch

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")


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
            _CLEAR_REFS.write_text("5")  # 5 resets the peak resident set, see proc(5)
        except OSError:
            return


def peak_memory(device: str = "cpu") -> int:
    """Return the largest resident set since the last reset, in bytes; of a GPU the largest amount in use by tensors."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        match = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if match is not None:
            return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
