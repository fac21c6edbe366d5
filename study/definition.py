"""A study: what is compared, and what all of its runs share."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, final

from ..manifolds import require_integer
from . import optuna_search as _optuna_search  # noqa: F401 which registers its search
from ._plain import Plain, require_distinct, require_folder_name, require_known, require_plain, tupled
from .case import Case, Run
from .design import DESIGNS, Assignment, Design, require_factors
from .kind import KINDS, Kind
from .register import Register, foreign_entries, object_of, one_definition
from .search import STRATEGIES, Strategy

SEEDS: Final = (0, 1, 2, 3, 4)
OWN_KEYS: Final = ("name", "title", "kind", "design", "factors", "search", "seeds", "tuning_seed")


@final
@dataclass(frozen=True)
class Study:
    """A design over named factors: every case is given a learning rate by one search, then runs with all seeds.

    It is made by :meth:`from_dict`, which checks and fills in.

    Attributes:
        name: a short word, also of the folder of results.
        kind: name of the kind of study.
        factors: what is varied, values by name.
        shared: what all cases have in common, and the centre of a design that changes one factor at a time.
        title: a line for the top of the report.
        design: which combinations of the factors are compared.
        search: how learning rates are found.
        seeds: of the runs that are reported.
        tuning_seed: of the runs that find a learning rate; by default the first of the seeds.
        stored: cases by their assignments as a folder has them, which then need none of the code that they name.
    """

    name: str
    kind: str
    factors: Mapping[str, tuple[Plain, ...]]
    shared: Mapping[str, Plain]
    title: str
    design: Design
    search: Strategy
    seeds: tuple[int, ...]
    tuning_seed: int
    stored: Mapping[str, Case] | None = field(default=None, repr=False, compare=False)

    @property
    def of(self) -> Kind:
        """The kind of study."""
        return KINDS[self.kind]

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All that is compared, each once, in the order of the design."""
        return tuple(dict.fromkeys(self.assigned.values()))

    @cached_property
    def assigned(self) -> Mapping[str, Case]:
        """Cases by their assignments, these as JSON; a case is there under each assignment that leads to it."""
        if self.stored is not None:
            return self.stored
        found: dict[str, Case] = {}
        for assignment in self.design.assignments(self.factors, self.centre):
            case = self.of.case({**self.shared, **assignment})
            if case is not None:
                found[_key(assignment)] = case
        return found

    def case_of(self, assignment: Assignment) -> Case | None:
        """Return the case of a value for each factor; None where it is none of its own."""
        return self.assigned.get(_key(assignment))

    @property
    def centre(self) -> dict[str, Plain]:
        """The factors' values around which a design may change one at a time, of those that have one."""
        return {name: value for name in self.factors if (value := self.shared.get(name)) is not None}

    @cached_property
    def groups(self) -> dict[str, tuple[Assignment, ...]]:
        """Combinations that differ in one factor alone, by the factor; none for a full grid."""
        return self.design.groups(self.factors, self.centre)

    def run(self, case: Case, learning_rate: float | None, seed: int) -> Run:
        """Return a run of a case."""
        return Run(case, learning_rate, seed)

    def require_options(self, used: Iterable[str]) -> None:
        """Refuse options that nothing in the study has, instead of leaving them aside.

        Raises:
            ValueError: one of them is not among those that cases use.
        """
        known = set(used)
        for key in (*self.factors, *self.shared):
            part, dot, option = key.partition(".")
            if dot and key not in known:
                raise ValueError(f"factor {key!r}: no {part} of the study has an option {option!r}; leave it out")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "design": _name_of_design(self.design, self.of),
            "factors": {name: list(values) for name, values in self.factors.items()},
            **self.shared,
            "search": STRATEGIES.name_for(type(self.search)),
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.search).items()},  # type: ignore[call-overload]
            "seeds": list(self.seeds),
            "tuning_seed": self.tuning_seed,
        }

    @classmethod
    @one_definition()
    def from_dict(cls, values: Mapping[str, Any], stored: Mapping[str, Case] | None = None) -> Self:
        """Build a study from plain values, as a TOML file or :meth:`to_dict` has them.

        Keys are those of the study, those that its kind's cases share, the kind's short forms of factors, and the
        fields of the search.

        Args:
            values: the keys.
            stored: see the class.

        Raises:
            TypeError, ValueError: a key is unknown, or a value not of its kind, unknown or out of range.
        """
        given = dict(values)
        kind = KINDS.entry(given.pop("kind", DEFAULT_KIND), "kind").thing
        for key, value in (given | require_factors(given.get("factors", {}))).items():
            tables = [part for part in (value if isinstance(value, tuple) else [value]) if isinstance(part, Mapping)]
            if key in kind.open_parts and tables:
                option = f'"{key}.{next(iter(tables[0]), "option")}"'
                raise TypeError(
                    f"{key} must be a name, got a table; write an option of it in quotes, as {option} = ..."
                )
        given = kind.filled(given)
        search = STRATEGIES[given.pop("search")] if "search" in given else type(kind.strategy)
        options = [f.name for f in fields(search)]  # type: ignore[arg-type]
        for key in given:
            if not _is_option(kind, key):
                known = [*OWN_KEYS, *kind.short_forms, *kind.defaults, *options]
                require_known(f"key of a study of the kind {kind.name!r}", key, known)
        if "name" not in given:
            raise ValueError("name is missing; give a short word, which is also the folder's")
        factors = require_factors(given.pop("factors", {}))
        factors |= require_factors({name: given.pop(key) for key, name in kind.short_forms.items() if key in given})
        for name in factors:
            if not _is_option(kind, name):
                require_known("factor", name, dict.fromkeys((*kind.short_forms.values(), *kind.defaults)))
        own = [key for key in given if key in kind.defaults or _is_option(kind, key)]
        shared = {**kind.defaults, **{key: given.pop(key) for key in own}}
        for name, value in (*factors.items(), *shared.items()):
            require_plain(name, value)
        seeds = tupled(given.get("seeds", SEEDS))
        require_distinct("seeds", seeds)
        tuning_seed = seeds[0] if given.get("tuning_seed") is None else given["tuning_seed"]
        for argument, seed in (*(("seeds", seed) for seed in seeds), ("tuning_seed", tuning_seed)):
            require_integer(argument, seed, least=0)
        require_folder_name("name", given["name"])
        title = given.get("title", "")
        if not isinstance(title, str):
            raise TypeError(f"title must be a string, got {title!r}")
        chosen = {key: tupled(given[key]) for key in options if key in given}
        inherited = asdict(kind.strategy) if search is type(kind.strategy) else {}  # type: ignore[call-overload]
        design = DESIGNS[given["design"]] if "design" in given else kind.design
        study = cls(
            name=given["name"],
            kind=kind.name,
            factors=tupled(factors),
            shared=tupled(shared),
            title=title,
            # The kind's own knows the factors that it crosses.
            design=kind.design if type(design) is type(kind.design) else design,
            search=search(**inherited | chosen),
            seeds=seeds,
            tuning_seed=tuning_seed,
            stored=stored,
        )
        if not study.cases:  # which refuses names and values before the first run starts
            raise ValueError(f"factors of the study {study.name!r} leave nothing to compare; give other values")
        return study


STUDIES: Register[Study] = Register("study", object_of(Study, "a Study"))
DEFAULT_KIND: Final = "training"


def read_study(path: Path) -> Study:
    """Read a study from a TOML file; its name is by default that of the file.

    Raises:
        ValueError: the file cannot be read, is no TOML, or has an unknown key or value.
        TypeError: a value is not of its kind.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"study {str(path)!r} cannot be read ({error}); give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"study {str(path)!r} is not TOML ({error}); mend that line") from None
    return Study.from_dict({"name": path.stem} | values)


def _is_option(kind: Kind, key: str) -> bool:
    part, dot, option = key.partition(".")
    return bool(dot and option) and part in kind.open_parts


def _key(assignment: Mapping[str, Any]) -> str:
    return json.dumps(assignment, sort_keys=True)


def _name_of_design(design: Design, kind: Kind) -> str:
    others = (entry for register, entry in foreign_entries() if register is DESIGNS)
    for entry in (*others, *DESIGNS.entries().values()):
        if entry.thing == design or (design == kind.design and type(entry.thing) is type(design)):
            return entry.name
    raise ValueError(f"design {design!r} is not registered; add it to DESIGNS under a name")
