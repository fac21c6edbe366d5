"""Numbers that the paper prints."""

from __future__ import annotations

from typing import Final

from ..definition import Study
from ..tasks.case import TrainingCase
from ..tasks.images import KNOWN_SHAPES, LABELLED
from ..tasks.presentation import PUBLISHED
from .experiments import DISCRIMINATORS, RANK

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
