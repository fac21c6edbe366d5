"""Files that are damaged, edited, old or being written: a refused load has changed nothing."""

import json
import multiprocessing
import random

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sttp.layers import STTP, Embedded, Haar, Riemannian, load, reparameterize, save

INPUT = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


def plain(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))


def saved(folder, rank=2, seed=1, **options):
    network = reparameterize(plain(seed), STTP(rank, initialization=Haar(), **options)).eval()
    save(network, folder)
    return network


def mutated(data, source):
    """Return a file with a flipped bit, a cut end, or another tensor or description."""
    kind = source.randrange(3)
    if kind == 0:
        place = source.randrange(len(data))
        return data[:place] + bytes([data[place] ^ (1 << source.randrange(8))]) + data[place + 1 :]
    if kind == 1:
        return data[: source.randrange(len(data))]
    place = source.randrange(8, 8 + int.from_bytes(data[:8], "little"))
    return data[:place] + bytes([source.randrange(32, 127)]) + data[place + 1 :]


def edited(folder, source):
    """Change tensors and description as somebody might by hand."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    description = json.loads((folder / "sttp.json").read_text())
    name = source.choice(sorted(tensors))
    layer = description["layers"][source.choice(sorted(description["layers"]))]
    (
        lambda: tensors.pop(name),
        lambda: tensors.update({f"{name}x": tensors.pop(name)}),
        lambda: tensors.update({name: tensors[name].new_zeros(7, 7)}),
        lambda: tensors.update({name: tensors[name] * torch.nan}),
        lambda: tensors.update({name: tensors[name] * 3}),
        lambda: layer["shape"].update(rank=source.choice([0, -1, 10**9, "2", None, [], 1.5])),
        lambda: layer["shape"].update(row_modes=source.choice([[2], [2, 2], "23", None, [[2, 3]], [10**12]])),
        lambda: layer["geometry"].update(kind=source.choice(["Stiefel", "QR", 3, None, "os.system"])),
        lambda: layer.update(source.choice([{"forward": "quick"}, {"fit_error": "small"}, {"spectrum": None}])),
        lambda: layer.pop(source.choice(sorted(layer))),
    )[source.randrange(10)]()
    save_file(tensors, path, {"sttp.json": json.dumps(description)})


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}, str(network)


@pytest.mark.parametrize("block", range(4))
def test_a_refused_load_has_changed_nothing(block, tmp_path):
    source = random.Random(block)
    expected = saved(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    network = plain().eval()
    before, refused = state_of(network), 0
    for _ in range(75):
        (tmp_path / "model.safetensors").write_bytes(data)
        if source.random() < 0.5:
            edited(tmp_path, source)
        else:
            (tmp_path / "model.safetensors").write_bytes(mutated(data, source))
        try:
            load(network, tmp_path, repair=source.random() < 0.2)
        except (ValueError, FileNotFoundError):
            refused += 1
            after = state_of(network)
            assert after[1] == before[1]
            assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
        else:
            network = plain().eval()
    assert refused > 20
    (tmp_path / "model.safetensors").write_bytes(data)
    torch.testing.assert_close(load(network, tmp_path)(INPUT), expected(INPUT), rtol=0, atol=0)


def write_in_turns(folder, stop):
    torch.set_num_threads(1)
    count = 0
    while not stop.is_set():
        saved(folder, rank=1 + count % 3, seed=1)
        count += 1


def test_loading_beside_a_writer_gives_the_old_or_the_new(tmp_path):
    outputs = [saved(tmp_path, rank)(INPUT) for rank in (1, 2, 3)]
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=write_in_turns, args=(tmp_path, stop))
    writer.start()
    try:
        for _ in range(60):
            found = load(plain().eval(), tmp_path)(INPUT)
            assert any(torch.equal(found, output) for output in outputs)
    finally:
        stop.set()
        writer.join()


def test_a_folder_of_version_0_1_loads(tmp_path):
    network = saved(tmp_path, frames=Riemannian(redundant=False, metric=Embedded(0.01)))
    tensors = {
        name.replace(".coordinates.", ".frames."): value
        for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    description = json.loads((tmp_path / "sttp.json").read_text())
    for layer in description["layers"].values():
        layer["geometry"] |= {"metric": "embedded", "damping": 0.01}
    save_file(tensors, tmp_path / "model.safetensors", {"sttp.json": json.dumps(description)})
    loaded = load(plain().eval(), tmp_path)
    assert loaded[0].spectral.manifold.geometry == network[0].spectral.manifold.geometry
    torch.testing.assert_close(loaded(INPUT), network(INPUT), rtol=0, atol=0)
