"""Every optimizer finds the answers that scipy knows, from 20 starts, and ends on the manifold."""

import geoopt
import pytest
import torch
from frame_problems import Problem, brockett, minimize, procrustes
from optimizer_registry import CANONICAL, EUCLIDEAN, GRASSMANN, NAMES, ROWS, Row

from sttp.manifolds import orthogonality_error

GAP = 1e-6


def solve(row: Row, problem: Problem, points: list[geoopt.ManifoldParameter]) -> None:
    """Check the gap at the end of every start, that there was one at its beginning, and feasibility."""
    assert problem.gaps(points).min() > 1000 * GAP
    minimize(problem, points, row.make(points), row.steps, row.decays)
    gaps = problem.gaps(points)
    assert gaps.max() < GAP
    assert gaps.min() > -1e-12
    assert orthogonality_error(torch.stack(points)).max() < row.closed


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_orthogonal_procrustes(row):
    problem = procrustes(7, 3, starts=20)
    solve(row, problem, problem.parameters(EUCLIDEAN))


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_leading_eigenvectors(row):
    problem = brockett(7, 3, starts=20)
    solve(row, problem, problem.batch(CANONICAL if CANONICAL in row.manifolds else EUCLIDEAN))


@pytest.mark.parametrize("row", [row for row in ROWS if GRASSMANN in row.manifolds], ids=lambda row: row.name)
def test_leading_subspace(row):
    problem = brockett(6, 2, starts=20, weighted=False)
    solve(row, problem, problem.batch(GRASSMANN))
