"""Compare optimizers on a cost and a manifold of one's own. Run: python examples/study_own_problem.py"""

import geoopt
import torch

from sttp.study import CostProblem, compare

TARGET = torch.linspace(-1, 1, 20, dtype=torch.float64)
NEAREST = CostProblem(
    "nearest",
    lambda point: (point - TARGET).square().sum(),
    (20,),
    manifold=geoopt.Sphere(),
    optimum=float((TARGET.norm() - 1) ** 2),
    summary="the point of a sphere that is nearest to one outside",
)


def run(steps: int = 200, wanted: float = 1e-6, **options):
    """Compare three optimizers and a method of minimize; return the outcome."""
    values = {"optimizers": ["riemannian-sgd", "geoopt-sgd"], "methods": ["lbfgs"], "output": "results/own-problem"}
    outcome = compare(problems=[NEAREST], steps=steps, seeds=[0, 1], **values | options)
    if not outcome.table["gap"].max() < wanted:
        raise RuntimeError(f"not all come within {wanted:g} of the optimum; take more steps")
    return outcome


if __name__ == "__main__":
    outcome = run()
    print(outcome.table[["optimizer", "gap", "evaluations"]], *outcome.findings, outcome.report, sep="\n")
