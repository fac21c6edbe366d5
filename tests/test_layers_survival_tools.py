"""Manifold parameters under torch.compile, autocast, DistributedDataParallel and sharding."""

import copy
from collections.abc import Callable
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from test_layers_survival import GEOMETRIES, INPUT, built
from torch import nn
from trains import generator

from sttp.layers import STTP, Haar, reparameterize, spectral_weights
from sttp.optim import RiemannianAdam

WORLD = 2
# In double precision: Adam's first steps divide small gradients by themselves, and so make rounding large.
BATCHES = torch.randn(3, WORLD, 4, 6, dtype=torch.float64, generator=generator(1))


def train(call: Callable, network, inputs):
    """Make one step for each input, and return losses and the gradients of the last."""
    optimizer = RiemannianAdam(network.parameters(), lr=0.05)
    losses = []
    for batch in inputs:
        optimizer.zero_grad()
        loss = call(batch).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, [parameter.grad for parameter in network.parameters()]


@pytest.mark.filterwarnings("ignore:.*autograd function:DeprecationWarning")  # torch.compile calls its own old ways
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_compiled_training_agrees_with_eager(geometry):
    torch.manual_seed(0)
    spec = STTP(rank=2, frames=GEOMETRIES[geometry], initialization=Haar(), modes=((2, 2), (3, 2)))
    eager = reparameterize(nn.Sequential(nn.Linear(6, 4), nn.Tanh()), spec)
    network = copy.deepcopy(eager)
    torch.compiler.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):  # once for all steps
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
        found = train(compiled, network, [INPUT] * 3)
    torch.testing.assert_close(found, train(eager, eager, [INPUT] * 3))
    torch.testing.assert_close(network.state_dict(), eager.state_dict())
    for weight in spectral_weights(network).values():
        assert weight.orthogonality_error() < 1e-5


def test_compiled_forwards_refuse_lost_manifolds():
    network = built()
    compiled = torch.compile(network, backend="eager")
    network[0].spectral.coordinates[0] = nn.Parameter(network[0].spectral.coordinates[0].detach().clone())
    with pytest.raises(RuntimeError, match="leave it in training"):
        compiled(INPUT)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_autocast_casts_products_alone(geometry):
    network, exact = built(geometry), built(geometry)

    def cast(batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = network(batch)
        assert output.dtype == torch.bfloat16
        return output.float()

    losses, gradients = train(cast, network, [INPUT] * 3)
    torch.testing.assert_close(losses[0], train(exact, exact, [INPUT])[0][0], rtol=0.05, atol=0.01)
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    for weight in spectral_weights(network).values():
        assert weight.orthogonality_error() < 1e-5


# --- two processes ---


def distributed_training(geometry, rank):
    """Train on this rank's half of each batch, and return gradients and state."""
    network = built(geometry).double()
    parallel = nn.parallel.DistributedDataParallel(network)
    _, gradients = train(parallel, network, BATCHES[:, rank])
    return {"gradients": gradients, "state": network.state_dict()}


def flat_sharding(network, **options):
    return torch.distributed.fsdp.FullyShardedDataParallel(network, device_id=torch.device("cpu"), **options)


SHARDINGS = {
    "fully_shard": lambda network: torch.distributed.fsdp.fully_shard(
        network, mesh=dist.device_mesh.init_device_mesh("cpu", (WORLD,))
    ),
    "flat": flat_sharding,
    "flat-with-original-parameters": lambda network: flat_sharding(network, use_orig_params=True),
}


def sharded_forward(shard, geometry):
    """Return what the first forward of a sharded network says, or how far two steps move its outputs."""
    try:
        network = shard(built(geometry))
        train(network, network, [INPUT] * 2)
        return float((network(INPUT) - built(geometry)(INPUT)).abs().max())
    except RuntimeError as error:
        return str(error)


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD, timeout=timedelta(seconds=60)
    )
    found = {geometry: distributed_training(geometry, rank) for geometry in GEOMETRIES}
    found["sharded"] = {name: sharded_forward(shard, "stiefel") for name, shard in SHARDINGS.items()}
    found["sharded householder"] = sharded_forward(SHARDINGS["fully_shard"], "householder")
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")  # 127.0.0.1
        torch.multiprocessing.spawn(worker, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_distributed_training_averages_gradients_and_stays_feasible(ranks, geometry):
    first, second = (found[geometry] for found in ranks)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    alone = built(geometry).double()  # on whole batches: the mean over both halves is the average of their means
    _, gradients = train(alone, alone, BATCHES.flatten(1, 2))
    torch.testing.assert_close(first["gradients"], gradients)
    torch.testing.assert_close(first["state"], dict(alone.state_dict()))
    alone.load_state_dict(first["state"])
    for weight in spectral_weights(alone).values():
        assert weight.orthogonality_error() < 1e-5


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_sharded_manifold_parameters_are_refused(ranks, sharding):
    for found in ranks:
        assert "should lie on Stiefel" in str(found["sharded"][sharding])
        assert "use DistributedDataParallel" in str(found["sharded"][sharding])


def test_sharded_householder_parameters_train(ranks):
    assert ranks[0]["sharded householder"] == pytest.approx(ranks[1]["sharded householder"])
    assert ranks[0]["sharded householder"] > 1e-3
