"""Exports of spectral layers and networks, as they are and after decompress and factorize: torch.export and ONNX."""

import pytest
import test_layers_end_to_end as run
import torch
from trains import GEOMETRIES, generator

from sttp.layers import STTP, Conv2d, ConvTranspose2d, Embedding, Linear, decompress, factorize, reparameterize

LAYERS = {
    "linear": (lambda spec: Linear(12, 8, spec=spec), (3, 12)),
    "convolution": (lambda spec: Conv2d(8, 8, 3, padding=1, spec=spec), (2, 8, 6, 6)),
    "transposed": (lambda spec: ConvTranspose2d(8, 8, 3, stride=2, spec=spec), (2, 8, 5, 5)),
    "embedding": (lambda spec: Embedding(30, 8, spec=spec), None),
}


def trained(network):
    built, optimizer = run.begun(network, "riemannian-adam")
    run.train(network, built, optimizer, 0)
    return built.eval(), run.inputs(network, 50)


@pytest.mark.parametrize("forward", ["dense", "factors", "cores"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_spectral_layer_is_exported_as_it_is(kind, geometry, forward):
    make, shape = LAYERS[kind]
    layer = make(STTP(3, frames=GEOMETRIES[geometry], forward=forward))
    x = torch.randn(shape, generator=generator()) if shape else torch.randint(30, (4, 5), generator=generator())
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))


@pytest.mark.parametrize("geometry", ["stiefel", "householder-reduced"])
@pytest.mark.parametrize("network", run.NETWORKS)
def test_a_spectral_network_is_exported_as_it_is(network, geometry):
    spec = STTP(rank=4, frames=GEOMETRIES[geometry])
    built, x = reparameterize(run.plain(network), spec, generator=generator()).eval(), run.inputs(network, 50)
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
