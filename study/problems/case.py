"""One way to solve a problem: a choice for each factor, by name."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Final, Self, final

from ...manifolds import Geometry
from .._plain import Plain, require_known, to_json, tupled
from ..case import Case, Run, Trial, equal_distances
from ..parts import GEOMETRIES, METRICS, Options, geometry_with, made
from ..surroundings import Surroundings
from .problem import PROBLEMS, Problem, problem_of

# What moves frames where a study does not say, and what needs no words in a title.
DEFAULTS: Final = {"retraction": "qr", "metric": "euclidean", "geometry": "stiefel"}


@final
@dataclass(frozen=True)
class ProblemCase(Case):
    """A problem, and one choice for each factor, by name.

    Attributes:
        problem_json: the problem's plain values, as JSON.
        problem_name: the problem in a few words.
        optimizer: name of an optimizer that steps by a learning rate, from which it falls to 0 by a half cosine, or of
            a method of ``minimize``.
        retraction, metric, geometry: names; how frames are stored and moved.
        steps: number of steps, or the most iterations of a method.
        looks: how often the gap is read on the way, at equal distances, and once before; after each iteration of a
            method of ``minimize``.
        minimizes: whether the optimizer is a method of ``minimize``, which has no learning rate.
        options: of the parts by keyword, such as ``("optimizer.momentum", 0.5)``.
    """

    kind: ClassVar[str] = "optimizers"
    measures_memory: ClassVar[bool] = False
    problem_json: str
    problem_name: str
    optimizer: str
    retraction: str
    metric: str
    geometry: str
    steps: int
    looks: int
    minimizes: bool = False
    options: Options = ()

    @property
    def needs_rate(self) -> bool:
        """Whether the optimizer is none of the methods of ``minimize``."""
        return not self.minimizes

    @property
    def look_steps(self) -> list[int]:
        """Numbers of steps at equal distances, after which the gap is read; 0 and the last among them."""
        return equal_distances(self.steps, self.looks)

    @property
    def problem(self) -> Problem:
        """The problem; equal cases share one, which keeps its data and its optimum.

        Raises:
            ValueError: it is of a kind that is not known in this process.
        """
        kind = json.loads(self.problem_json)["kind"]
        return _problem(self.problem_json, PROBLEMS.entry(kind, "kind of problem").thing)

    @property
    def manifold_geometry(self) -> Geometry:
        """The geometry with its metric and retraction."""
        return geometry_of(self.geometry, self.metric, self.retraction, self.options)

    @property
    def title(self) -> str:
        """The setting, and the problem."""
        return f"{self.setting} on {self.problem_name}"

    @property
    def setting(self) -> str:
        """The optimizer, and what is not at its default."""
        others = [f"{key} {getattr(self, key)}" for key, usual in DEFAULTS.items() if getattr(self, key) != usual]
        options = [f"{key.partition('.')[2]} {value}" for key, value in self.options]
        return ", ".join([self.optimizer, *others, *options])

    def to_dict(self) -> dict[str, Plain]:
        """Return all values as plain ones."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"problem": json.loads(values.pop("problem_json")), **values, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; neither the problem nor any name need be known."""
        content = dict(values)
        options = tuple((key, tupled(value)) for key, value in content.pop("options").items())
        return cls(problem_json=to_json(content.pop("problem")).strip(), options=options, **content)

    def begin(self, run: Run, surroundings: Surroundings) -> Trial:
        """Return the trial of a run."""
        from .trials import Iterations, Steps  # which need this module

        return Iterations(self, run) if self.minimizes else Steps(self, run)


def geometry_of(name: str, metric: str, retraction: str, options: Options = ()) -> Geometry:
    """Return a geometry with its metric and retraction, if it has those.

    Raises:
        ValueError: a name is unknown, or the geometry has no such metric or no retraction at all.
        TypeError: an option is none of its part.
    """
    require_known("metric", metric, METRICS)
    geometry = made(GEOMETRIES, name)
    own = {field.name for field in fields(geometry)} if is_dataclass(geometry) else set()
    for part, given in (("metric", metric), ("retraction", retraction)):
        if part not in own and given != DEFAULTS[part]:
            raise ValueError(
                f"{part} must be {DEFAULTS[part]!r} with the geometry {name!r}, which has none, got {given!r}"
            )
    parts = (metric if "metric" in own else None, retraction if "retraction" in own else None)
    return geometry_with(name, *parts, options)


@functools.lru_cache(maxsize=256)
def _problem(text: str, made_by: object) -> Problem:
    """Return the one problem of a text and of what makes it, which may be defined anew."""
    return problem_of(json.loads(text))
