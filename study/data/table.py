"""Tables of numbers in CSV files."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._plain import shown

INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
FEW: Final = 5  # lines that an error names


class Table(NamedTuple):
    """Inputs ``(n, ...)``; targets, numbers as a tensor or names as an array; of a CSV file the columns' names."""

    inputs: Tensor
    targets: Tensor | np.ndarray
    columns: tuple[str, ...] = ()


def read_table(place: str, path: Path, target: str | None) -> Table:
    """Return the columns of numbers of a CSV file, which errors call `place`, and its targets, by default the last."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{place} is no CSV file in UTF-8 ({error}); write one") from None
    if len(lines) < 2:
        raise ValueError(f"{place} is empty; give a line with the columns' names and one example at least")
    (_, header), *numbered = lines
    numbers, rows = zip(*numbered, strict=True)
    uneven = [number for number, row in zip(numbers, rows, strict=True) if len(row) != len(header)]
    if uneven:
        raise ValueError(f"{place} must have {len(header)} columns, got another number in {_lines(uneven)}")
    if len(header) < 2 or len(set(header)) < len(header) or all(math.isfinite(_number(cell)) for cell in header):
        raise ValueError(
            f"{place} must have a first line with the names of two columns at least, different ones and commas between "
            f"them, got {shown(', '.join(header))}"
        )
    own = header[-1] if target is None else target
    if own not in header:
        raise ValueError(f"target={target!r} is no column of {place}; choose from {shown(', '.join(header))}")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    targets = columns.pop(own)
    inputs = torch.stack([_column(place, title, cells, numbers) for title, cells in columns.items()], dim=1)
    if all(INTEGER.fullmatch(cell) for cell in targets):
        return Table(inputs, np.array([int(cell) for cell in targets]), tuple(columns))
    if any(math.isfinite(_number(cell)) for cell in targets):
        return Table(inputs, _column(place, own, targets, numbers), tuple(columns))
    empty = [number for number, cell in zip(numbers, targets, strict=True) if not cell]
    if empty:
        raise ValueError(f"{place}: column {shown(own)} has no target in {_lines(empty)}; leave these lines out")
    return Table(inputs, np.array(targets), tuple(columns))


def _column(place: str, title: str, cells: Sequence[str], numbers: Sequence[int]) -> Tensor:
    """Return a column of finite numbers."""
    values = torch.tensor([_number(cell) for cell in cells], dtype=torch.get_default_dtype())
    bad = (~values.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"{place}: column {shown(title)} has no finite number in {_lines([numbers[row] for row in bad])}, such as "
            f"{shown(cells[bad[0]])!r}; write numbers, or leave the column or these lines out"
        )
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _lines(numbers: Sequence[int]) -> str:
    """Return numbers of lines for a message, a few of many."""
    more = f" and {len(numbers) - FEW} more" if len(numbers) > FEW else ""
    return f"line{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:FEW]))}{more}"
