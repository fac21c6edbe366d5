"""Matrix product operators: exact at full bonds, bounded when truncated, and what training some cores can reach."""

import math

import pytest
import torch
from torch import nn

from sttp.adapters import MPO, AsPublished, adapt, adapted_layers, detach, merge, squeeze
from sttp.manifolds import Riemannian, orthogonality_error

SHAPES = [
    (12, 8, None),
    (16, 72, None),
    (7, 5, None),
    (12, 8, ((2, 7), (4, 2))),
    (30, 20, ((2, 2, 2, 4), (2, 2, 2, 3))),
]


def random(rows, columns, seed=0):
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def adapted(weight, adapter):
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    (found,) = adapted_layers(adapt(nn.Sequential(layer), adapter)).values()
    return found


def operator_of(layer):
    return layer.changes["default"].operator


def unfoldings(weight, modes):
    """Return W with its modes interleaved, as a matrix at each bond, entry by entry."""
    rows, columns = modes
    size = [row * column for row, column in zip(rows, columns, strict=True)]
    flat = torch.zeros(math.prod(size), dtype=weight.dtype)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            row, column, place, stride = i, j, 0, 1
            for k in reversed(range(len(rows))):
                place += stride * ((row % rows[k]) * columns[k] + column % columns[k])
                stride *= size[k]
                row, column = row // rows[k], column // columns[k]
            flat[place] = weight[i, j]
    return [flat.reshape(math.prod(size[:k]), -1) for k in range(1, len(size))]


@pytest.mark.parametrize(("rows", "columns", "modes"), SHAPES)
def test_full_bonds_hold_any_matrix(rows, columns, modes):
    weight = random(rows, columns)
    layer = adapted(weight, MPO(modes=modes, start=AsPublished()))
    assert torch.linalg.norm(layer.weight - weight) < 1e-14 * torch.linalg.norm(weight)
    assert all(torch.isfinite(core).all() for core in operator_of(adapted(0 * weight, MPO(modes=modes))).buffers())


def test_counts_and_modes_of_the_source():
    """768 x 768, 768 x 3072 and the embeddings of ALBERT, and of BERT, whose 30522 rows are padded."""
    square = MPO().shape(768, 768)
    assert (square.row_modes, square.column_modes) == ((3, 4, 4, 4, 4), (4, 4, 4, 4, 3))
    assert square.ranks[1:-1] == (12, 192, 192, 12)
    assert square.numbers == 663_840 == pytest.approx(1.125 * 768**2, rel=1e-3)
    for rows, columns, share in ((768, 768, 11.1), (768, 3072, 7.3), (30000, 128, 6.6)):
        shape = MPO().shape(rows, columns)
        assert 100 * (1 - shape.sizes[2] / shape.numbers) == pytest.approx(share, abs=0.06)
    assert MPO().shape(30000, 128).ranks[1:-1] == (10, 200, 480, 12)
    assert math.prod(MPO().shape(30522, 768).row_modes) == 30720


@pytest.mark.parametrize(("rows", "columns", "modes"), SHAPES)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_error_of_truncated_bonds_is_within_its_bounds(rows, columns, modes, rank):
    adapter, weight = MPO(rank, modes, start=AsPublished()), random(rows, columns)
    found, shape = adapter.truncation(weight), adapter.shape(rows, columns)
    assert found.error == pytest.approx(
        float(torch.linalg.norm(adapted(weight, adapter).weight.detach() - weight)), rel=1e-9
    )
    matrices = unfoldings(weight, (shape.row_modes, shape.column_modes))
    discarded = [
        float(torch.linalg.svdvals(matrix)[bond:].norm())
        for matrix, bond in zip(matrices, found.ranks[1:-1], strict=True)
    ]
    assert found.discarded == pytest.approx(discarded, abs=1e-6)
    assert math.prod(shape.row_modes) > rows or found.least <= found.error * (1 + 1e-9)
    assert found.error <= found.bound * (1 + 1e-9)
    assert found.error > 0.1
    assert MPO(modes=modes).truncation(weight).bound < 1e-6


def test_entries_are_products_of_slices_of_the_cores():
    layer = adapted(random(12, 8), MPO(3, start=AsPublished()))
    first, middle, last = (getattr(operator_of(layer), f"core_{k}").detach() for k in range(3))
    first, middle, last = first.reshape(2, 2, 3), middle.reshape(3, 3, 2, 3), last.mT.reshape(3, 2, 2)
    weight = torch.einsum("iap,pjbq,qkc->ijkabc", first, middle, last).reshape(12, 8)
    assert torch.allclose(layer.weight, weight, atol=1e-12)


