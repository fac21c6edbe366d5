"""What single adapters owe beyond what all do."""

import copy

import pytest
import torch
from adapter_networks import linear, move, the_layer
from torch import nn

from sttp.adapters import (
    OFT,
    SODA,
    DeepLoRA,
    JointLowRank,
    LoRA,
    LoRETTA,
    Offset,
    PiSSA,
    PreconditionedLoRA,
    SpectralAdapter,
    StelLA,
    STTPAdapter,
    SVDPAdapter,
    Weights,
    adapt,
    adapted_layers,
    detach,
    load,
    merge,
    report,
    save,
    switch,
)
from sttp.layers import STTP, SpectralLayer, reparameterize
from sttp.optim import LBFGS, RiemannianAdam, minimize


def test_a_rotation_is_one_and_keeps_singular_values():
    network = adapt(linear(), OFT(4))
    before = torch.linalg.svdvals(the_layer(network).matrix(()))
    move(network, 2.0)
    rotations = the_layer(network).changes["default"].rotations()
    assert torch.allclose(rotations.mT @ rotations, torch.eye(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.linalg.svdvals(the_layer(network).weight), before, atol=1e-12)


def test_soda_turns_by_the_kronecker_product_and_has_the_spectrum_that_it_says():
    network = adapt(linear(), SODA((2, 4)))
    layer = the_layer(network)
    change, base = layer.changes["default"], layer.matrix(())
    with torch.no_grad():
        change.delta_values.copy_(torch.linspace(-2, 1, 8))
        for rotation in change.rotations:
            rotation.copy_(torch.linalg.qr(torch.randn_like(rotation))[0])
    left, values, right = torch.linalg.svd(base, full_matrices=False)
    moved = (values + torch.linspace(-2, 1, 8)).clamp(min=0)
    expected = (left * moved) @ right @ torch.kron(*change.rotations).mT
    assert torch.allclose(layer.weight, expected, atol=1e-12)
    assert torch.allclose(torch.linalg.svdvals(layer.weight), moved.sort(descending=True).values, atol=1e-12)


def test_rotated_pairs_reach_the_best_middle():
    network = adapt(linear(), SpectralAdapter(2, form="rotational"))
    layer = the_layer(network)
    target = torch.randn(12, 8, dtype=torch.float64)
    left, values, right = torch.linalg.svd(layer.matrix(()), full_matrices=False)
    rest = (left[:, 2:] * values[2:]) @ right[2:]
    best = left[:, :2] @ (left[:, :2].mT @ (target - rest) @ right[:2].mT) @ right[:2] + rest
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(parameters, max_iter=300, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def loss():
        optimizer.zero_grad()
        value = (layer.weight - target).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    reached = (layer.weight - target).square().sum().detach()
    assert torch.allclose(reached, (best - target).square().sum(), rtol=1e-5)


def test_blocks_of_the_spectrum_are_fused_exactly():
    network = adapt(linear(), SpectralAdapter(2, block=0), name="one")
    adapt(network, SpectralAdapter(2, block=1), name="two")
    move(network)
    layer = the_layer(network)
    base = layer.matrix(())
    switch(network, "one", "two")
    assert torch.allclose(layer.weight - base, layer.matrix(["one"]) + layer.matrix(["two"]) - 2 * base, atol=1e-12)


def test_joint_weights_start_at_the_best_approximation_of_their_stack_and_share_a_factor():
    torch.manual_seed(0)
    sizes = {"0q": 12, "0k": 6, "1q": 12, "1k": 6}
    network = nn.ModuleDict({name: nn.Linear(8, rows) for name, rows in sizes.items()}).double()
    adapt(network, JointLowRank(3, matrices=2))
    layers = adapted_layers(network)
    changes = [layers[name].changes["default"].change for name in ("0q", "0k")]
    assert changes[0].shared is changes[1].shared
    assert changes[0].shared is not layers["1q"].changes["default"].change.shared
    stack = torch.cat([layers[name].matrix(()) for name in ("0q", "0k")])
    rest = stack - torch.cat([change.update() for change in changes])
    assert torch.allclose(rest.square().sum(), torch.linalg.svdvals(stack)[3:].square().sum())
    assert report(network).stored == 2 * 3 * (8 + 18)
    assert report(network).dimension == 2 * 3 * (8 + 18 - 3)


def test_shared_factors_are_saved_once_and_shared_again(tmp_path):
    torch.manual_seed(0)
    network = nn.ModuleDict({name: nn.Linear(8, 12) for name in "qk"}).double()
    base = copy.deepcopy(network)
    adapt(network, JointLowRank(3, matrices=2))
    move(network)
    save(network, tmp_path)
    load(base, tmp_path)
    ours, theirs = adapted_layers(network), adapted_layers(base)
    assert all(torch.equal(ours[name].weight, theirs[name].weight) for name in "qk")
    assert theirs["q"].changes["default"].change.shared is theirs["k"].changes["default"].change.shared


@pytest.mark.parametrize(
    "adapter",
    [
        LoRA(3),
        PiSSA(3),
        SVDPAdapter(3, start=Offset()),
        SVDPAdapter(3, start=Weights()),
        StelLA(3),
        StelLA(3, diagonal=True),
        SpectralAdapter(3),
        JointLowRank(3, matrices=1),
        LoRETTA(3, 4),
        DeepLoRA(4, compressed=True),
    ],
    ids=lambda adapter: f"{type(adapter).__name__} {getattr(adapter, 'start', '')}",
)
def test_the_best_weight_within_a_rank_is_found(adapter):
    """Eckart and Young, of what is left of the target without the part of W0 that the change cannot reach."""
    network = adapt(linear(), adapter, generator=torch.Generator().manual_seed(2))
    layer = the_layer(network)
    change, fixed = layer.changes["default"], layer.matrix(())
    if hasattr(change, "start"):
        fixed = fixed - change.start.update()
    elif isinstance(adapter, SpectralAdapter):
        fixed = fixed - (change.left * change.values) @ change.right.mT
    target = torch.randn(12, 8, dtype=torch.float64)
    least = torch.linalg.svdvals(target - fixed)[adapter.rank :].square().sum().detach()
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = minimize(lambda: (layer.weight - target).square().sum(), parameters, LBFGS(), max_iterations=2000)
    assert torch.allclose(torch.as_tensor(found.cost, dtype=torch.float64), least, rtol=1e-6)


def test_pissa_starts_at_the_best_approximation():
    layer = the_layer(adapt(linear(), PiSSA(3)))
    start, right = layer.changes["default"].change.factors()
    values = torch.linalg.svdvals(layer.matrix(()))
    assert torch.allclose((layer.matrix(()) - start @ right.mT).square().sum(), values[3:].square().sum())


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_spectral_base_and_a_train_merge_into_a_train(kind):
    torch.manual_seed(0)
    layer = nn.Linear(12, 16) if kind == "linear" else nn.Conv1d(12, 16, 3, groups=2)
    network = reparameterize(nn.Sequential(layer).double(), STTP(2), init="weights")
    adapt(network, STTPAdapter(3))
    with torch.no_grad():
        the_layer(network).changes["default"].spectral.spectrum.normal_()
    inputs = torch.randn(5, 12, *(() if kind == "linear" else (7,)), dtype=torch.float64)
    outputs = network(inputs)
    detach(merge(network))
    assert isinstance(network[0], SpectralLayer)
    assert network[0].spectral.manifold.shape.center_rank == 5
    assert torch.allclose(network(inputs), outputs, atol=1e-12)


def test_layers_that_share_a_weight_share_the_change():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(12, 8), nn.Linear(8, 12, bias=False))
    network[1].weight = network[0].weight
    adapt(network, STTPAdapter(2))
    assert network[0].changes["default"] is network[1].changes["default"]
    with torch.no_grad():
        network[0].changes["default"].spectral.spectrum.fill_(1.0)
    assert torch.equal(network[0].weight, network[1].weight)
    detach(merge(network))
    assert network[0].weight is network[1].weight


def test_a_base_of_half_precision_keeps_its_own_and_frames_theirs():
    network = linear().to(torch.bfloat16)
    adapt(network, STTPAdapter(2))
    with torch.no_grad():
        the_layer(network).changes["default"].spectral.spectrum.fill_(1.0)
    output = network(torch.randn(3, 8, dtype=torch.bfloat16))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert {p.grad.dtype for p in network.parameters() if p.requires_grad} == {torch.float32}
    with pytest.raises(TypeError, match="float32"):
        network.half()


def test_hooks_of_a_layer_run_once_and_attributes_are_there():
    network, calls = linear(), []
    network[0].register_forward_hook(lambda *_: calls.append(1))
    adapt(network, STTPAdapter(2))
    network(torch.randn(3, 8, dtype=torch.float64))
    assert calls == [1]
    assert network[0].in_features == 8


def test_preconditioned_steps_do_not_depend_on_the_split_into_factors():
    torch.manual_seed(0)
    turn = torch.randn(3, 3, dtype=torch.float64) + 3 * torch.eye(3, dtype=torch.float64)
    A, B = torch.randn(3, 8, dtype=torch.float64), torch.randn(12, 3, dtype=torch.float64)
    target = torch.randn(12, 8, dtype=torch.float64)
    reached = []
    for left, right in ((B, A), (B @ turn, torch.linalg.solve(turn, A))):
        network = adapt(linear(), LoRA(3))
        layer = the_layer(network)
        change = layer.changes["default"]
        with torch.no_grad():
            change.A.copy_(right)
            change.B.copy_(left)
        optimizer = PreconditionedLoRA(network, lr=0.01, betas=None, damping=1e-14)
        for _ in range(5):
            optimizer.zero_grad()
            (layer.weight - target).square().sum().backward()
            optimizer.step()
        reached.append(layer.weight.detach())
    assert torch.allclose(*reached, atol=1e-10)
    assert not torch.allclose(reached[0], layer.matrix(()) + B @ A, atol=1e-2)


def test_preconditioned_lora_learns_and_its_state_is_saved():
    network = adapt(linear(), LoRA(3))
    layer = the_layer(network)
    target = layer.matrix(()) + torch.randn(12, 3, dtype=torch.float64) @ torch.randn(3, 8, dtype=torch.float64)
    optimizer = PreconditionedLoRA(network, lr=0.05)
    first = (layer.weight - target).square().sum().detach()
    for step in range(200):
        if step == 100:
            state = optimizer.state_dict()
            optimizer = PreconditionedLoRA(network, lr=0.05)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2 * first


def test_the_newest_adapter_is_active_and_each_can_be_taken_off():
    network = adapt(linear(), LoRA(2), name="one")
    move(network)
    layer = the_layer(network)
    one = layer.weight.detach()
    adapt(network, SpectralAdapter(2), name="two")
    assert torch.allclose(layer.weight, layer.matrix(()), atol=1e-12)
    detach(network, "two")
    assert torch.equal(layer.weight, layer.matrix(()))
    switch(network, "one")
    assert torch.equal(layer.weight, one)
    detach(network, "one")
    assert isinstance(network[0], nn.Linear)


def test_a_checkpoint_a_copy_and_a_file_of_the_whole_network_are_it(tmp_path):
    network = adapt(nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4)), STTPAdapter(2, start=Offset()))
    move_spectra(network)
    vectors = torch.randn(3, 8)
    torch.save(network, tmp_path / "network.pt")
    again = torch.load(tmp_path / "network.pt", weights_only=False)
    other = adapt(nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4)), STTPAdapter(2, start=Offset()))
    other.load_state_dict(network.state_dict())
    for one in (copy.deepcopy(network), again, other):
        assert torch.equal(one(vectors), network(vectors))


