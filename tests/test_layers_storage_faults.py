"""Saved networks that were damaged or edited, or are being written: loaded whole, or refused and nothing changed."""

import contextlib
import copy
import json
import random
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from test_layers_storage import IMAGES, SPECS, Network, built
from torch import nn

from sttp.layers import STTP, SVDP, Haar, Householder, Riemannian, load, repair, reparameterize, save
from sttp.manifolds import Embedded

FILE = "model.safetensors"
JUNK = [None, True, -1, 0, 3, 10**30, 1e400, float("nan"), "", "x", "QR", "TrainShape", [], [2, 2], [10**12], {}]


@pytest.fixture(scope="module", params=["stiefel", "householder"])
def content(request, tmp_path_factory):
    """The bytes of a saved network, its tensors and what it says of itself."""
    folder = tmp_path_factory.mktemp("saved")
    save(built(SPECS[request.param]), folder)
    with safe_open(folder / FILE, "pt") as file:
        return (folder / FILE).read_bytes(), tensors_of((folder / FILE).read_bytes()), file.metadata()


class Plain:
    """A network, and whether it is as it was."""

    def __init__(self):
        torch.manual_seed(1)
        self.network = Network().eval()
        self.modules = list(self.network.named_modules(remove_duplicate=False))
        self.tensors = self.network.state_dict(keep_vars=True)
        self.values = copy.deepcopy(self.network.state_dict())
        self.output = self.network(IMAGES)

    def is_unchanged(self):
        tensors = self.network.state_dict(keep_vars=True)
        return (
            list(self.network.named_modules(remove_duplicate=False)) == self.modules
            and list(tensors) == list(self.tensors)
            and all(tensors[name] is tensor for name, tensor in self.tensors.items())
            and all(torch.equal(tensors[name], value) for name, value in self.values.items())
            and torch.equal(self.network(IMAGES), self.output)
            and not self.network._forward_pre_hooks
        )


def loads(folder, plain, **options):
    """Return whether a folder was loaded; it was refused without a change where it was not."""
    with contextlib.suppress(ValueError, FileNotFoundError):
        load(plain.network, folder, **options)
        assert plain.network(IMAGES).shape == plain.output.shape
        return True
    assert plain.is_unchanged()
    return False


def places(value, path=()):
    """Return the paths of all values in a description."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in places(item, (*path, key)))]


def edited(value, path, new):
    if not path:
        return new
    result = copy.copy(value)
    result[path[0]] = edited(value[path[0]], path[1:], new)
    return result


def test_flipped_bits(content, tmp_path):
    data, _, _ = content
    draw, plain, refused = random.Random(0), Plain(), 0
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(250):
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 1, 4))):
            damaged[draw.randrange(header)] ^= 1 << draw.randrange(8)
        (tmp_path / FILE).write_bytes(damaged[: draw.choice((None, None, None, draw.randrange(len(data))))])
        if loads(tmp_path, plain):
            plain = Plain()
        else:
            refused += 1
    assert refused > 120


def test_edited_descriptions(content, tmp_path):
    _, tensors, metadata = content
    draw, plain, refused = random.Random(1), Plain(), 0
    description = json.loads(metadata["sttp.json"])
    paths = places(description)
    edits = [(path, junk) for path in paths[:18] for junk in JUNK]  # the whole, and one layer
    for path, junk in draw.sample(edits, 250):
        text = json.dumps(edited(description, path, junk))
        save_file(tensors, tmp_path / FILE, {**metadata, "sttp.json": text})
        if loads(tmp_path, plain, repair=draw.random() < 0.3):
            plain = Plain()
        else:
            refused += 1
    assert refused > 120


def test_edited_tensors(content, tmp_path):
    pytest.importorskip("safetensors", "0.7", reason="older ones cannot write complex tensors")
    _, tensors, metadata = content
    plain = Plain()
    changes = {
        "removed": lambda name: {},
        "renamed": lambda name: {f"{name}x": tensors[name]},
        "extra": lambda name: {name: tensors[name], "extra": torch.zeros(2)},
        "longer": lambda name: {name: torch.cat([tensors[name].reshape(-1)] * 2)},
        "another kind": lambda name: {name: tensors[name].bool()},
    }
    for name in tensors:
        for change, make in changes.items():
            others = {key: tensor for key, tensor in tensors.items() if key != name}
            save_file(others | make(name), tmp_path / FILE, metadata)
            if loads(tmp_path, plain):  # torch's norms take files of a time when they counted no batches
                assert (name, change) == ("norm.num_batches_tracked", "removed")
                plain = Plain()


@pytest.mark.parametrize("repairs", [False, True])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_spectral_weights_that_are_no_numbers(content, value, repairs, tmp_path):
    _, tensors, metadata = content
    plain = Plain()
    for name in [name for name in tensors if ".spectral." in name]:
        wrong = tensors[name].clone()
        wrong.view(-1)[-1] = value
        save_file({**tensors, name: wrong}, tmp_path / FILE, metadata)
        assert not loads(tmp_path, plain, repair=repairs), name


def test_signs_are_signs(tmp_path):
    save(built(SPECS["householder"]), tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        metadata = file.metadata()
    tensors = tensors_of((tmp_path / FILE).read_bytes())
    (name, *_) = [name for name in tensors if "signs" in name]
    save_file({**tensors, name: tensors[name] / 2}, tmp_path / FILE, metadata)
    assert not loads(tmp_path, Plain(), repair=True)


def test_descriptions_without_sense_are_refused_and_named(content, tmp_path):
    _, tensors, _ = content
    for text in ("", "{", "[" * 100_000, "1" * 10_000, '{"format": 1, "layers": {"shared": 3}}', '"\\ud800"'):
        save_file(tensors, tmp_path / FILE, {"sttp.json": text} if text else None)
        (tmp_path / "sttp.json").write_text(text)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(Network(), tmp_path)


SAVES = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from test_layers_storage import SPECS, built
from sttp.layers import save

networks = [built(SPECS["stiefel"]), built(SPECS["householder"], seed=1)]
print("ready", flush=True)
while True:
    for network in networks:
        save(network, sys.argv[1])
"""


