"""The paper's experiments as studies, on any data set, at full size or scaled down, and the numbers that it prints.

Obukhov, Rakhuba, Liniger, Huang, Georgoulis, Dai, Van Gool, "Spectral Tensor Train Parameterization of Deep Learning
Layers", AISTATS 2021. On the digits, which are the default, sizes and schedules are this project's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from ..manifolds import require_number
from .definition import STUDIES, Study
from .parts import FLAVOURS
from .register import Register
from .tasks.case import TrainingCase
from .tasks.images import KNOWN_SHAPES, LABELLED
from .tasks.presentation import PUBLISHED
from .tasks.task import ImageShape

# Steps of the paper's schedules: of the classifier, and of the generator.
STEPS: Final = 100_000
RANK: Final = 64

# By size of the images: widths of the full and of the reduced discriminator and of the generator, and what a width of
# either must be a multiple of. At 32 and 48 pixels they are the paper's.
DISCRIMINATORS: Final = {8: (32, 8, 1), 32: (128, 32, 1), 48: (1024, 64, 16), 64: (1024, 64, 16)}
GENERATORS: Final = {8: (32, 1), 32: (256, 1), 48: (512, 8), 64: (1024, 16)}

ALL_FLAVOURS: Final = tuple(FLAVOURS)
NORMALIZED: Final = ("sn", "sr")

# The keys of a study, but for its name, title and data.
Definition = dict[str, Any]


@final
@dataclass(frozen=True)
class Experiment:
    """A figure or table of the paper.

    Attributes:
        title: for the top of the report.
        define: returns the keys of the study for images of a shape, at a scale, 1 for full size.
    """

    title: str
    define: Callable[[ImageShape, float], Definition]


EXPERIMENTS: Final[Register[Experiment]] = Register("experiment of the paper")


def paper_study(name: str, data: str, shape: ImageShape, scale: float = 1.0) -> Study:
    """Return one of the paper's experiments.

    Args:
        name: such as `paper-table2`.
        data: name of the data set.
        shape: of its images.
        scale: 1 for the full schedule and width; S for S times as many steps, √S times the widths and √S times the
            ranks.

    Raises:
        ValueError: the name is unknown, the scale not in (0, 1], or there is no GAN for images of this size.
        TypeError: the scale is no number.
    """
    experiment = EXPERIMENTS.entry(name, "study").thing
    require_number("scale", scale, above=0, most=1)
    own = {"name": name, "kind": "training", "title": experiment.title, "data": data}
    return Study.from_dict({**own, **experiment.define(shape, scale)})


def _figure7(shape: ImageShape, scale: float) -> Definition:
    """Accuracy of WRN-28-10 against Z."""
    small = shape.size < 16
    return {
        "methods": ["dense", "svdp householder", "svdp stiefel", "sttp householder-reduced", "sttp stiefel"],
        "svdp_ranks": _ranks((1, 2) if small else (4, 16), scale),
        "ranks": _ranks((2, 4, 8) if small else (16, 32, 64), scale),
        "task": "classification",
        "network": "wrn-10-1" if small else "wrn-28-10",
        "spectrum": "regularized",
        "optimizer": "riemannian-sgd",
        "learning_rates": [0.1],
        "extensions": 0,
        "seeds": [0],
        "steps": _steps(300 if small else STEPS, scale),
        "batch_size": 64 if small else 128,
        "evaluations": 6 if small else 20,
        "weight_decay": 1e-4,
        "augment": not small,
        "width": _width(16, scale, 1),
    }


def _gan(shape: ImageShape, scale: float, methods: tuple[str, ...], about: str, reduced: bool = False) -> Definition:
    """A pair of networks of which the discriminator, full or reduced, or the generator has each of the methods."""
    discriminator = choose_size(shape, DISCRIMINATORS)
    generator = choose_size(shape, GENERATORS)
    critic_width = _width(discriminator[1 if reduced else 0], scale, discriminator[2])
    generator_width = _width(generator[0], scale, generator[1])
    own, other = (critic_width, generator_width) if about == "discriminator" else (generator_width, critic_width)
    small = shape.size < 16
    return {
        "methods": list(methods),
        "ranks": _ranks((8,) if small else (RANK,), scale),
        "task": "gan",
        "network": f"sngan{shape.size}-{about}",
        "spectrum": "regularized",
        "optimizer": "gan-adam",
        "learning_rates": [2e-3 if small else 2e-4],
        "extensions": 0,
        "seeds": [0],
        "steps": _steps(800 if small else STEPS, scale),
        "batch_size": 32 if small else 64,
        "evaluations": 10,
        "width": own,
        "partner_width": other,
        "samples": 2_000 if small else 10_000,
    }


def _paper_methods(flavours: tuple[str, ...] = ALL_FLAVOURS) -> tuple[str, ...]:
    """Return SVDP and STTP as the paper has them, in Householder charts without redundancy."""
    svdp = (f"svdp {'householder-reduced' if flavour == 'C' else 'householder'} {flavour}" for flavour in flavours)
    return (*svdp, *(f"sttp householder-reduced {flavour}" for flavour in flavours))


def _register(name: str, title: str, define: Callable[[ImageShape, float], Definition]) -> None:
    """Register an experiment, and as a study of its own the one on the digits."""
    EXPERIMENTS.add(name, Experiment(title, define))
    STUDIES.add(name, paper_study(name, "digits", KNOWN_SHAPES["digits"]))


def choose_size(shape: ImageShape, table: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """Return a table's row for the size of the images."""
    if shape.size not in table:
        raise ValueError(
            f"size must be one of {', '.join(map(str, table))} for a GAN, got {shape.size}; resize images with --size"
        )
    return table[shape.size]


