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

from .case import Run
from .heartbeat import shares
from .report.text import plain
from .surroundings import RUNS

LINES: Final = 10  # without a terminal


@final
class ProgressDisplay:
    """Shows how far a study is; call it as :data:`~sttp.study.engine.Progress` is called."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / RUNS
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("runs,"),
            _TimeLeft(lambda: self._time_left(self._done, self._expected)),
            TextColumn("left,"),
            TimeElapsedColumn(),
            TextColumn("gone; {task.description}", markup=False),
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

    def __call__(self, done: int, expected: int, run: Run | None) -> None:
        """Show the number of finished runs, the number expected, and the run that has just ended."""
        self._done, self._expected = done, expected
        if run is None:
            self._start, self._begun = time.monotonic(), done
        words = "starting workers" if run is None else plain(run.name)
        self._bar.update(self._task, completed=done, total=expected, description=words)
        if not self._console.is_terminal and done * LINES >= self._lines * expected:
            self._lines = done * LINES // max(expected, 1) + 1
            left = self._time_left(done, expected)
            self._console.print(Text(f"{done}/{expected} runs, time left {left}"))

    def _time_left(self, done: int, expected: int) -> str:
        """Return the time that the runs to come will take if they take as long as those so far."""
        if done >= expected:
            return "0:00"
        told = shares(self._runs)
        self._before |= {name: share.before for name, share in told.items()}
        ended = done - self._begun + sum(share.now for share in told.values())
        made = ended - sum(self._before.values())
        if made <= 0:
            return "–"
        seconds = (time.monotonic() - self._start) / made * max(expected - self._begun - ended, 0)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@final
class _TimeLeft(ProgressColumn):
    """The time left as it is when the bar is drawn: runs under way count by the share of their steps."""

    def __init__(self, time_left: Callable[[], str]) -> None:
        self._words = time_left
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(self._words())
