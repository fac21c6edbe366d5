"""What a study will take: its runs, their Z, and time and memory measured on a few steps of each."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, final

import joblib
import torch

from ..case import Run
from ..definition import Study
from ..executors import Executor, executor_of
from ..machine import peak_memory, reset_peak_memory
from ..schedule import expected_runs, progress
from ..surroundings import Surroundings
from ..tasks.case import TrainingCase
from ..workers import Failure, perform_all

# Batches that are measured where a whole one would take longer than a few seconds: a step is affine in its batch.
SMALL_BATCHES: Final = (4, 8)
WHOLE_BATCH_SECONDS: Final = 3.0
STEPS: Final = 3
MEBIBYTE: Final = 2**20


@final
@dataclass(frozen=True)
class Row:
    """A case of an estimate, with time and memory of its steps.

    Attributes:
        case: its title.
        published: what is published of its Z; empty for nothing.
        runs: how many it has at least.
        steps: of one of them.
        z: degrees of freedom that are kept, in percent; None where the run knows of none.
        step_seconds: of a step.
        memory: largest resident set, or memory of the device, in bytes.
        extrapolated: whether smaller batches were measured, and the rest is a straight line through them.
    """

    case: str
    published: str
    runs: int
    steps: int
    z: float | None
    step_seconds: float
    memory: float
    extrapolated: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of all steps of one run."""
        return self.steps * self.step_seconds


@final
@dataclass(frozen=True)
class Estimate:
    """What a study will take with a number of workers; looks on the way and reading data are not in it."""

    study: Study
    rows: tuple[Row, ...]
    workers: int

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all steps, if the workers do not get in each other's way."""
        return sum(row.runs * row.seconds for row in self.rows) / self.workers

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        cases = [asdict(row) for row in self.rows]
        return {"study": self.study.to_dict(), "workers": self.workers, "seconds": self.seconds, "cases": cases}

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return titles and cells for people; a column that no case has is left out."""
        has_z, has_published = (any(getattr(row, name) for row in self.rows) for name in ("z", "published"))
        rows = []
        for row in self.rows:
            about = "≈" if row.extrapolated else ""
            cells = {"case": row.case}
            cells |= {"Z %": "–" if row.z is None else f"{row.z:.3f}"} if has_z else {}
            cells |= {"paper’s Z %": row.published or "–"} if has_published else {}
            cells |= {"runs": str(row.runs), "steps": str(row.steps), "s/step": f"{about}{row.step_seconds:.3g}"}
            cells |= {"time a run": about + in_words(row.seconds), "MiB": f"{about}{row.memory / MEBIBYTE:.0f}"}
            rows.append(cells)
        return tuple(rows[0]), [tuple(cells.values()) for cells in rows]

    def sentences(self) -> list[str]:
        """Return what stands under the table."""
        memory = self.workers * max(row.memory for row in self.rows) / MEBIBYTE
        words = [
            f"All steps together: {in_words(self.seconds)} with {self.workers} at once, in up to {memory:.0f} MiB. "
            "Measured just now, on noise of the data's shape where there is data; looks on the way and reading the "
            "data come on top, and so do learning rates that the search may add."
        ]
        if any(row.extrapolated for row in self.rows):
            words.append(
                f"≈: from batches of {SMALL_BATCHES[0]} and {SMALL_BATCHES[1]}, along a straight line to the whole one."
            )
        return words


def estimate_study(
    study: Study, surroundings: Surroundings, executor: str | Executor = "loky", workers: int | None = None
) -> Estimate:
    """Count and measure; nothing is written or fetched, and data is not read where its name tells its shape."""
    surroundings = replace(surroundings, synthetic=True, folder=None)
    published = study.of.presentation(study).get("published")
    titles = published if isinstance(published, dict) else {}
    searches = {case: progress(study, case, {}) for case in study.cases}
    begun = [study.run(case, found and found.rates[0], study.seeds[0]) for case, found in searches.items()]
    measured: dict[Run, dict[str, Any]] = {}
    # One at a time: several at once would measure each other.
    for made in perform_all(partial(_measure, surroundings=surroundings), begun, executor, 1, surroundings.threads):
        if isinstance(made, Failure):
            kind, _, words = made.summary.partition(": ")
            if kind in (ValueError.__name__, TypeError.__name__):  # a refusal, which names what is wrong
                raise ValueError(words)
            raise RuntimeError(
                f"a step of {made.job.name!r} failed ({made.summary}); if memory was short, give smaller batches, "
                "more pieces of them by accumulation, or another device"
            )
        run, found = made
        measured[run] = found
    counts = {run: expected_runs(study, run.case, {}) for run in begun}
    rows = tuple(
        Row(run.case.title, str(titles.get(run.case.title, "")), counts[run], run.case.steps, **measured[run])
        for run in begun
    )
    count = workers or int(joblib.cpu_count(only_physical_cores=True))
    at_once = 1 if executor_of(executor).is_here(count) else count
    return Estimate(study, rows, min(at_once, sum(counts.values())))


def _measure(run: Run, surroundings: Surroundings) -> tuple[Run, dict[str, Any]]:
    """Measure a run in this process: in whole batches, or along a line through two small ones."""
    case = run.case
    if not isinstance(case, TrainingCase):
        return run, _measured(run, surroundings)
    pieces = case.settings.accumulation
    whole = case.batch_size // pieces
    in_one = replace(case, settings=replace(case.settings, accumulation=1))

    def measured(batch: int) -> dict[str, Any]:
        return _measured(replace(run, case=replace(in_one, batch_size=batch)), surroundings)

    first, second = SMALL_BATCHES
    small = measured(first) if whole > first else None
    if small is None or small["step_seconds"] * whole / first < WHOLE_BATCH_SECONDS:
        found = measured(whole)
    else:
        large, share, names = measured(second), (whole - first) / (second - first), ("step_seconds", "memory")
        grown = {name: small[name] + max(large[name] - small[name], 0) * share for name in names}
        found = {**small, **grown, "extrapolated": True}
    return run, found | {"step_seconds": pieces * found["step_seconds"]}


def _measured(run: Run, surroundings: Surroundings) -> dict[str, Any]:
    """Measure a few steps."""
    reset_peak_memory(surroundings.device)
    trial = run.case.begin(run, surroundings)
    z = trial.facts().get("z")
    times: list[float] = []
    while len(times) <= STEPS and sum(times[1:]) < WHOLE_BATCH_SECONDS:
        start = time.perf_counter()
        loss = trial.step(len(times))
        if loss is None:
            break
        torch.as_tensor(loss).item()
        own = trial.step_seconds(len(times))
        times.append(time.perf_counter() - start if own is None else own)
    seconds = min(times[1:], default=times[0] if times else 0.0)
    return {"z": z, "step_seconds": seconds, "memory": float(peak_memory(surroundings.device))}


def in_words(seconds: float) -> str:
    """Return a duration such as ``40 s``, ``12 min``, ``3.2 h`` or ``5.1 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