def _steps(steps: int, scale: float) -> int:
    return max(20, round(steps * scale))


def _width(width: int, scale: float, multiple: int) -> int:
    """Return the width at a scale."""
    return max(multiple, round(width * math.sqrt(scale) / multiple) * multiple)


def _ranks(ranks: tuple[int, ...], scale: float) -> list[int]:
    return list(dict.fromkeys(max(1, round(rank * math.sqrt(scale))) for rank in ranks))


_register("paper-fig7", "Accuracy of a wide residual network against its compression", _figure7)
_register(
    "paper-table1",
    "GANs with a reduced discriminator, by flavour",
    lambda shape, scale: _gan(shape, scale, NORMALIZED + _paper_methods(), "discriminator", reduced=True),
)
_register(
    "paper-table2",
    "GANs with a compressed full discriminator, by flavour",
    lambda shape, scale: _gan(shape, scale, NORMALIZED + _paper_methods(), "discriminator"),
)
_register(
    "paper-table3",
    "GANs with a compressed generator, by flavour",
    lambda shape, scale: _gan(shape, scale, ("dense", *_paper_methods()), "generator"),
)
_register(
    "paper-fig5",
    "Spectra of a reduced discriminator at the end of training",
    lambda shape, scale: _gan(
        shape, scale, (*NORMALIZED, *_paper_methods(("L", "R")), "sttp stiefel R"), "discriminator", reduced=True
    ),
)
_register(
    "paper-fig6",
    "Spectra of a reduced discriminator during training",
    lambda shape, scale: {
        **_gan(shape, scale, (*NORMALIZED, *_paper_methods(("L", "R"))), "discriminator", reduced=True),
        "evaluations": 20,
    },
)


# Z of the full discriminators at rank 64, in percent, as Table 2 prints it (some digits are cut, not rounded), by data
# set, parameterization and spectrum.
TABLE_2_Z: Final[dict[str, dict[tuple[str, str], str]]] = {
    "cifar10": {
        ("svdp", "identity"): "51.7",
        ("svdp", "lipschitz"): "53.3",
        ("svdp", "regularized"): "53.3",
        ("sttp", "identity"): "16.7",
        ("sttp", "lipschitz"): "18.3",
        ("sttp", "regularized"): "18.3",
    },
    "stl10": {
        ("svdp", "identity"): "14.2",
        ("svdp", "lipschitz"): "14.5",
        ("svdp", "regularized"): "14.5",
        ("sttp", "identity"): "3.24",
        ("sttp", "lipschitz"): "3.51",
        ("sttp", "regularized"): "3.51",
    },
}
# The networks that Table 2 is about, by data set.
FULL_DISCRIMINATORS: Final = {"cifar10": "sngan32-discriminator", "stl10": "sngan48-discriminator"}


def published_z(study: Study) -> dict[str, str]:
    """Return the Z that Table 2 prints of a study's cases, by their titles; none but at full size."""
    found = {}
    for case in study.cases:
        if isinstance(case, TrainingCase) and case.spectrum is not None and _is_full(case):
            printed = TABLE_2_Z[_column(case)].get((case.parameterization, case.spectrum))
            if printed is not None:
                found[case.title] = printed
    return found


def _is_full(case: TrainingCase) -> bool:
    """Whether a case is of a size that the table has."""
    data, settings = _column(case), case.settings
    if case.network != FULL_DISCRIMINATORS.get(data) or case.rank != RANK or settings.conditional:
        return False
    return settings.width in (None, DISCRIMINATORS[KNOWN_SHAPES[data].size][0])


def _column(case: TrainingCase) -> str:
    """Return the data set whose networks a case's have the sizes of: those of STL-10 do not depend on classes."""
    return LABELLED.get(case.settings.data, case.settings.data)


PUBLISHED.add("paper-table2", published_z)
