"""The names that the help of the command line lists, in plain words: the registers that have them need torch.

A test holds them to the registers.
"""

from __future__ import annotations

from typing import Final

STUDIES: Final = (
    "digits",
    "adapters",
    "paper-fig7",
    "paper-table1",
    "paper-table2",
    "paper-table3",
    "paper-fig5",
    "paper-fig6",
    "optimizers",
)
DATA_SETS: Final = ("digits", "cifar10", "cifar100", "stl10", "stl10-unlabelled")
NETWORKS: Final = (
    "digits",
    "wrn-28-10",
    "wrn-16-2",
    "wrn-10-1",
    "sngan8-discriminator",
    "sngan32-discriminator",
    "sngan48-discriminator",
    "sngan64-discriminator",
    "sngan8-generator",
    "sngan32-generator",
    "sngan48-generator",
    "sngan64-generator",
)
PARAMETERIZATIONS: Final = ("svdp", "sttp")
SPECTRA: Final = ("identity", "lipschitz", "learned", "regularized", "free")
EXECUTORS: Final = ("loky", "sequential", "dask", "ray")
