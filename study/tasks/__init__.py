"""Tasks by name. A new task adds a row."""

from __future__ import annotations

from typing import Final

from .classification import Classification
from .digits import Digits
from .gan import Gan
from .task import Task

DIGITS: Final = Digits()
TASKS: Final[dict[str, Task]] = {"digits": DIGITS, "classification": Classification(), "gan": Gan()}
