"""Exports of spectral layers and networks, as they are and after decompress and factorize: torch.export and ONNX."""

import pytest
import test_layers_end_to_end as run
import torch
from torch import nn
from trains import GEOMETRIES, generator

from sttp.layers import STTP, Conv2d, ConvTranspose2d, Embedding, Linear, decompress, factorize, reparameterize

FORWARDS = ("dense", "factors", "cores")


def trained(network):
    built, optimizer = run.begun(network, "riemannian-adam")
    run.train(network, built, optimizer, 0)
    return built.eval(), run.inputs(network, 50)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_spectral_layers_are_exported_as_they_are(geometry):
    """All kinds of layers in one program: a geometry makes the frames, with which a kind then goes one of its ways."""
    first = list(GEOMETRIES).index(geometry)
    specs = [STTP(3, frames=GEOMETRIES[geometry], forward=FORWARDS[(first + k) % 3]) for k in range(4)]
    network = nn.Sequential(
        Embedding(30, 8, spec=specs[0]),
        Linear(8, 6, spec=specs[1]),
        nn.Unflatten(1, (8, 3)),
        Conv2d(8, 8, 3, padding=1, spec=specs[2]),
        ConvTranspose2d(8, 8, 3, stride=2, spec=specs[3]),
    )
    x = torch.randint(30, (2, 24), generator=generator())
    torch.testing.assert_close(torch.export.export(network, (x,)).module()(x), network(x))


@pytest.mark.parametrize("network", run.NETWORKS)
def test_a_spectral_network_is_exported_as_it_is(network):
    built, x = reparameterize(run.plain(network), STTP(rank=4), generator=generator()).eval(), run.inputs(network, 50)
    exported = torch.export.export(built, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), built(x))


@pytest.mark.filterwarnings("ignore")  # of packages that are no dependency, in whatever version
@pytest.mark.parametrize("plainly", [decompress, factorize, lambda network: network])
@pytest.mark.parametrize("network", run.NETWORKS)
def test_trained_networks_run_in_onnx(network, plainly, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    built, x = trained(network)
    torch.onnx.export(plainly(built), (x,), dynamo=True, verbose=False).save(tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), built(x), rtol=1e-4, atol=1e-5)
