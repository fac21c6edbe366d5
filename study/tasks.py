"""Tasks by name. A new task adds a row."""

from __future__ import annotations

from typing import Final

from .digits import Digits
from .task import Task

TASKS: Final[dict[str, Task]] = {"digits": Digits()}
