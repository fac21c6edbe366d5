"""Frames that an optimizer takes off their manifold are noticed in training, and refused where it would be hidden."""

import copy
import gc
import pickle
import re
import threading
import warnings
import weakref

import geoopt
import pytest
import torch
from optimizer_registry import ROWS
from torch import nn
from torch.func import functional_call, functionalize, grad, jvp, vmap
from torch.utils.flop_counter import FlopCounterMode
from trains import GEOMETRIES, generator

from sttp.layers import (
    STTP,
    Embedding,
    Haar,
    Linear,
    OffManifoldWarning,
    Riemannian,
    decompress,
    factorize,
    load,
    parametrized,
    repair,
    reparameterize,
    report,
    save,
    spectral_weights,
)
from sttp.manifolds import declare_region, declared_region, haar_frame
from sttp.optim import POGO, Landing, RiemannianAdam

INPUT = torch.randn(7, 8, generator=generator(1))
ON_MANIFOLDS = {
    "stiefel": Riemannian(),
    "grassmann": Riemannian(redundant=False),
    "canonical": Riemannian(metric="canonical"),
    "embedded": Riemannian(redundant=False, metric="embedded"),
}
# Forwards within which a network is told of what the first step did, and of what a later one did.
SOON, LATER = 4, 35


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 6))


def built(frames=None, dtype=torch.float32):
    spec = STTP(3, frames or Riemannian(), initialization=Haar())
    return reparameterize(plain().to(dtype), spec, generator=generator())


def train(network, optimizer, steps, loss=torch.square):
    """Return in which forward the first warning came, with what is caught there; None without one."""
    x = INPUT.to(next(network.parameters()))
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", OffManifoldWarning)
            loss(network(x)).mean().backward()
        if caught:
            return step, [str(warning.message) for warning in caught]
        optimizer.step()
    return None


def told(function, times):
    """Return whether a function that is called so many times warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OffManifoldWarning)
        for _ in range(times):
            function()
    return bool(caught)


def spoiled(factor=1.01):
    network = built()
    with torch.no_grad():
        network[2].spectral.coordinates[1].mul_(factor)
    return network


class WritesData(torch.optim.Optimizer):
    """As many optimizers that are found on the net: torch counts no version of such a change."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad.sign(), alpha=-group["lr"])


# --- noticed in training ---


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, WritesData])
@pytest.mark.parametrize("geometry", ON_MANIFOLDS)
def test_optimizers_that_know_no_manifolds_are_noticed(geometry, kind):
    network = built(ON_MANIFOLDS[geometry])
    step, messages = train(network, kind(network.parameters(), lr=1e-3), LATER)
    assert step <= SOON or kind is torch.optim.SGD  # whose first steps are short
    (message,) = messages
    for word in ("AdamW", "RiemannianAdam", "Retracted", "parametrized(network)", "repair(network)"):
        assert word in message
    named = float(re.search(r"I‖_F = (\S+) for", message)[1])
    worst = max(float(weight.orthogonality_error()) for weight in spectral_weights(network).values())
    assert 1e-4 < named <= 1.01 * worst


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slow_and_late_departures_are_noticed(dtype):
    network = built(dtype=dtype)
    assert train(network, RiemannianAdam(network.parameters(), lr=1e-2), 40) is None
    assert train(network, torch.optim.AdamW(network.parameters(), lr=3e-5), LATER)[0] <= LATER


def test_networks_without_hooks_and_layers_alone_are_noticed():
    torch.manual_seed(0)
    spec = STTP(3, initialization=Haar())
    by_hand = nn.Sequential(Linear(8, 12, spec=spec), nn.Tanh(), Linear(12, 6, spec=spec))
    assert train(by_hand, torch.optim.AdamW(by_hand.parameters(), lr=1e-3), SOON)
    words = nn.Sequential(Embedding(30, 8, spec=STTP(3, forward="cores")))
    optimizer = torch.optim.AdamW(words.parameters(), lr=1e-3)
    assert told(lambda: words(torch.arange(5)).square().mean().backward() or optimizer.step(), SOON)