@torch.no_grad()
def move_spectra(network):
    for layer in adapted_layers(network).values():
        layer.changes["default"].change.spectral.spectrum.normal_()


@pytest.mark.parametrize("adapter", [STTPAdapter(4), SVDPAdapter(4)])
@pytest.mark.parametrize(("rows", "columns"), [(48, 48), (16, 144), (144, 16)])
def test_a_learning_rate_means_to_a_spectral_adapter_what_it_means_to_lora(adapter, rows, columns):
    moved = []
    for one in (LoRA(4), adapter):
        layer = the_layer(adapt(linear(rows, columns), one))
        optimizer = RiemannianAdam([p for p in layer.parameters() if p.requires_grad], lr=1e-2)
        layer(torch.randn(64, columns, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
        moved.append(torch.linalg.norm(layer.weight - layer.matrix(())).detach())
    assert 1 / 3 < moved[1] / moved[0] < 3


def test_a_file_is_loaded_beside_layers_that_have_no_change_and_draws_nothing(tmp_path):
    network = nn.Sequential(nn.Embedding(9, 8, max_norm=1.0), nn.Linear(8, 8))
    base = copy.deepcopy(network)
    save(adapt(network, STTPAdapter(2, start=Offset()), only="1"), tmp_path)
    state = torch.get_rng_state()
    load(base, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    indices = torch.tensor([1, 3])
    assert torch.equal(base(indices), network(indices))
