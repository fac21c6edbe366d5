"""A study that is killed at random moments: whether its results are the same, and whether anything is left of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from .harness import RESULTS, machine

KILLS = 44
GONE_SECONDS = 5.0
STUDY = """
methods = ["dense", "sttp stiefel", "sttp householder-reduced"]
ranks = [2, 4]
learning_rates = [0.01, 0.03]
extensions = 1
seeds = [0, 1, 2]
steps = 120
evaluations = 3
"""


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Make a study of digits in one go, and again with its process killed at random moments; compare the results."""
    kills = 4 if quick else KILLS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.toml").write_text(STUDY, encoding="utf-8")
        start = time.monotonic()
        _begin(folder, "whole", device).wait()
        seconds = time.monotonic() - start
        moments = random.Random(0)
        # Over a third of the time at most, so that most of them come before the end; what is made stays.
        left, longest, done = [], 0.0, 0
        for _ in range(kills):
            process = _begin(folder, "killed", device)
            time.sleep(moments.uniform(0, seconds / 3))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:  # the study had ended: a new one is begun
                done += 1
                if not _same(folder):
                    break
                (folder / "killed").rename(folder / f"done-{done}")
                continue
            gone = _seconds_until_gone(process.pid)
            longest = max(longest, gone)
            left += [] if gone < GONE_SECONDS else members(process.pid)
        while _begin(folder, "killed", device).wait():
            continue
        record: dict[str, Any] = {
            "benchmark": "kills",
            "machine": machine(device),
            "kills": kills,
            "studies": done + 1,
            "same results": _same(folder),
            "longest until all workers were gone, in seconds": round(longest, 2),
            "processes left after 5 s": len(left),
            "checkpoints left": len(list((folder / "killed").rglob("checkpoint.pt"))),
        }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1)
    (RESULTS / f"kills-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
        return
    table = Table("what", "found", title="A study killed at random moments")
    for key, value in record.items():
        if key not in ("benchmark", "machine"):
            table.add_row(key, str(value))
    Console().print(table)


def _begin(folder: Path, output: str, device: torch.device) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "sttp.study",
        "study",
        str(folder / "small.toml"),
        "--output",
        str(folder / output),
    ]
    command += ["--workers", "2", "--checkpoint-seconds", "0.01", "--device", device.type]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _same(folder: Path) -> bool:
    return (folder / "killed" / "results.csv").read_bytes() == (folder / "whole" / "results.csv").read_bytes()


def _seconds_until_gone(session: int) -> float:
    start = time.monotonic()
    while members(session) and time.monotonic() - start < GONE_SECONDS:
        time.sleep(0.02)
    return time.monotonic() - start


def members(session: int) -> list[int]:
    """Return the processes that live in a session, which is all that a study has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = status.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(status.parent.name))
    return found