def test_one_warning_until_the_frames_have_been_back():
    network = built()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    assert train(network, optimizer, SOON)
    assert train(network, optimizer, 2 * LATER) is None
    repair(network)
    assert train(network, RiemannianAdam(network.parameters(), lr=1e-3), LATER) is None
    assert train(network, optimizer, LATER)


def test_networks_that_take_turns_with_one_layer_are_both_noticed():
    shared, spec = nn.Linear(8, 8), STTP(3, initialization=Haar())
    first, second = (nn.Sequential(shared, nn.Linear(8, 8)) for _ in range(2))
    whole = reparameterize(nn.ModuleList([first, second]), spec, generator=generator())
    first, second = (reparameterize(nn.Sequential(*part, nn.Linear(8, 8)), spec) for part in whole)
    foreign = torch.optim.AdamW(first[1].parameters(), lr=1e-3)  # in the first network alone, whose turn is no look's
    sound = RiemannianAdam(second.parameters(), lr=1e-3)

    def turns():
        for network, optimizer in ((first, foreign), (second, sound)):
            optimizer.zero_grad()
            network(INPUT).square().mean().backward()
            optimizer.step()
        assert first[0].weight.requires_grad  # a penalty on one layer takes its turn as well

    assert told(turns, LATER)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_are_told_for_themselves(copied):
    network = built()
    keys = list(network.state_dict())
    assert train(network, torch.optim.AdamW(network.parameters(), lr=1e-3), SOON)
    other = copied(network)
    assert list(network.state_dict()) == list(other.state_dict()) == keys
    assert train(other, torch.optim.AdamW(other.parameters(), lr=1e-3), SOON)


def test_no_network_is_kept_alive():
    network = built()
    train(network, RiemannianAdam(network.parameters(), lr=1e-3), 3)
    gone = [weakref.ref(network)] + [weakref.ref(weight) for weight in spectral_weights(network).values()]
    del network
    gc.collect()
    assert all(reference() is None for reference in gone)


# --- and nothing else is ---


@pytest.mark.parametrize("frames", [Riemannian(), Riemannian(redundant=False)], ids=["stiefel", "grassmann"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_our_optimizers_are_not_taken_for_foreign_ones(row, frames):
    network = built(frames)
    optimizer = row.make(network.parameters(), lr=row.rough)
    assert train(network, optimizer, LATER, lambda y: 10 * (y - 3).square()) is None
    assert report(network).layers


@pytest.mark.parametrize("kind", [geoopt.optim.RiemannianAdam, geoopt.optim.RiemannianSGD])
def test_optimizers_of_geoopt_are_not_taken_for_foreign_ones(kind):
    network = built()
    assert train(network, kind(network.parameters(), lr=0.1), LATER) is None


@pytest.mark.parametrize(
    "make", [lambda p: Landing(p, lr=1.0), lambda p: POGO(p, lr=5.0), lambda p: POGO(p, lr=5.0, radius=0.9)]
)
def test_frames_stay_in_the_region_that_their_optimizer_declares(make):
    frame = geoopt.ManifoldParameter(haar_frame(9, 4, generator=generator()), manifold=GEOMETRIES["stiefel"]._stiefel())
    optimizer = make([frame])
    assert declared_region(frame) == 0
    worst = 0.0
    for step in range(200):
        frame.grad = torch.randn(9, 4, generator=generator(step))
        optimizer.step()
        worst = max(worst, float(torch.linalg.matrix_norm(frame.mT @ frame - torch.eye(4)).detach()))
    assert 1e-3 < worst <= declared_region(frame) + 1e-5
    RiemannianAdam([frame]).step()  # which takes over, and keeps them to rounding
    assert declared_region(frame) == 0


def test_a_region_of_ones_own_is_allowed_and_no_more():
    for distance, told in ((10.0, False), (1e-3, True)):
        network = built()
        for parameter in network.parameters():
            declare_region(parameter, distance)
        found = train(network, torch.optim.AdamW(network.parameters(), lr=3e-3), LATER)
        assert (found is not None) == told
    with pytest.raises(ValueError, match="distance must be finite and at least 0"):
        declare_region(next(network.parameters()), -1.0)


@pytest.mark.parametrize("geometry", ["householder", "householder-reduced"])
def test_householder_geometries_are_not_watched(geometry):
    network = built(GEOMETRIES[geometry])
    assert train(network, torch.optim.AdamW(network.parameters(), lr=0.1), LATER) is None


def test_frozen_frames_and_forwards_without_gradients_are_not_watched():
    network = spoiled().requires_grad_(False)
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.dim() == 1)
    for _ in range(LATER):
        network(INPUT).sum().backward()
        with torch.no_grad():
            network(INPUT)


def test_transforms_compilers_and_counters_are_left_alone():
    network = spoiled()
    state = {name: parameter.detach() for name, parameter in network.named_parameters()}
    transformed = (
        lambda: vmap(grad(lambda x: network(x).sum()))(INPUT),
        lambda: jvp(network, (INPUT,), (INPUT,)),
        lambda: functionalize(network)(INPUT),
        lambda: grad(lambda values: functional_call(network, values, INPUT).sum())(state),
    )
    for function in transformed:
        for _ in range(3):
            function()
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="eager")
    for _ in range(LATER):
        compiled(INPUT)
    counts = set()
    for _ in range(LATER):
        with FlopCounterMode(display=False) as counter:
            network(INPUT)
        counts.add(counter.get_total_flops())
    assert len(counts) == 1
    assert told(lambda: network(INPUT), LATER)  # none of which keeps the network's own forwards from being watched


