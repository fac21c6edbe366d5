"""Compare a network, data and a method of one's own with those of sttp. Run: python examples/study_own_method.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from sttp.study import Method, Training, compare


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def two_factors(network: nn.Sequential, rank: int) -> nn.Sequential:
    """Give the first layer two thin ones in its place, which start from the same weight as all other methods."""
    left, values, right = torch.linalg.svd(network[0].weight.detach(), full_matrices=False)
    down, up = nn.Linear(64, rank, bias=False), nn.Linear(rank, 64)
    down.weight.data.copy_(right[:rank])
    up.weight.data.copy_(left[:, :rank] * values[:rank])
    network[0] = nn.Sequential(down, up)
    return network


def run(steps: int = 300, wanted: float = 0.9, **options):
    """Compare four methods at two ranks over three seeds; return the outcome."""
    images, digits = load_digits(return_X_y=True)
    methods = ["dense", "sttp stiefel", "sttp householder-reduced", Method("two factors", build=two_factors)]
    values = {"ranks": [4, 8], "learning_rates": [0.003, 0.01], "seeds": range(3), "output": "results/own-method"}
    outcome = compare(Training(network, (images / 16, digits)), methods=methods, steps=steps, **values | options)
    if not outcome.table["accuracy"].max() > wanted:
        raise RuntimeError(f"no method names {wanted:.0%} of the digits right; take more steps")
    return outcome


if __name__ == "__main__":
    outcome = run()
    print(outcome.table[["method", "rank", "z", "accuracy"]], *outcome.findings, outcome.report, sep="\n")
