"""One tensor for the matrices of all layers: the CP tensor of LoRTA, and the train that holds it."""

import torch
from adapter_networks import move
from torch import nn

from sttp.adapters import LoRTA, TiedSTTP, Weights, adapt, adapted_layers, report
from sttp.manifolds import Riemannian


def projections():
    torch.manual_seed(0)
    return nn.ModuleDict({f"{k}{name}": nn.Linear(8, 12) for k in range(3) for name in "qv"}).double()


def test_lorta_is_tied_and_two_factors_at_zero_are_a_saddle():
    network = projections()
    adapt(network, LoRTA(2, heads=3, matrices=2))
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    # r(d + d_h + H + M + L)
    assert sum(p.numel() for p in trained.values()) == 2 * (8 + 4 + 3 + 2 + 3)
    tensor = adapted_layers(network)["0q"].changes["default"].tensor
    with torch.no_grad():
        tensor.heads.zero_()
    vectors = torch.randn(5, 8, dtype=torch.float64)
    sum(layer(vectors).square().sum() for layer in network.values()).backward()
    assert all(p.grad.abs().max() == 0 for p in trained.values())


def test_lorta_is_the_cp_tensor_of_its_factors():
    network = projections()
    adapt(network, LoRTA(2, heads=3, matrices=2, alpha=4))
    move(network)
    layers = adapted_layers(network)
    t = layers["0q"].changes["default"].tensor
    factors = [factor.detach() for factor in (t.layers, t.matrices, t.heads, t.outputs, t.inputs)]
    whole = 2 * torch.einsum("lr,mr,hr,er,ir->lmhei", *factors)
    updates = [layers[f"{k}{name}"].changes["default"].update() for k in range(3) for name in "qv"]
    assert torch.allclose(torch.stack(updates), whole.flatten(0, 1).flatten(1, 2), atol=1e-12)


def test_a_tied_train_holds_any_cp_tensor_of_its_rank():
    network = adapt(projections(), LoRTA(2, heads=3, matrices=2))
    move(network)
    with torch.no_grad():
        tensor = torch.stack([layer.changes["default"].update() for layer in adapted_layers(network).values()])
    network = projections()
    with torch.no_grad():
        for layer, matrix in zip(network.values(), tensor, strict=True):
            layer.weight.copy_(matrix)
    adapt(network, TiedSTTP(2, heads=3, matrices=2, start=Weights()))
    whole = adapted_layers(network)["0q"].changes["default"].whole
    assert torch.linalg.norm(whole.change.update() - tensor.flatten(0, 1)) < 1e-14 * torch.linalg.norm(tensor)
    with torch.no_grad():
        whole.change.spectral.spectrum.zero_()
    weights = torch.stack([layer.weight for layer in adapted_layers(network).values()])
    assert weights.abs().max() < 1e-14 * tensor.abs().max()


def test_a_tied_train_has_its_frames_once():
    network = adapt(projections(), TiedSTTP(2, heads=3, matrices=2, frames=Riemannian(redundant=False)))
    # Modes 3, 2, 3, 4 | 8 and ranks 2: frames of 3x2, 4x2, 6x2, 8x2 | 8x2 and two values. The first three count
    # 2(d − 2), those at the centre 2d − 3.
    assert report(network).stored == 6 + 8 + 12 + 16 + 16 + 2
    assert report(network).dimension == 2 + 4 + 8 + 13 + 13 + 2
    changes = [layer.changes["default"] for layer in adapted_layers(network).values()]
    assert len({id(change.whole) for change in changes}) == 1
    vectors = torch.randn(5, 8, dtype=torch.float64)
    sum(layer(vectors).square().sum() for layer in network.values()).backward()
    spectral = changes[0].whole.spectral
    assert spectral.spectrum.grad.abs().min() > 0
