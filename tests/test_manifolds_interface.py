"""The whole interface of ``geoopt.Manifold``: each method answers, or says by name that it cannot."""

import copy
import inspect
import pickle
from dataclasses import dataclass

import geoopt
import pytest
import torch
from manifold_registry import NAMES, ROWS, Row, draw_point, draw_tangent

from sttp.manifolds import Grassmann, Retraction, Stiefel, Transport, orthogonality_error

SHAPE = (2, 6, 3)


def public_methods() -> set[str]:
    """Return the methods that ``geoopt.Manifold`` adds to a module."""
    members = inspect.getmembers(geoopt.Manifold, inspect.isfunction)
    return {name for name, _ in members if not name.startswith("_") and not hasattr(torch.nn.Module, name)}


def calls(row: Row) -> dict[str, tuple]:
    x = draw_point(row, SHAPE)
    u, v = draw_tangent(row, x, 1, norm=0.4), draw_tangent(row, x, 2)
    y = row.manifold.expmap(x, u)
    return {
        "assert_check_point": (x,),
        "assert_check_point_on_manifold": (x,),
        "assert_check_vector": (u,),
        "assert_check_vector_on_tangent": (x, u),
        "check_point": (x,),
        "check_point_on_manifold": (x,),
        "check_vector": (u,),
        "check_vector_on_tangent": (x, u),
        "component_inner": (x, u, v),
        "dist": (x, y),
        "dist2": (x, y),
        "egrad2rgrad": (x, u),
        "expmap": (x, u),
        "expmap_transp": (x, u, v),
        "inner": (x, u, v),
        "logmap": (x, y),
        "norm": (x, u),
        "origin": SHAPE,
        "pack_point": (x,),
        "proju": (x, u),
        "projx": (x,),
        "random": SHAPE,
        "retr": (x, u),
        "retr_transp": (x, u, v),
        "transp": (x, y, v),
        "transp_follow_expmap": (x, u, v),
        "transp_follow_retr": (x, u, v),
        "unpack_tensor": (x,),
    }


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_method_answers_or_is_refused_by_name(row: Row) -> None:
    table = calls(row)
    assert set(table) == public_methods()
    for name, arguments in table.items():
        if name in ("dist", "dist2", "logmap") and row.name.startswith("euclidean"):
            with pytest.raises(NotImplementedError, match=r"Stiefel\.(dist|logmap) is known for metric='canonical'"):
                getattr(row.manifold, name)(*arguments)
            continue
        answer = getattr(row.manifold, name)(*arguments)
        for item in answer if isinstance(answer, tuple) else (answer,):
            if isinstance(item, torch.Tensor):
                assert item.isfinite().all(), name
            else:
                assert item in (True, None), name


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_manifolds_survive_copies_and_files(row: Row) -> None:
    for twin in (copy.deepcopy(row.manifold), pickle.loads(pickle.dumps(row.manifold))):
        assert twin == row.manifold
        assert hash(twin) == hash(row.manifold)
        assert twin.retraction.transport is row.manifold.retraction.transport
    parameter = geoopt.ManifoldParameter(draw_point(row, SHAPE), manifold=row.manifold)
    assert copy.deepcopy(parameter).manifold == row.manifold


@dataclass(frozen=True)
class Projected(Retraction):
    """A retraction of a user's own, which says how it retracts and nothing else."""

    def retract(self, manifold, point, tangent_vector):
        return manifold.projx(point + tangent_vector)


def test_a_retraction_of_ones_own_needs_one_method() -> None:
    for manifold in (Stiefel("euclidean", Projected()), Grassmann(Projected())):
        x = manifold.random(5, 2, dtype=torch.float64).as_subclass(torch.Tensor)
        u = manifold.proju(x, torch.ones_like(x))
        end, moved = manifold.retr_transp(x, u, u)
        assert orthogonality_error(end) < 1e-13
        assert torch.allclose(manifold.proju(end, moved), moved)
        with pytest.raises(NotImplementedError, match="Projected has no inverse"):
            manifold.inverse_retr(x, end)


class _PolarFactor(torch.autograd.Function):
    """The polar factor as an operation of a user's own, which has a backward and no forward mode."""

    @staticmethod
    def forward(ctx, matrix):
        ctx.save_for_backward(matrix)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        return left @ right

    @staticmethod
    def backward(ctx, gradient):
        (matrix,) = ctx.saved_tensors
        with torch.enable_grad():
            inside = matrix.detach().requires_grad_()
            left, _, right = torch.linalg.svd(inside, full_matrices=False)
            return torch.autograd.grad(left @ right, inside, gradient, create_graph=True)[0]


@dataclass(frozen=True)
class BackwardOnly(Retraction):
    """The polar retraction by that operation."""

    def retract(self, manifold, point, tangent_vector):
        return _PolarFactor.apply(point + tangent_vector)


@pytest.mark.parametrize("retraction", [Projected, BackwardOnly])
@pytest.mark.parametrize("shape", [(5, 2), (3, 6, 3)])
def test_the_differential_of_a_retraction_of_ones_own_is_that_of_its_curves(retraction, shape) -> None:
    manifold = Stiefel("euclidean", retraction(transport=Transport.DIFFERENTIAL))
    x = manifold.random(*shape, dtype=torch.float64)
    u, v = (manifold.proju(x, torch.randn_like(x)).as_subclass(torch.Tensor) for _ in range(2))
    with torch.no_grad():  # as optimizers call it
        _, moved = manifold.retr_transp(x, u, v)
    ahead, behind = (manifold.retr(x, u + t * v).as_subclass(torch.Tensor) for t in (1e-5, -1e-5))
    torch.testing.assert_close(moved.as_subclass(torch.Tensor), (ahead - behind) / 2e-5, rtol=0, atol=1e-8)
