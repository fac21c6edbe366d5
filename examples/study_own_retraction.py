"""Compare a retraction and a geometry of one's own with those of sttp. Run: python examples/study_own_retraction.py"""

from dataclasses import dataclass

from sttp.manifolds import Retraction, Riemannian, qr_positive, register_retraction
from sttp.study import GEOMETRIES, compare


@register_retraction
@dataclass(frozen=True)
class Halves(Retraction):
    """The step in two halves, each followed by the orthogonal factor of a QR decomposition."""

    def retract(self, manifold, point, tangent_vector):
        """Return a point."""
        halfway = qr_positive(point + tangent_vector / 2)[0]
        return qr_positive(halfway + manifold.proju(halfway, tangent_vector) / 2)[0]


GEOMETRIES.add("canonical", Riemannian(metric="canonical"))  # a chart of one's own would be a subclass of Geometry


def run(steps: int = 200, wanted: float = 0.8, **options):
    """Compare three retractions in two geometries on handwritten digits; return the outcome."""
    values = {"methods": ["sttp stiefel", "sttp canonical"], "ranks": [4], "seeds": range(3)}
    values |= {"retractions": ["qr", "polar", Halves()], "output": "results/own-retraction"}
    outcome = compare("digits", steps=steps, **values | options)
    if not outcome.table["accuracy"].min() > wanted or not outcome.table["orthogonality_error"].max() < 1e-4:
        raise RuntimeError(f"not all name {wanted:.0%} of the digits right on the manifold; take more steps")
    return outcome


if __name__ == "__main__":
    outcome = run()
    print(outcome.table[["method", "accuracy", "orthogonality_error"]], *outcome.findings, outcome.report, sep="\n")
