"""Kinds of studies: of trained networks, and of optimizers. Their folders and the making of their runs are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, final


class Definition(Protocol):
    """A study of any kind."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""


class Job(Protocol):
    """A run of any kind."""

    @property
    def identifier(self) -> str:
        """The name of the run's folder."""

    @property
    def name(self) -> str:
        """The run in words."""


AnyStudy = TypeVar("AnyStudy", bound=Definition)
AnyRun = TypeVar("AnyRun", bound=Job)


class Product(Protocol):
    """A result of any kind."""

    @property
    def run(self) -> Any:
        """What was run."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""


AnyResult = TypeVar("AnyResult", bound=Product)


@final
@dataclass(frozen=True)
class Kind(Generic[AnyStudy, AnyResult]):
    """A kind of study, and how what it writes is read.

    Attributes:
        name: as ``study.json`` has it; None for studies of trained networks, whose file names no kind.
        format: number of the form in which it is written.
        read_study, read_result: make objects of plain values; they raise what says that the values do not fit.
    """

    name: str | None
    format: int
    read_study: Callable[[dict[str, Any]], AnyStudy]
    read_result: Callable[[dict[str, Any]], AnyResult]
