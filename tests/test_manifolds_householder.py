"""The Householder chart against torch.linalg.householder_product and LAPACK's own factorization."""

import itertools

import pytest
import torch
from hypothesis import given
from manifold_registry import draw_ambient, few, frame_shapes, tolerance
from torch.func import jacfwd, jacrev, jvp

from sttp.manifolds import haar_frame, householder_entries, householder_frames, orthogonality_error
from sttp.manifolds._householder import entries_of_free, free_entries


def oracle(entries: torch.Tensor, reduced: bool = False) -> torch.Tensor:
    """Return the product of reflections by LAPACK, whose tau is 2/‖y‖²."""
    width = entries.shape[-1]
    if reduced:
        entries = torch.cat((torch.zeros_like(entries[..., :width, :]), entries[..., width:, :]), dim=-2)
    entries = entries.tril(-1)
    tau = 2 / (1 + entries.square().sum(-2))
    return torch.linalg.householder_product(entries, tau)


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@few
@given(shape=frame_shapes())
def test_frames_and_gradients_agree_with_torch(reduced: bool, shape: tuple[int, ...]) -> None:
    entries = draw_ambient(shape).requires_grad_()
    weights = draw_ambient(shape, seed=7)
    ours, theirs = householder_frames(entries, reduced), oracle(entries, reduced)
    assert (ours - theirs).abs().max() < 1e-12
    (first,) = torch.autograd.grad((weights * ours).sum(), entries)
    (second,) = torch.autograd.grad((weights * theirs).sum(), entries, allow_unused=True)
    assert (first - second).abs().max() < 1e-12


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (3, 3), (2, 6, 3)], ids=str)
def test_first_and_second_derivatives(reduced: bool, shape: tuple[int, ...]) -> None:
    entries = draw_ambient(shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: householder_frames(y, reduced), entries)
    assert torch.autograd.gradgradcheck(lambda y: householder_frames(y, reduced), entries)


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
def test_forward_mode_at_any_level(reduced: bool) -> None:
    entries, weights = draw_ambient((5, 3)), draw_ambient((5, 3), seed=7)
    assert torch.autograd.gradcheck(
        lambda y: householder_frames(y, reduced), entries.clone().requires_grad_(), check_forward_ad=True
    )

    def value(y: torch.Tensor) -> torch.Tensor:
        return (weights * householder_frames(y, reduced) ** 3).sum()

    backward = jacrev(jacrev(jacrev(value)))(entries)
    for first, second, third in itertools.product((jacfwd, jacrev), repeat=3):
        assert (first(second(third(value)))(entries) - backward).abs().max() < 1e-12

    def slope(y: torch.Tensor) -> torch.Tensor:  # an inner derivative that does not see the entries
        one = torch.ones((), dtype=torch.float64)
        return jvp(lambda scale: scale * value(y), (one,), (one,))[1]

    assert abs(jvp(slope, (entries,), (weights,))[1] - jvp(value, (entries,), (weights,))[1]) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@few
@given(shape=frame_shapes())
def test_frames_are_feasible_in_both_precisions(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    frames = householder_frames(10 * draw_ambient(shape, dtype))
    assert frames.dtype == dtype
    assert orthogonality_error(frames).max() < tolerance(dtype, 1e-13, 1e-5)


def test_reduced_frames_have_an_upper_triangular_top() -> None:
    top = householder_frames(draw_ambient((3, 7, 4)), reduced=True)[:, :4]
    assert (top.tril(-1) == 0).all()


def test_zero_entries_give_minus_the_identity() -> None:
    assert torch.equal(householder_frames(torch.zeros(2, 5, 3)), -torch.eye(5, 3).expand(2, 5, 3))


def test_padding_leaves_the_frame_in_the_corner() -> None:
    entries = draw_ambient((6, 3))
    padded = torch.zeros(9, 5, dtype=torch.float64)
    padded[:6, :3] = entries
    frames = householder_frames(padded)
    assert torch.allclose(frames[:6, :3], householder_frames(entries), atol=1e-14)
    assert (frames[6:, :3] == 0).all()
    assert (frames[:6, 3:5].abs().sum(0) < 10).all()
    assert orthogonality_error(frames) < 1e-13


def special_frames() -> dict[str, torch.Tensor]:
    """Return frames on which signs and reflections are easily confused."""
    identity = torch.eye(7, 4, dtype=torch.float64)
    columns = haar_frame(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixed = torch.zeros(7, 4, dtype=torch.float64)
    mixed[0, 0], mixed[1, 1] = -1.0, 1.0
    mixed[2:, 2:] = haar_frame(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    zero_top = torch.zeros(7, 3, dtype=torch.float64)
    zero_top[3:] = haar_frame(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    permutation = torch.eye(5, dtype=torch.float64)[:, [3, 0, 4, 1]]
    return {
        "identity": identity,
        "minus identity": -identity,
        "one sign": identity * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64),
        "identity columns": mixed,
        "zero top block": zero_top,
        "permutation": permutation,
        "square": torch.linalg.qr(draw_ambient((4, 4)))[0],
        "haar": columns,
    }


@pytest.mark.parametrize("name", list(special_frames()))
def test_entries_and_signs_give_every_frame_back(name: str) -> None:
    frame = special_frames()[name]
    entries, signs = householder_entries(frame)
    assert torch.allclose(householder_frames(entries) * signs.unsqueeze(-2), frame, atol=1e-13)
    assert (signs.abs() == 1).all()
    assert torch.equal(entries.tril(-1), entries)
    assert (entries.square().sum(-2) <= 1 + 1e-12).all()  # with the unit diagonal ‖y‖² ≤ 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@few
@given(shape=frame_shapes())
def test_round_trip_of_random_frames(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    frame = haar_frame(*shape, dtype=dtype, generator=torch.Generator().manual_seed(4))
    entries, signs = householder_entries(frame)
    assert signs.shape == (*shape[:-2], shape[-1])
    assert torch.allclose(householder_frames(entries) * signs.unsqueeze(-2), frame, atol=tolerance(dtype, 1e-13, 1e-5))


@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
@few
@given(shape=frame_shapes())
def test_free_entries_are_as_many_as_the_degrees_of_freedom(reduced: bool, shape: tuple[int, ...]) -> None:
    d, r = shape[-2:]
    frame = householder_frames(draw_ambient(shape), reduced)
    entries, signs = householder_entries(frame)
    free = free_entries(entries, reduced)
    batch = torch.Size(shape[:-2]).numel()
    assert free.numel() == batch * (r * (d - r) if reduced else d * r - r * (r + 1) // 2)
    rebuilt = entries_of_free(free, d, r, reduced)
    assert torch.allclose(householder_frames(rebuilt) * signs.unsqueeze(-2), frame, atol=1e-12)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"entries must have shape \(..., n, p\) with n >= p, got \(2, 3\)"):
        householder_frames(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        householder_frames(torch.zeros(3))
    for dtype in (torch.float16, torch.bfloat16, torch.complex64):
        with pytest.raises(TypeError, match=r"entries must be float32 or float64, got a tensor of .*autocast"):
            householder_frames(torch.zeros(3, 2, dtype=dtype))
