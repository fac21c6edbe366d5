"""Compare an optimizer of one's own with those of sttp. Run: python examples/study_own_optimizer.py"""

import geoopt
import torch

from sttp.study import compare


class NormalizedDescent(torch.optim.Optimizer):
    """Steps of the length of the learning rate along the gradient, on whatever manifold a parameter has."""

    def __init__(self, parameters, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Make a step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                manifold = getattr(parameter, "manifold", geoopt.Euclidean())
                gradient = manifold.egrad2rgrad(parameter, parameter.grad)
                step = -group["lr"] / gradient.norm().clamp(min=1e-12) * gradient
                parameter.copy_(manifold.retr(parameter, step))


def run(steps: int = 200, wanted: float = 0.8, **options):
    """Compare three optimizers of the same train on handwritten digits; return the outcome."""
    optimizers = ["riemannian-adam", "riemannian-sgd", NormalizedDescent]
    values = {"methods": ["sttp stiefel"], "ranks": [4], "seeds": range(3), "output": "results/own-optimizer"}
    outcome = compare("digits", optimizers=optimizers, steps=steps, **values | options)
    if not outcome.table["accuracy"].max() > wanted or not outcome.table["orthogonality_error"].max() < 1e-4:
        raise RuntimeError(f"no optimizer names {wanted:.0%} of the digits right on the manifold; take more steps")
    return outcome


if __name__ == "__main__":
    outcome = run()
    print(outcome.table[["method", "accuracy", "learning_rate"]], *outcome.findings, outcome.report, sep="\n")
