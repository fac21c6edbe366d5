"""What a study will take: its runs, their Z, and time and memory measured on a few steps of each."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, final

import joblib

from ..layers import report
from .curve import Curve
from .execution import Failure, perform_all
from .networks import NETWORKS
from .paper import has_published, published_z
from .report.summary import MEBIBYTE
from .run import Run
from .runs.memory import peak_memory, reset_peak_memory
from .study import Study
from .surroundings import Surroundings
from .tasks import TASKS
from .tasks.construction import first_network, require_buildable, weightless_network

# Batches that are measured where a whole one would take longer than a few seconds: a step is affine in its batch.
SMALL_BATCHES: Final = (4, 8)
WHOLE_BATCH_SECONDS: Final = 3.0
STEPS: Final = 3


@final
@dataclass(frozen=True)
class Measurement:
    """Time and memory of a run's steps.

    Attributes:
        run: what was measured.
        step_seconds: of a step.
        memory: largest resident set, or memory of the device, in bytes.
        extrapolated: whether smaller batches were measured, and the rest is a straight line through them.
    """

    run: Run
    step_seconds: float
    memory: float
    extrapolated: bool


@final
@dataclass(frozen=True)
class Row:
    """A curve of an estimate: its Z, how many runs it has at least, and what one of them takes."""

    curve: Curve
    z: float
    published: str
    runs: int
    steps: int
    step_seconds: float
    memory: float
    extrapolated: bool


@final
@dataclass(frozen=True)
class Estimate:
    """What a study will take with a number of workers; looks at networks and data are not in it."""

    study: Study
    rows: tuple[Row, ...]
    workers: int

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all steps, if the workers do not get in each other's way."""
        return sum(row.runs * row.steps * row.step_seconds for row in self.rows) / self.workers

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [asdict(row) | {"curve": str(row.curve), "spectrum": row.curve.spectrum} for row in self.rows]
        return {"study": self.study.to_dict(), "workers": self.workers, "seconds": self.seconds, "curves": rows}

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return titles and cells for people."""
        titles = ["method", "rank", "Z %", *(["paper’s Z %"] if has_published(self.study) else [])]
        titles += ["runs", "steps", "s/step", "time a run", "MiB"]
        rows = []
        for row in self.rows:
            about = "≈" if row.extrapolated else ""
            cells = [row.curve.method.title, "–" if row.curve.rank is None else str(row.curve.rank), f"{row.z:.3f}"]
            cells += [row.published] if has_published(self.study) else []
            cells += [str(row.runs), str(row.steps), f"{about}{row.step_seconds:.3g}"]
            cells += [about + in_words(row.steps * row.step_seconds), f"{about}{row.memory / MEBIBYTE:.0f}"]
            rows.append(tuple(cells))
        return tuple(titles), rows

    def sentences(self) -> list[str]:
        """Return what stands under the table."""
        memory = self.workers * max(row.memory for row in self.rows) / MEBIBYTE
        words = [
            f"All steps together: {in_words(self.seconds)} with {self.workers} at once, in up to {memory:.0f} MiB. "
            "Measured just now on noise of the data's shape; looks at the networks and reading the data come on top."
        ]
        if any(row.extrapolated for row in self.rows):
            words.append(
                f"≈: from batches of {SMALL_BATCHES[0]} and {SMALL_BATCHES[1]}, along a straight line to the whole one."
            )
        if self.study.extensions and len(self.study.learning_rates) > 1:
            words.append("Learning rates that the search may add are not foreseen.")
        return words


def estimate_study(
    study: Study, surroundings: Surroundings, executor: str = "loky", workers: int | None = None
) -> Estimate:
    """Count and measure; nothing is written.

    Args:
        study: what would be run.
        surroundings: device and threads; nothing is fetched, and the data not read where its name tells its shape.
        executor, workers: as for a study.

    Raises:
        ValueError: the study cannot be made.
        RuntimeError: a step failed.
    """
    curves = study.curves
    surroundings = replace(surroundings, synthetic=True, folder=None)
    runs = [study.run(curve, study.learning_rates[0], study.seeds[0]) for curve in curves]
    require_buildable(runs[0], TASKS[study.task].image_shape(runs[0], surroundings))
    zs = [compression(run, surroundings) for run in runs]
    measured: dict[Run, Measurement] = {}
    # One at a time: several at once would measure each other.
    for made in perform_all(_Measure(surroundings), runs, executor, 1, surroundings.threads):
        if isinstance(made, Failure):
            raise RuntimeError(
                f"a step of {made.run.name!r} failed ({made.summary}); if memory was short, give a smaller batch_size, "
                "more pieces of it by accumulation, or another device"
            )
        measured[made.run] = made
    count = len(study.learning_rates) + len(study.seeds) - 1
    rows = [
        Row(curve, z, published_z(study, curve), count, study.steps, m.step_seconds, m.memory, m.extrapolated)
        for curve, z, m in zip(curves, zs, (measured[run] for run in runs), strict=True)
    ]
    at_once = 1 if executor == "sequential" else workers or joblib.cpu_count(only_physical_cores=True)
    return Estimate(study, tuple(rows), min(at_once, count * len(curves)))


def compression(run: Run, surroundings: Surroundings) -> float:
    """Return Z of a run's network in percent, counted without its weights."""
    spec = run.curve.specification
    if spec is None:
        return 100.0
    shape = TASKS[run.task].image_shape(run, surroundings)
    return report(weightless_network(run, shape), spec, NETWORKS[run.network].skip).z


@final
@dataclass(frozen=True)
class _Measure:
    """Measures a run in the process where it is called."""

    surroundings: Surroundings

    def __call__(self, run: Run) -> Measurement:
        pieces = run.settings.accumulation
        whole = run.batch_size // pieces
        run_of = {b: replace(run, batch_size=b, settings=replace(run.settings, accumulation=1)) for b in SMALL_BATCHES}
        if whole <= SMALL_BATCHES[0]:
            seconds, memory = self._measure(replace(run_of[SMALL_BATCHES[0]], batch_size=whole))
            return Measurement(run, pieces * seconds, memory, False)
        small, small_memory = self._measure(run_of[SMALL_BATCHES[0]])
        if small * whole / SMALL_BATCHES[0] < WHOLE_BATCH_SECONDS:
            seconds, memory = self._measure(replace(run_of[SMALL_BATCHES[0]], batch_size=whole))
            return Measurement(run, pieces * seconds, memory, False)
        large, large_memory = self._measure(run_of[SMALL_BATCHES[1]])
        share = (whole - SMALL_BATCHES[0]) / (SMALL_BATCHES[1] - SMALL_BATCHES[0])
        seconds = small + max(large - small, 0) * share
        return Measurement(run, pieces * seconds, small_memory + max(large_memory - small_memory, 0) * share, True)

    def _measure(self, run: Run) -> tuple[float, float]:
        """Return seconds of a step, after one that is not counted, and the largest amount of memory."""
        shape = TASKS[run.task].image_shape(run, self.surroundings)
        reset_peak_memory(self.surroundings.device)
        training = TASKS[run.task].training(run, first_network(run, shape), self.surroundings)
        training.step(0).item()
        times: list[float] = []
        while len(times) < STEPS and sum(times) < WHOLE_BATCH_SECONDS:
            start = time.perf_counter()
            training.step(len(times) + 1).item()
            times.append(time.perf_counter() - start)
        return min(times), float(peak_memory(self.surroundings.device))


def in_words(seconds: float) -> str:
    """Return a duration such as ``40 s``, ``12 min``, ``3.2 h`` or ``5.1 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