def test_threads_are_told_once():
    network = spoiled()

    def work():
        for _ in range(20):
            network(INPUT).sum().backward()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OffManifoldWarning)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(caught) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_no_forward_waits_for_the_device():
    network = built().cuda()
    optimizer, x = torch.optim.AdamW(network.parameters(), lr=1e-3), INPUT.cuda()
    network(x).sum().backward()

    def step():
        optimizer.step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = network(x).sum()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        loss.backward()

    assert told(step, LATER)


# --- refused where it would be hidden ---


@pytest.mark.parametrize("of", [report, decompress, factorize, parametrized])
def test_reports_and_copies_of_frames_off_their_manifold_are_refused(of):
    network = spoiled()
    before = copy.deepcopy(network.state_dict())
    error = float(network[2].spectral.orthogonality_error())
    with pytest.raises(ValueError, match=r"layer '2'.*AdamW.*RiemannianAdam.*Retracted.*parametrized") as caught:
        of(network)
    assert f"{error:.2g}" in str(caught.value)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    repair(network)
    of(network)


def test_nothing_is_saved_of_frames_off_their_manifold(tmp_path):
    with pytest.raises(ValueError, match=r"layer '2'.*AdamW.*repair"):
        save(spoiled(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    network = spoiled()
    with torch.no_grad():
        network[0].spectral.coordinates[0].fill_(torch.nan)
    with pytest.raises(ValueError, match=r"layer '0'.*NaN"):  # the worst
        save(network, tmp_path / "new")


def test_the_tolerance_is_that_of_files(tmp_path):
    save(spoiled(1 + 1e-5), tmp_path)
    load(plain(), tmp_path)
    with pytest.raises(ValueError, match="off their manifold"):
        save(spoiled(1 + 1e-4), tmp_path)


def test_what_an_optimizer_keeps_near_its_manifold_is_reported_and_not_saved(tmp_path):
    network = spoiled()
    for parameter in network.parameters():
        declare_region(parameter, 0.5)
    x = INPUT
    torch.testing.assert_close(decompress(network)(x), network(x))
    assert report(network).layers
    with pytest.raises(ValueError, match=r"layer '2'.*repair\(network\)") as caught:
        save(network, tmp_path)
    assert "AdamW" not in str(caught.value)


def test_loading_names_the_cause():
    network, state = built(), spoiled().state_dict()
    with pytest.raises(RuntimeError, match=r"layer '2'.*AdamW.*repair.*RiemannianAdam"):
        network.load_state_dict(state)


def test_dry_runs_on_the_meta_device_go_on():
    network = spoiled().to("meta")
    assert report(network).dof == report(built()).dof
    assert next(decompress(network).parameters()).is_meta
    assert next(parametrized(network).parameters()).is_meta