def test_a_save_by_another_process_gives_the_old_or_the_new(tmp_path):
    networks = [built(SPECS["stiefel"]), built(SPECS["householder"], seed=1)]
    save(networks[0], tmp_path)
    outputs = [network(IMAGES) for network in networks]
    found = set()
    command = [sys.executable, "-c", SAVES, str(tmp_path), str(__file__).rpartition("/")[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            for _ in range(100):
                output = load(Network(), tmp_path).eval()(IMAGES)
                found.add(next(k for k in (0, 1) if torch.equal(output, outputs[k])))
        finally:
            process.kill()
    assert found == {0, 1}


def old_format(tensors, metadata):
    """Return tensors and description as version 0.1 wrote them."""
    description = json.loads(metadata["sttp.json"])
    for layer in description["layers"].values():
        geometry = layer["geometry"]
        if geometry["kind"] == "Riemannian":
            embedded = geometry["metric"] if isinstance(geometry["metric"], dict) else {"damping": 1e-3}
            geometry["damping"] = embedded["damping"]
            geometry["metric"] = "embedded" if embedded is geometry["metric"] else geometry["metric"]
    old = {name.replace(".coordinates.", ".frames."): tensor for name, tensor in tensors.items()}
    return old, {"sttp.json": json.dumps(description)}


@pytest.mark.parametrize(
    "frames", [Riemannian(), Riemannian(False, Embedded(0.01)), Householder()], ids=["stiefel", "embedded", "reduced"]
)
def test_files_of_version_0_1_load(frames, tmp_path):
    network = built(STTP(rank=3, frames=frames, initialization=Haar()))
    save(network, tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        tensors, metadata = old_format(tensors_of((tmp_path / FILE).read_bytes()), file.metadata())
    assert any(".frames." in name for name in tensors)
    save_file(tensors, tmp_path / FILE, metadata)
    (tmp_path / "sttp.json").write_text(metadata["sttp.json"])
    loaded = load(Network(), tmp_path).eval()
    assert torch.equal(loaded(IMAGES), network(IMAGES))
    assert loaded.shared.spectral.manifold == network.shared.spectral.manifold
    assert loaded.embedding.spectral is loaded.decoder.spectral


# --- which networks ---


class Views(nn.Module):
    """Tensors that share memory in every way, and one that is not contiguous."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.table = nn.Parameter(torch.randn(6, 4).T)
        self.register_buffer("flat", self.layer.bias.detach().view(-1))
        self.register_buffer("part", torch.randn(8)[2:5])
        self.register_buffer("again", self.part)
        self.register_buffer("mask", torch.full((3,), -torch.inf))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 1))
        self.computed = self.table * 2  # no leaf: torch will not copy it

    def forward(self, x):
        return self.layer(x)


def test_shared_views_and_what_torch_will_not_copy(tmp_path):
    network = reparameterize(Views(), SVDP(2), skip="normed")
    save(network, tmp_path)
    loaded = load(Views(), tmp_path)
    torch.testing.assert_close(loaded.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert loaded.part is loaded.again
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
    with pytest.raises(ValueError, match=FILE):
        load(Views(), tmp_path)


def test_what_is_tied_in_the_file_must_be_tied_in_the_network(tmp_path):
    tied = reparameterize(nn.ModuleDict(dict.fromkeys("ab", nn.Linear(4, 4))), SVDP(2))
    untied = nn.ModuleDict({name: nn.Linear(4, 4) for name in "ab"})
    save(tied, tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        load(untied, tmp_path)


def test_networks_that_cannot_be_kept_are_refused_by_name(tmp_path):
    class Keeper(nn.Linear):
        def get_extra_state(self):
            return {"steps": 3}

        def set_extra_state(self, state):
            pass

    network = reparameterize(nn.Sequential(nn.Linear(4, 4), Keeper(4, 4)), SVDP(2))
    with pytest.raises(ValueError, match=r"'1\._extra_state'"):
        save(network, tmp_path)
    with pytest.raises(ValueError, match="meta device"):
        save(built().to("meta"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_repairing_a_rounded_folder_changes_nothing_before_it_is_read(tmp_path):
    network = built()
    save(network, tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        metadata = file.metadata()
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in tensors_of((tmp_path / FILE).read_bytes()).items()
               if tensor.is_floating_point()}  # fmt: skip
    integers = {
        name: tensor
        for name, tensor in tensors_of((tmp_path / FILE).read_bytes()).items()
        if not tensor.is_floating_point()
    }
    save_file(rounded | integers, tmp_path / FILE, metadata)
    plain = Plain()
    assert not loads(tmp_path, plain)
    assert loads(tmp_path, plain, repair=True)
    assert max(repair(plain.network).values()) < 1e-6
