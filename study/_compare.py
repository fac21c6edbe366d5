"""Comparisons from Python, in one call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .definition import Study
from .problems import OptimizersKind
from .register import one_definition
from .surroundings import THREADS, Surroundings
from .tasks import TASKS, Task, TrainingKind

if TYPE_CHECKING:
    from .engine import Progress
    from .executors import Executor
    from .outcome import Outcome


def compare(
    task: Task | str | None = None,
    *,
    output: str | Path | None = None,
    executor: str | Executor = "loky",
    workers: int | None = None,
    device: str = "cpu",
    threads: int = THREADS,
    data: str | Path | None = None,
    progress: Progress | bool = True,
    **definition: Any,
) -> Outcome:
    """Compare methods on a task, or optimizers on problems; an unfinished comparison in the same folder goes on.

    ::

        compare(Training(network=MyNet, train=train_set), methods=["dense", "sttp stiefel"], ranks=[4, 8])
        compare(problems=[nearest], optimizers=["riemannian-adam", MyOptimizer])

    Args:
        task: what networks are trained on: a :class:`~sttp.study.Training`, a task, or the name of one. None for a
            study of problems.
        output: the folder of results; by default ``results/NAME``.
        executor: see :func:`~sttp.study.engine.run_study`.
        workers: how many runs at once; by default one a physical core.
        device: such as `cpu` or `cuda`.
        threads: of torch, for each run.
        data: folder or file of a data set that a task knows by its name.
        progress: whether progress is shown; or what is told of every run that ends.
        **definition: all else that a study's TOML file may have, objects in place of names if you like: ``methods``,
            ``ranks``, ``steps``, ``batch_size``, ``learning_rates``, ``seeds``, ``optimizer``, ``factors``, ``name``;
            or ``problems``, ``optimizers``, ``retractions``, ``metrics``, ``geometries``, ``steps``.

    Returns:
        The outcome: ``table``, ``plot``, ``findings``, and the path of its ``report``.

    Raises:
        TypeError, ValueError: an argument is unknown or does not fit, data or a network among them; nothing is run.
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    from .engine import run_study  # needs the extra `study`
    from .progress import ProgressDisplay

    with one_definition():
        study = _study(task, output, definition)
    folder = Path("results") / study.name if output is None else Path(output)
    surroundings = Surroundings(data=None if data is None else str(data), device=device, threads=threads)
    with ExitStack() as stack:
        told = progress if callable(progress) else None
        if progress is True:
            told = stack.enter_context(ProgressDisplay(folder))
        return run_study(study, folder, executor, workers, told, surroundings)


def _study(task: Task | str | None, output: str | Path | None, definition: Mapping[str, Any]) -> Study:
    values = {key: _listed(value) for key, value in definition.items()}
    kind = OptimizersKind.name if task is None and "task" not in values else TrainingKind.name
    values.setdefault("kind", kind)
    if task is not None:
        values["task"] = TASKS.name_for(task)
    fallback = "comparison" if task is None else str(values["task"])
    name = fallback if output is None else Path(output).resolve().name or fallback
    values.setdefault("name", re.sub(r'[/\\<>:"|?*]', " ", name))
    return Study.from_dict(values)


def _listed(value: Any) -> Any:
    """Return numbers of NumPy and pandas as Python's, and whatever can be gone through once as a list."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable) or callable(value):
        return value
    return [_listed(item) for item in value]