@pytest.mark.parametrize("frames", [None, Riemannian(redundant=False)], ids=["free", "frames"])
def test_rotations_keep_the_bond_spectra_and_free_cores_do_not(frames):
    layer = adapted(random(12, 8), MPO(frames=frames))
    modes = ((2, 3, 2), (2, 2, 2))
    before = [torch.linalg.svdvals(matrix) for matrix in unfoldings(layer.weight.detach(), modes)]
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                step = 0.3 * torch.randn_like(parameter)
                if frames is None:
                    parameter.add_(step)
                else:
                    parameter.copy_(parameter.manifold.retr(parameter, parameter.manifold.proju(parameter, step)))
                    assert orthogonality_error(parameter) < 1e-12
    after = [torch.linalg.svdvals(matrix) for matrix in unfoldings(layer.weight.detach(), modes)]
    kept = [torch.allclose(one, other, atol=1e-10) for one, other in zip(before, after, strict=True)]
    assert kept == [frames is not None] * 2


def test_the_best_center_is_a_projection_which_one_step_reaches():
    """With frames beside it the map from the middle core to W is an isometry."""
    layer = adapted(random(12, 8), MPO(3, train="center", start=AsPublished()))
    (center,) = (parameter for parameter in layer.parameters() if parameter.requires_grad)
    target = random(12, 8, seed=1)
    for expected in (False, True):
        center.grad = None
        (layer.weight - target).square().sum().backward()
        assert bool(center.grad.norm() < 1e-12) == expected
        with torch.no_grad():
            center.sub_(center.grad / 2)


def test_squeezing_takes_first_what_costs_nothing():
    torch.manual_seed(0)
    network = nn.ModuleDict({"full": nn.Linear(8, 12), "thin": nn.Linear(8, 12)}).double()
    thin = adapted(random(12, 8), MPO(2, start=AsPublished())).weight.detach()  # has bonds of 2
    with torch.no_grad():
        network["thin"].weight.copy_(thin)
    full = MPO().shape(12, 8).numbers
    found = squeeze(network, MPO(), full + MPO(2).shape(12, 8).numbers)
    assert {name: adapter.shape(12, 8).ranks for name, adapter in found.items()} == {
        "full": (1, 4, 4, 1),
        "thin": (1, 2, 2, 1),
    }
    inputs = torch.randn(3, 8, dtype=torch.float64)
    before = {name: layer(inputs) for name, layer in network.items()}
    for name, adapter in found.items():
        adapt(network, adapter, only=name)
    detach(merge(network))
    assert all(torch.allclose(network[name](inputs), output, atol=1e-7) for name, output in before.items())


def test_squeezing_goes_on_to_the_size_that_is_asked_for():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 16))
    sizes = [100, 150, 200, 300]
    bounds = []
    for size in sizes:
        found = squeeze(network, MPO(), size)
        shapes = {name: adapter.shape(*network.get_submodule(name).weight.shape) for name, adapter in found.items()}
        assert sum(shape.numbers for shape in shapes.values()) <= size
        errors = [adapter.truncation(network.get_submodule(name).weight) for name, adapter in found.items()]
        bounds.append(sum(error.bound**2 for error in errors))
    assert bounds == sorted(bounds, reverse=True)
    with pytest.raises(ValueError, match="numbers"):
        squeeze(network, MPO(), 10)


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda: MPO(0), ValueError, "rank"),
        (lambda: MPO(modes=((2, 3), (4, 2, 1))), ValueError, "equally many"),
        (lambda: MPO(train="central"), ValueError, "train"),
        (lambda: MPO(frames="grassmann"), TypeError, "frames"),
        (lambda: MPO(frames=Riemannian(redundant=False, metric="embedded")), ValueError, "embedded"),
        (lambda: adapted(random(12, 8), MPO(modes=((2, 3), (4, 2)))), ValueError, r"12 rows.*\(2, 3, 2\)"),
        (lambda: adapted(random(12, 8), MPO(modes=((4, 6), (4, 2)))), ValueError, r"12 rows.*\(2, 3, 2\)"),
        (lambda: adapted(random(12, 8), MPO((1, 2, 3))), ValueError, "rank"),
        (lambda: squeeze(nn.Linear(8, 12), "mpo", 10), TypeError, "adapter"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(make, error, word):
    with pytest.raises(error, match=word):
        make()
