"""Progress over the weights of a network on the standard error: a bar, or a few lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINES: Final = 10  # without a terminal

_Item = TypeVar("_Item")


@contextmanager
def followed(
    items: Sequence[_Item], title: str, name: Callable[[_Item], str], shown: bool
) -> Iterator[Iterable[_Item]]:
    """Give the items to loop over; while they are, it is shown how many are done and the name of the one under way.

    Args:
        items: what is to be done.
        title: what is done to them, such as "fitting".
        name: tells the name of an item.
        shown: False to show nothing.
    """
    if not shown:
        yield items
        return
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(title),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=len(items))

    def each() -> Iterator[_Item]:
        for done, item in enumerate(items, 1):
            bar.update(task, description=name(item))
            yield item
            bar.update(task, completed=done, description="")
            if not console.is_terminal and done * LINES // len(items) > (done - 1) * LINES // len(items):
                console.print(f"{title} {done}/{len(items)}: {name(item)}", highlight=False, markup=False)

    if console.is_terminal:
        with bar:
            yield each()
    else:  # rich before 14.3 would end a bar that is not shown with an empty line
        yield each()
