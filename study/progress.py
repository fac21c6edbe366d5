"""Progress of a study on the standard error: a bar with the time left, or a few lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .run import Run

LINES: Final = 10  # without a terminal


@final
class ProgressDisplay:
    """Shows how far a study is; call it as :data:`~sttp.study.conduct.Progress` is called."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("runs, {task.fields[left]} left,"),
            TimeElapsedColumn(),
            TextColumn("gone; {task.description}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting workers", total=None, left="–")
        self._start = time.monotonic()
        self._begun = 0
        self._lines = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, expected: int, run: Run | None) -> None:
        """Show the number of finished runs, the number expected, and the run that has just ended."""
        if run is None:
            self._start, self._begun = time.monotonic(), done
        left = self._time_left(done, expected)
        words = "starting workers" if run is None else run.name
        self._bar.update(self._task, completed=done, total=expected, description=words, left=left)
        if not self._console.is_terminal and done * LINES >= self._lines * expected:
            self._lines = done * LINES // max(expected, 1) + 1
            self._console.print(f"{done}/{expected} runs, time left {left}", highlight=False)

    def _time_left(self, done: int, expected: int) -> str:
        """Return the time that the runs to come will take if they take as long as those so far."""
        if done == self._begun:
            return "–" if done < expected else "0:00"
        seconds = (time.monotonic() - self._start) / (done - self._begun) * (expected - done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
