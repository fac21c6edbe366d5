"""Kinds of studies: what a wing of this package, or a user, gives the engine to make cases of and to report."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ._plain import Plain
from .case import Case, Run
from .design import Assignment, Design, Grid
from .register import Register, object_of
from .search import GridSearch, Order, Strategy

if TYPE_CHECKING:
    from .definition import Study
    from .report.content import Content
    from .result import Result
    from .schedule import Results
    from .surroundings import Surroundings
    from .turns import Turn


class Kind(abc.ABC):
    """A kind of study: training networks, or minimizing problems. One object of each is registered in ``KINDS``.

    Attributes:
        name: as ``study.json`` and TOML files have it.
        case_type: the class of its cases.
        defaults: keys of a definition beside the engine's own that are shared by all cases, with their defaults. Each
            is a factor, too, where it is listed among the factors.
        short_forms: keys that stand for a factor, such as ``ranks`` for ``rank``.
        design: which combinations are compared where the definition does not say.
        strategy: how learning rates are found where the definition does not say.
        open_parts: parts whose options are factors too: with ``optimizer`` among them ``optimizer.momentum`` is one.
    """

    name: ClassVar[str]
    case_type: ClassVar[type[Case]]
    defaults: ClassVar[Mapping[str, Plain]]
    short_forms: ClassVar[Mapping[str, str]] = {}
    design: ClassVar[Design] = Grid()
    strategy: ClassVar[Strategy] = GridSearch()
    open_parts: ClassVar[tuple[str, ...]] = ()

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a definition's keys with those defaults that depend on others, such as a task's own."""
        return dict(values)

    @abc.abstractmethod
    def case(self, values: Assignment) -> Case | None:
        """Return the case of a value for each key; None where the combination is another one in disguise, or none.

        Raises:
            TypeError, ValueError: a value is unknown or out of range, or they do not go together.
        """

    @abc.abstractmethod
    def order(self, result: Result) -> Order:
        """Return what runs of one case are ordered by when a learning rate is chosen; the largest is the best."""

    def require(self, study: Study, surroundings: Surroundings) -> str | None:
        """Refuse a study that cannot be made, before the first run; return a checksum of its data if it has any.

        Raises:
            ValueError: the data is missing or damaged, or something is not installed.
        """
        return None

    def presentation(self, study: Study) -> dict[str, Plain]:
        """Return plain values that the report needs and could not find again without the user's code."""
        return {}

    @abc.abstractmethod
    def columns(self, study: Study, result: Result, chosen: bool) -> dict[str, Plain]:
        """Return a run's row of ``results.csv`` after its identifier; nothing that differs between executions.

        Args:
            study: what was compared.
            result: of the run.
            chosen: whether the run is at the learning rate that was chosen for its case.
        """

    @abc.abstractmethod
    def costs(self, study: Study, result: Result) -> dict[str, Plain]:
        """Return a run's row of ``timings.csv`` after its identifier and name."""

    @abc.abstractmethod
    def content(
        self, study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]
    ) -> Content:
        """Return what the report shows: findings, tables and figures.

        Args:
            study: what was compared.
            results: of all finished runs.
            presentation: what :meth:`presentation` returned when the study was begun.
            turns: times of steps that were taken in turns; none of an unfinished study.
        """


KINDS: Register[Kind] = Register("kind of study", object_of(Kind, "an object of a subclass of Kind"))


def named(names: Mapping[str, Callable[[object], Any]], factor: str, given: Any) -> Any:
    """Return what is given for a factor, one thing or a list, by names; whatever is wrong is for the case to refuse.

    Args:
        names: returns the name of a thing, by the factors that are given as objects.
        factor: which one.
        given: for it.
    """
    name_of = names.get(factor)
    if name_of is None or given is None or isinstance(given, str):
        return given
    return [name_of(thing) for thing in given] if isinstance(given, list | tuple) else name_of(given)


def read_run(values: Mapping[str, Any]) -> Run:
    """Read the plain values of a run."""
    content = dict(values)
    kind = KINDS[content.pop("kind")]
    return Run(kind.case_type.from_dict(content.pop("case")), **content)
