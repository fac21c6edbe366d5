"""What a study will take: its runs, their Z, and time and memory measured on a few steps of each."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, final

import joblib
import torch

from ..case import Case, Run
from ..definition import Study
from ..executors import Executor, executor_of
from ..machine import peak_memory, reset_peak_memory
from ..schedule import progress
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
class Measurement:
    """Time and memory of a run's steps.

    Attributes:
        z: degrees of freedom that are kept, in percent; None where the run knows of none.
        step_seconds: of a step.
        memory: largest resident set, or memory of the device, in bytes.
        extrapolated: whether smaller batches were measured, and the rest is a straight line through them.
    """

    z: float | None
    step_seconds: float
    memory: float
    extrapolated: bool = False


@final
@dataclass(frozen=True)
class Row:
    """A case of an estimate: what is published of its Z, how many runs it has at least, and what one of them takes."""

    title: str
    published: str
    runs: int
    steps: int
    measured: Measurement

    @property
    def seconds(self) -> float:
        """Seconds of all steps of one run."""
        return self.steps * self.measured.step_seconds


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
        rows = [
            {"case": row.title, "published": row.published, "runs": row.runs, "steps": row.steps} | asdict(row.measured)
            for row in self.rows
        ]
        return {"study": self.study.to_dict(), "workers": self.workers, "seconds": self.seconds, "cases": rows}

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return titles and cells for people."""
        has_z = any(row.measured.z is not None for row in self.rows)
        has_published = any(row.published for row in self.rows)
        titles = ["case", *(["Z %"] if has_z else []), *(["paper’s Z %"] if has_published else [])]
        titles += ["runs", "steps", "s/step", "time a run", "MiB"]
        rows = []
        for row in self.rows:
            measured = row.measured
            about = "≈" if measured.extrapolated else ""
            cells = [row.title]
            cells += [("–" if measured.z is None else f"{measured.z:.3f}")] if has_z else []
            cells += [row.published or "–"] if has_published else []
            cells += [str(row.runs), str(row.steps), f"{about}{measured.step_seconds:.3g}"]
            cells += [about + in_words(row.seconds), f"{about}{measured.memory / MEBIBYTE:.0f}"]
            rows.append(tuple(cells))
        return tuple(titles), rows

    def sentences(self) -> list[str]:
        """Return what stands under the table."""
        memory = self.workers * max(row.measured.memory for row in self.rows) / MEBIBYTE
        words = [
            f"All steps together: {in_words(self.seconds)} with {self.workers} at once, in up to {memory:.0f} MiB. "
            "Measured just now, on noise of the data's shape where there is data; looks on the way and reading the "
            "data come on top, and so do learning rates that the search may add."
        ]
        if any(row.measured.extrapolated for row in self.rows):
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
    begun = [_begun(study, case) for case in study.cases]
    measured: dict[Run, Measurement] = {}
    # One at a time: several at once would measure each other.
    for made in perform_all(_Measure(surroundings), [run for run, _ in begun], executor, 1, surroundings.threads):
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
    rows = tuple(
        Row(case.title, str(titles.get(case.title, "")), least, case.steps, measured[run])
        for case, (run, least) in zip(study.cases, begun, strict=True)
    )
    count = workers or int(joblib.cpu_count(only_physical_cores=True))
    at_once = 1 if executor_of(executor).is_here(count) else count
    return Estimate(study, rows, min(at_once, sum(row.runs for row in rows)))


def _begun(study: Study, case: Case) -> tuple[Run, int]:
    """Return the first run of a case, and how many it has at least."""
    found = progress(study, case, {})
    if found is None:
        return study.run(case, None, study.seeds[0]), len(study.seeds)
    shared = study.tuning_seed in study.seeds
    return study.run(case, found.rates[0], study.seeds[0]), len(study.seeds) + found.expected - shared


@final
@dataclass(frozen=True)
class _Measure:
    """Measures a run in the process where it is called: in whole batches, or along a line through two small ones."""

    surroundings: Surroundings

    def __call__(self, run: Run) -> tuple[Run, Measurement]:
        case = run.case
        if not isinstance(case, TrainingCase):
            return run, self._measured(run)
        pieces = case.settings.accumulation
        whole = case.batch_size // pieces
        in_one = replace(case, settings=replace(case.settings, accumulation=1))

        def measured(batch: int) -> Measurement:
            return self._measured(replace(run, case=replace(in_one, batch_size=batch)))

        first, second = SMALL_BATCHES
        small = measured(first) if whole > first else None
        if small is None or small.step_seconds * whole / first < WHOLE_BATCH_SECONDS:
            found = measured(whole)
            return run, replace(found, step_seconds=pieces * found.step_seconds)
        large = measured(second)
        share = (whole - first) / (second - first)
        seconds = small.step_seconds + max(large.step_seconds - small.step_seconds, 0) * share
        memory = small.memory + max(large.memory - small.memory, 0) * share
        return run, Measurement(small.z, pieces * seconds, memory, extrapolated=True)

    def _measured(self, run: Run) -> Measurement:
        """Measure a few steps."""
        reset_peak_memory(self.surroundings.device)
        trial = run.case.begin(run, self.surroundings)
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
        return Measurement(
            z, min(times[1:], default=times[0] if times else 0.0), float(peak_memory(self.surroundings.device))
        )


def in_words(seconds: float) -> str:
    """Return a duration such as ``40 s``, ``12 min``, ``3.2 h`` or ``5.1 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
