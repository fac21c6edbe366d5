"""Every optimizer on the shapes at the ends: one column, square frames, and both at once."""

import pytest
import torch
from frame_problems import minimize, procrustes
from optimizer_registry import EUCLIDEAN, NAMES, ROWS

from sttp.manifolds import Stiefel, orthogonality_error


@pytest.mark.parametrize("shape", [(6, 1), (5, 5)], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_one_column_and_square_frames_reach_the_optimum(row, shape):
    problem = procrustes(*shape, starts=4)
    points = problem.batch(EUCLIDEAN)
    minimize(problem, points, row.make(points), row.steps, row.decays)
    assert problem.gaps(points).max() < 1e-6
    assert orthogonality_error(torch.stack(points)).max() < row.closed


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical")], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_frame_of_one_entry_stays_where_it_is(row, manifold):
    problem = procrustes(1, 1, starts=2)
    points = problem.parameters(manifold)
    minimize(problem, points, row.make(points), 3, row.decays)
    torch.testing.assert_close(torch.stack(points).detach(), problem.starts, rtol=0, atol=1e-12)
