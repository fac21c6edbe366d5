"""Compare parameterizations of other libraries with those of sttp. Run: python examples/study_other_library.py

It needs tensorly-torch: pip install tensorly-torch
"""

import tltorch
from torch import nn

from sttp.study import Method, compare


def orthogonal(network: nn.Sequential) -> nn.Sequential:
    """Keep the columns of a weight orthonormal, by torch."""
    nn.utils.parametrizations.orthogonal(network.linear)
    return network


def tucker(network: nn.Sequential, rank: int) -> nn.Sequential:
    """Factorize the larger convolutions, by tensorly-torch, which starts from the weights that there are."""
    for name in ("conv2", "conv3"):
        layer = getattr(network, name)
        made = tltorch.FactorizedConv.from_conv(layer, rank=(rank, rank, 3, 3), factorization="tucker")
        setattr(network, name, made)
    return network


def run(steps: int = 200, wanted: float = 0.8, **options):
    """Compare them on handwritten digits with networks of the same size; return the outcome."""
    methods = ["dense", "sttp stiefel", Method("torch’s orthogonal", orthogonal), Method("Tucker", tucker)]
    values = {"ranks": [4, 8], "seeds": range(3), "output": "results/other-library"}
    outcome = compare("digits", methods=methods, steps=steps, **values | options)
    if not outcome.table["accuracy"].max() > wanted:
        raise RuntimeError(f"no method names {wanted:.0%} of the digits right; take more steps")
    return outcome


if __name__ == "__main__":
    outcome = run()
    print(outcome.table[["method", "rank", "z", "accuracy"]], *outcome.findings, outcome.report, sep="\n")
