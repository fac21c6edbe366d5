"""The paper's experiments as studies: its figures and tables on any data set, at full size or scaled down.

Obukhov, Rakhuba, Liniger, Huang, Georgoulis, Dai, Van Gool, "Spectral Tensor Train Parameterization of Deep Learning
Layers", AISTATS 2021. On the digits, which are the default, sizes and schedules are this project's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from .arguments import choose, require_positive
from .curve import Curve, Method
from .parameterizations import FLAVOURS
from .settings import Settings
from .study import Study
from .tasks.images import KNOWN_SHAPES, LABELLED
from .tasks.task import ImageShape

# Steps of the paper's schedules: of the classifier, and of the generator.
STEPS: Final = 100_000
RANK: Final = 64

# By size of the images: widths of the full and of the reduced discriminator and of the generator, and what a width of
# either must be a multiple of. At 32 and 48 pixels they are the paper's.
DISCRIMINATORS: Final = {8: (32, 8, 1), 32: (128, 32, 1), 48: (1024, 64, 16), 64: (1024, 64, 16)}
GENERATORS: Final = {8: (32, 1), 32: (256, 1), 48: (512, 8), 64: (1024, 16)}

ALL_FLAVOURS: Final = tuple(FLAVOURS)
NORMALIZED: Final = (Method("sn"), Method("sr"))


@final
@dataclass(frozen=True)
class Experiment:
    """A figure or table of the paper.

    Attributes:
        title: for the top of the report.
        build: makes the study for images of a shape, without a name; at a scale, 1 for full size.
    """

    title: str
    build: Callable[[ImageShape, float], Study]


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
    experiment = choose("study", name, EXPERIMENTS)
    require_positive("scale", scale)
    if scale > 1:
        raise ValueError(f"scale must be at most 1, which is the full schedule and width, got {scale}")
    study = experiment.build(shape, scale)
    return replace(study, name=name, title=experiment.title, settings=replace(study.settings, data=data))


def _figure7(shape: ImageShape, scale: float) -> Study:
    """Accuracy of WRN-28-10 against Z."""
    small = shape.size < 16
    methods = ("dense", "svdp householder", "svdp stiefel", "sttp householder-reduced", "sttp stiefel")
    return Study(
        name="figure",
        methods=tuple(Method.parse(method) for method in methods),
        svdp_ranks=_ranks((1, 2) if small else (4, 16), scale),
        ranks=_ranks((2, 4, 8) if small else (16, 32, 64), scale),
        task="classification",
        network="wrn-10-1" if small else "wrn-28-10",
        spectrum="regularized",
        optimizer="riemannian-sgd",
        learning_rates=(0.1,),
        extensions=0,
        seeds=(0,),
        steps=_steps(300 if small else STEPS, scale),
        batch_size=64 if small else 128,
        evaluations=6 if small else 20,
        settings=Settings(weight_decay=1e-4, augment=not small, width=_width(16, scale, 1)),
    )


def _gan(shape: ImageShape, scale: float, methods: tuple[Method, ...], about: str, reduced: bool) -> Study:
    """A pair of networks of which the discriminator, full or reduced, or the generator has each of the methods."""
    discriminator = choose_size(shape, DISCRIMINATORS)
    generator = choose_size(shape, GENERATORS)
    critic_width = _width(discriminator[1 if reduced else 0], scale, discriminator[2])
    generator_width = _width(generator[0], scale, generator[1])
    own, other = (critic_width, generator_width) if about == "discriminator" else (generator_width, critic_width)
    small = shape.size < 16
    return Study(
        name="table",
        methods=methods,
        ranks=_ranks((8,) if small else (RANK,), scale),
        task="gan",
        network=f"sngan{shape.size}-{about}",
        spectrum="regularized",
        optimizer="gan-adam",
        learning_rates=(2e-3,) if small else (2e-4,),
        extensions=0,
        seeds=(0,),
        steps=_steps(800 if small else STEPS, scale),
        batch_size=32 if small else 64,
        evaluations=10,
        settings=Settings(width=own, partner_width=other, samples=2_000 if small else 10_000),
    )


def _flavours(parameterization: str, geometry: str, flavours: tuple[str, ...] = ALL_FLAVOURS) -> tuple[Method, ...]:
    return tuple(Method(parameterization, geometry, flavour) for flavour in flavours)


def _paper_methods(flavours: tuple[str, ...] = ALL_FLAVOURS) -> tuple[Method, ...]:
    """Return SVDP and STTP as the paper has them, in Householder charts without redundancy."""
    svdp = tuple(
        Method("svdp", "householder-reduced" if flavour == "C" else "householder", flavour) for flavour in flavours
    )
    return svdp + _flavours("sttp", "householder-reduced", flavours)


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "paper-fig7": Experiment("Accuracy of a wide residual network against its compression", _figure7),
    "paper-table1": Experiment(
        "GANs with a reduced discriminator, by flavour",
        lambda shape, scale: _gan(shape, scale, NORMALIZED + _paper_methods(), "discriminator", reduced=True),
    ),
    "paper-table2": Experiment(
        "GANs with a compressed full discriminator, by flavour",
        lambda shape, scale: _gan(shape, scale, NORMALIZED + _paper_methods(), "discriminator", reduced=False),
    ),
    "paper-table3": Experiment(
        "GANs with a compressed generator, by flavour",
        lambda shape, scale: _gan(shape, scale, (Method("dense"), *_paper_methods()), "generator", reduced=False),
    ),
    "paper-fig5": Experiment(
        "Spectra of a reduced discriminator at the end of training",
        lambda shape, scale: _gan(
            shape,
            scale,
            (*NORMALIZED, *_paper_methods(("L", "R")), *_flavours("sttp", "stiefel", ("R",))),
            "discriminator",
            reduced=True,
        ),
    ),
    "paper-fig6": Experiment(
        "Spectra of a reduced discriminator during training",
        lambda shape, scale: replace(
            _gan(shape, scale, (*NORMALIZED, *_paper_methods(("L", "R"))), "discriminator", reduced=True),
            evaluations=20,
        ),
    ),
}


def choose_size(shape: ImageShape, table: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """Return a table's row for the size of the images.

    Raises:
        ValueError: there is none.
    """
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


def _ranks(ranks: tuple[int, ...], scale: float) -> tuple[int, ...]:
    return tuple(dict.fromkeys(max(1, round(rank * math.sqrt(scale))) for rank in ranks))


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


def has_published(study: Study) -> bool:
    """Return whether the paper prints a Z for the methods of a study: Table 2, at full size."""
    data, settings = _column(study), study.settings
    if study.name != "paper-table2" or study.network != FULL_DISCRIMINATORS.get(data):
        return False
    at_full_size = settings.width in (None, DISCRIMINATORS[KNOWN_SHAPES[data].size][0]) and study.ranks == (RANK,)
    return at_full_size and study.svdp_ranks is None and not settings.conditional


def published_z(study: Study, curve: Curve) -> str:
    """Return the paper's Z of a curve as it prints it, or a dash."""
    if not has_published(study) or curve.spectrum is None:
        return "–"
    return TABLE_2_Z[_column(study)].get((curve.method.parameterization, curve.spectrum), "–")


def _column(study: Study) -> str:
    """Return the data set whose networks a study's have the sizes of: those of STL-10 do not depend on classes."""
    return LABELLED.get(study.settings.data, study.settings.data)
