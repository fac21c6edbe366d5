"""Progress of a study on the standard error: a bar with the time left, or a few lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from .optimization import OptimizationRun
from .run import Run
from .runs.heartbeat import shares
from .surroundings import RUNS

LINES: Final = 10  # without a terminal


@final
class ProgressDisplay:
    """Shows how far a study is; call it as :data:`~sttp.study.conduct.Progress` is called.

    Args:
        folder: of the results, where runs under way tell how far they are; None looks at finished runs alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._runs = None if folder is None else folder / RUNS
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("runs,"),
            _TimeLeft(self._time_left_now),
            TextColumn("left,"),
            TimeElapsedColumn(),
            TextColumn("gone; {task.description}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting workers", total=None)
        self._start = time.monotonic()
        self._begun = 0
        self._done = self._expected = 0
        self._before: dict[str, float] = {}  # what of each run was made before this display began
        self._lines = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # rich before 14.3 would end it with an empty line
            self._bar.stop()

    def __call__(self, done: int, expected: int, run: Run | OptimizationRun | None) -> None:
        """Show the number of finished runs, the number expected, and the run that has just ended."""
        self._done, self._expected = done, expected
        if run is None:
            self._start, self._begun = time.monotonic(), done
        left = self._time_left(done, expected)
        words = "starting workers" if run is None else run.name
        self._bar.update(self._task, completed=done, total=expected, description=words)
        if not self._console.is_terminal and done * LINES >= self._lines * expected:
            self._lines = done * LINES // max(expected, 1) + 1
            self._console.print(f"{done}/{expected} runs, time left {left}", highlight=False)

    def _time_left(self, done: int, expected: int) -> str:
        """Return the time that the runs to come will take if they take as long as those so far."""
        if done >= expected:
            return "0:00"
        told = {} if self._runs is None else shares(self._runs)
        self._before |= {name: share.before for name, share in told.items()}
        ended = done - self._begun + sum(share.now for share in told.values())
        made = ended - sum(self._before.values())
        if made <= 0:
            return "–"
        seconds = (time.monotonic() - self._start) / made * max(expected - self._begun - ended, 0)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

    def _time_left_now(self) -> str:
        return self._time_left(self._done, self._expected)


class _TimeLeft(ProgressColumn):
    """The time left as it is when the bar is drawn: runs under way count by the share of their steps."""

    def __init__(self, time_left: Callable[[], str]) -> None:
        self._words = time_left
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(self._words())
