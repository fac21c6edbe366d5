"""Progress of a minimization on the standard error: a line that is kept up to date, or ten lines a run of many."""

from __future__ import annotations

from types import TracebackType
from typing import Self, final

from rich.console import Console

from ._method import Iterate


@final
class ProgressLine:
    """Shows iteration, cost and gradient norm.

    On a terminal one line changes; elsewhere iterations 0 to 9 make a line each, then every tenth, hundredth and so on.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("starting") if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, iteration: int, here: Iterate) -> None:
        """Show an iterate."""
        evaluation = here.evaluation
        words = f"iteration {iteration}: cost {evaluation.cost:.10g}, gradient norm {evaluation.gradient_norm:.2e}"
        if self._status is not None:
            self._status.update(words)
        elif iteration % 10 ** (len(str(iteration)) - 1) == 0:
            self._console.print(words, highlight=False)
