"""Transports along retractions, and inverse retractions."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from manifold_registry import (
    CANONICAL,
    EUCLIDEAN,
    GRASSMANN,
    NAMES,
    ROWS,
    Row,
    draw_ambient,
    draw_point,
    draw_tangent,
    few,
    frame_shapes,
)

from sttp.manifolds import QR, Cayley, Exponential, Grassmann, Polar, Stiefel, Transport

DIFFERENTIAL = [row for row in ROWS if row.manifold.retraction.transport is Transport.DIFFERENTIAL]
ISOMETRIC = [row for row in ROWS if row.is_isometric]
PLAIN = [row for row in ROWS if row.manifold.retraction.transport is Transport.PROJECTION]


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


def test_the_registry_covers_every_transport() -> None:
    assert (len(PLAIN), len(DIFFERENTIAL), len(ISOMETRIC)) == (12, 12, 6)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("row", DIFFERENTIAL, ids=names(DIFFERENTIAL))
@few
@given(shape=frame_shapes())
def test_differentiated_transport_is_the_derivative_of_the_retraction(row: Row, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    step, vector = draw_tangent(row, point, 1), draw_tangent(row, point, 2)
    end, moved = row.manifold.retr_transp(point, step, vector)
    small = 1e-5
    difference = row.manifold.retr(point, step + small * vector) - row.manifold.retr(point, step - small * vector)
    expected = row.manifold.proju(end, difference / (2 * small))
    assert torch.allclose(moved, expected, atol=1e-7 * (1 + float(vector.abs().max()) ** 3))


@pytest.mark.parametrize("row", ISOMETRIC, ids=names(ISOMETRIC))
@few
@given(shape=frame_shapes())
def test_isometric_transport_keeps_inner_products(row: Row, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    step, first, second = (draw_tangent(row, point, seed) for seed in (1, 2, 3))
    end, one = row.manifold.retr_transp(point, step, first)
    other = row.manifold.transp_follow_retr(point, step, second)
    for u, v, moved_u, moved_v in ((first, first, one, one), (first, second, one, other)):
        assert torch.allclose(row.manifold.inner(end, moved_u, moved_v), row.manifold.inner(point, u, v), atol=1e-11)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_transport_claims_no_less_than_it_keeps(row: Row) -> None:
    """Where the registry does not say isometric, lengths do change."""
    point = draw_point(row, (7, 3))
    step, vector = draw_tangent(row, point, 1), draw_tangent(row, point, 2)
    end, moved = row.manifold.retr_transp(point, step, vector)
    change = (row.manifold.norm(end, moved) - row.manifold.norm(point, vector)).abs()
    assert (change < 1e-12) == row.is_isometric


@pytest.mark.parametrize("shape", [(9, 4), (5, 3), (4, 1), (3, 7, 5)], ids=str)
def test_exponential_on_grassmann_transports_in_parallel(shape: tuple[int, ...]) -> None:
    """The formula of Edelman, Arias, Smith 1998, Thm 2.4, and the equation (I − YYᵀ)·dv/dt = 0 that defines it."""
    manifold = GRASSMANN.manifold
    point = draw_point(GRASSMANN, shape)
    step, vector = draw_tangent(GRASSMANN, point, 1, norm=1.2), draw_tangent(GRASSMANN, point, 2)
    moved = manifold.transp_follow_expmap(point, step, vector)
    left, angles, right = np.linalg.svd(step.numpy(), full_matrices=False)
    x, v = point.numpy(), vector.numpy()
    inside = left.swapaxes(-1, -2) @ v
    along = x @ (right.swapaxes(-1, -2) * -np.sin(angles)[..., None, :]) + left * np.cos(angles)[..., None, :]
    np.testing.assert_allclose(moved.numpy(), along @ inside + v - left @ inside, atol=1e-12)
    assert torch.equal(moved, manifold.expmap_transp(point, step, vector)[1])
    assert torch.allclose(moved, manifold.transp_follow_retr(point, step, vector), atol=1e-12)
    small = 1e-5
    near = [manifold.transp_follow_expmap(point, t * step, vector) for t in (0.5 - small, 0.5 + small)]
    rate = manifold.proju(manifold.expmap(point, 0.5 * step), (near[1] - near[0]) / (2 * small))
    assert rate.abs().max() < 1e-8


@pytest.mark.parametrize("row", [row for row in ROWS if row.name.startswith("canonical-e")], ids=lambda row: row.name)
def test_stiefel_exponential_transport_is_isometric(row: Row) -> None:
    point = draw_point(row, (2, 8, 3))
    step, vector = draw_tangent(row, point, 1), draw_tangent(row, point, 2)
    end, moved = row.manifold.expmap_transp(point, step, vector)
    assert torch.allclose(row.manifold.norm(end, moved), row.manifold.norm(point, vector), atol=1e-12)
    assert torch.allclose(end, row.manifold.expmap(point, step), atol=1e-14)


def has_inverse(row: Row) -> bool:
    return not (isinstance(row.manifold.retraction, Exponential) and row.name.startswith("euclidean"))


WITH_INVERSE = [row for row in PLAIN if has_inverse(row)]


@pytest.mark.parametrize("row", WITH_INVERSE, ids=names(WITH_INVERSE))
@few
@given(shape=frame_shapes())
def test_inverse_retraction_undoes_the_retraction(row: Row, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    tangent = draw_tangent(row, point, norm=0.5)
    back = row.manifold.inverse_retr(point, row.manifold.retr(point, tangent))
    assert torch.allclose(back, tangent, atol=1e-11)


@pytest.mark.parametrize("row", WITH_INVERSE, ids=names(WITH_INVERSE))
def test_retraction_undoes_the_inverse_and_it_is_tangent(row: Row) -> None:
    point = draw_point(row, (3, 9, 4))
    near = row.manifold.projx(point + 0.15 * draw_ambient((3, 9, 4)))
    tangent = row.manifold.inverse_retr(point, near)
    assert torch.allclose(row.manifold.proju(point, tangent), tangent, atol=1e-12)
    end = row.manifold.retr(point, tangent)
    first, second = (end @ end.mT, near @ near.mT) if row.is_quotient else (end, near)
    assert torch.allclose(first, second, atol=1e-11)
    assert row.manifold.inverse_retr(point, point).abs().max() < 1e-13


@pytest.mark.parametrize("row", WITH_INVERSE, ids=names(WITH_INVERSE))
def test_inverse_retraction_in_float32(row: Row) -> None:
    point = draw_point(row, (40, 12), torch.float32)
    tangent = draw_tangent(row, point, norm=0.5)
    back = row.manifold.inverse_retr(point, row.manifold.retr(point, tangent))
    assert torch.allclose(back, tangent, atol=1e-4)


def test_symmetric_factor_of_the_polar_inverse_is_scipys() -> None:
    point, end = draw_point(EUCLIDEAN, (8, 4)), draw_point(EUCLIDEAN, (8, 4))
    end = Polar().retract(EUCLIDEAN.manifold, point, draw_tangent(EUCLIDEAN, point, norm=0.9))
    gram = (point.mT @ end).numpy()
    factor = scipy.linalg.solve_continuous_lyapunov(gram, 2 * np.eye(4))
    expected = end.numpy() @ factor - point.numpy()
    found = Polar().inverse(EUCLIDEAN.manifold, point, end)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("row", DIFFERENTIAL + ISOMETRIC, ids=names(DIFFERENTIAL + ISOMETRIC))
@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
def test_float32_transports_stay_finite(row: Row, norm: float) -> None:
    for shape in ((96, 24), (24, 24), (30, 20), (40, 1)):
        point = draw_point(row, shape, torch.float32)
        step, vector = draw_tangent(row, point, 1, norm=norm), draw_tangent(row, point, 2, norm=1.0)
        end, moved = row.manifold.retr_transp(point, step, vector)
        assert moved.isfinite().all()
        if row.is_isometric:
            before, after = row.manifold.norm(point, vector), row.manifold.norm(end, moved)
            assert (before - after).abs() < 2e-3 * before + 1e-6


def test_settings_are_kept_apart_and_refused_by_name() -> None:
    assert QR() != QR(transport=Transport.DIFFERENTIAL)
    assert Cayley(transport=Transport.ISOMETRIC) == Cayley(transport=Transport("isometric"))
    assert repr(Cayley(transport=Transport.ISOMETRIC)) == "Cayley(transport=Transport.ISOMETRIC)"
    assert repr(Polar(2)) == "Polar(polishes=2)"
    assert (repr(QR()), repr(Polar())) == ("QR()", "Polar()")
    with pytest.raises(ValueError, match=r"transport must be one of Transport\.PROJECTION.*got 'parallel'"):
        QR(transport="parallel")
    for kind in (QR, Polar):
        with pytest.raises(ValueError, match=f"{kind.__name__} must be PROJECTION or DIFFERENTIAL, got.*ISOMETRIC"):
            kind(transport=Transport.ISOMETRIC)
    manifold = Stiefel("euclidean", Exponential())
    point = draw_point(CANONICAL, (4, 2))
    with pytest.raises(NotImplementedError, match=r"Stiefel\.logmap is known for metric='canonical'"):
        manifold.inverse_retr(point, point)
    with pytest.raises(NotImplementedError, match="QR is no rotation"):
        QR().rotated(manifold, point, point, point)
    assert Grassmann().is_quotient
