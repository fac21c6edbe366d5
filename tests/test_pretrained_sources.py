"""What pretrained networks are read from, and their calibration data: nothing is drawn at random, padded, or run."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sttp.study import compress, load_compressed
from sttp.study.cli import run
from sttp.study.networks.source import HuggingFace, StateDict, source_of
from sttp.study.pretrained.calibration import read_batches

transformers = pytest.importorskip("transformers", reason="it is in the extra `test`")
TEXTS = [f"the {a} sees a {b}" for a in ("cat", "dog", "bird") for b in ("red tree", "house", "small blue boat")]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TEXTS for word in text.split()})]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Return the folder of a small BERT with a vector of padding that is not zero."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=40,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.BertModel(config)
        nn.init.normal_(network.get_input_embeddings().weight)
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


class Tied(nn.Module):
    """A language model without context: a tied head, and a vector of padding that is not zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(60, 24, padding_idx=3)
        self.layer = nn.Linear(24, 24)
        self.head = nn.Linear(24, 60)
        self.head.weight = self.embedding.weight
        with torch.no_grad():
            self.embedding.weight[3] = 0.5

    def forward(self, tokens):
        return self.head(self.layer(self.embedding(tokens)).tanh())


def test_texts_are_batched_without_padding(encoder, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, " "]))
    batches = read_batches(tmp_path / "texts.txt", HuggingFace(str(encoder)))
    assert sum(len(batch["input_ids"]) for batch in batches) == len(TEXTS)
    assert len(batches) > 1
    for batch in batches:
        assert not (batch["input_ids"] == WORDS.index("[PAD]")).any()
        assert not (batch["input_ids"] == WORDS.index("[UNK]")).any()


def test_texts_without_a_vocabulary_are_refused(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*", "vocab*"))
    with pytest.raises(ValueError, match="vocabulary"):
        HuggingFace(str(tmp_path / "model")).tokenizer()


def configured(**values):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def cut(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def lost_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lost_shard, ["has no model-00001"]),
        (cut, ["cannot be read"]),
        (configured(num_hidden_layers=3), ["lacks", "layer.2"]),
        (configured(architectures=["Mine"]), ["Mine", "is not run"]),
        (configured(model_type="mine"), ["mine"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["config"]),
    ],
)
def test_incomplete_folders_are_refused(encoder, tmp_path, change, words):
    shutil.copytree(encoder, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(ValueError, match="model=") as caught:
        compress(tmp_path / "model", 70)
    assert all(word in str(caught.value) for word in words)


def test_no_part_of_a_compressed_folder_is_taken_for_dense_weights(encoder, tmp_path):
    outcome = compress(encoder, 70)
    outcome.save(tmp_path / "small")
    outcome.export(tmp_path / "factored", "factored")
    for folder in ("small", "factored"):
        with pytest.raises(OSError, match=r"model\.safetensors"):
            transformers.AutoModel.from_pretrained(tmp_path / folder)


def test_small_matrices_stay_dense_and_a_pattern_may_be_a_string(encoder):
    outcome = compress(encoder, 80, skip="pooler")
    left = {tensor.name for tensor in outcome.report.left_dense}
    assert left == {"embeddings.token_type_embeddings.weight", "pooler.dense.weight"}


def test_tied_weights_of_a_file_are_read_once_and_written_dense(tmp_path):
    tokens = torch.arange(48).reshape(4, 12)
    network = Tied()
    state = network.state_dict()
    save_file({name: tensor for name, tensor in state.items() if name != "head.weight"}, tmp_path / "tied.safetensors")
    source = StateDict(tmp_path / "tied.safetensors", f"{__name__}:Tied")
    assert torch.equal(source.read()(tokens), network(tokens))
    for model in (network, tmp_path / "tied.safetensors"):
        outcome = compress(model, 70, network=None if model is network else f"{__name__}:Tied")
        assert outcome.network.head.spectral is outcome.network.embedding.spectral
        folder = tmp_path / f"dense-{model is network}"
        outcome.export(folder, "dense")
        plain = Tied()
        (file,) = folder.glob("*.safetensors")
        plain.load_state_dict(load_file(file))
        torch.testing.assert_close(plain(tokens), outcome.network(tokens))
    outcome.save(tmp_path / "small")
    file = tmp_path / "small/compression.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"unpadded": ["layer"]}))
    with pytest.raises(ValueError, match="layer"):
        load_compressed(tmp_path / "small", Tied())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"\n  \n", ["no examples"]),
        ("bad.npy", b"no array", ["numpy.save"]),
        ("bad.npz", b"no archive", ["numpy.save"]),
        ("bad.parquet", b"nothing", ["table"]),
        ("bad.csv", b"", ["table"]),
        ("bad.txt", b"\xff\xfe\xff", ["UTF-8"]),
        ("other.pkl", b"", [".npz"]),
    ],
)
def test_calibration_files_that_cannot_be_are_refused(name, content, words, encoder, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="calibration") as caught:
        read_batches(tmp_path / name, HuggingFace(str(encoder)))
    assert all(word in str(caught.value) for word in words)


def test_arrays_are_float32_finite_and_of_one_length(tmp_path):
    source = source_of(write(tmp_path / "weights.safetensors"), "own:build")
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    np.save(tmp_path / "nan.npy", np.full((3, 2), np.nan))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "uneven.npz", a=np.ones((3, 2)), b=np.ones((2, 2)))
    np.savez(tmp_path / "even.npz", a=np.ones((3, 2)), b=np.arange(3))
    (batch,) = read_batches(tmp_path / "rows.npy", source)
    assert batch.dtype == torch.float32
    (batch,) = read_batches(tmp_path / "even.npz", source)
    assert {name: tensor.dtype for name, tensor in batch.items()} == {"a": torch.float32, "b": torch.int64}
    for name, word in (("nan.npy", "NaN"), ("words.npy", "real numbers"), ("uneven.npz", "row for each")):
        with pytest.raises(ValueError, match=word):
            read_batches(tmp_path / name, source)


def test_modes_are_given_by_pattern(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file(Tied().state_dict() | {"head.weight": torch.ones(60, 24)}, "tied.safetensors")
    command = ["compress", "tied.safetensors", "--network", f"{__name__}:Tied", "--z", "70", "--json"]
    assert run([*command, "--modes", "layer=4x6,6x4", "--modes", "prime"]) == 0
    ranks = {layer["name"]: layer["ranks"] for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert {name: len(found) for name, found in ranks.items()} == {"embedding": 7, "layer": 3}
    for modes, word in ((["4x,6"], "4x,6"), (["prime", "auto"], "once"), (["nothing=prime"], "nothing")):
        assert run([*command, *(f"--modes={mode}" for mode in modes)]) == 2
        assert word in capsys.readouterr().err


def write(path):
    save_file({"weight": torch.ones(2, 2)}, path)
    return path


def test_nothing_is_fetched_and_no_code_is_run_unless_asked_for(monkeypatch):
    asked = []

    def look(place, **options):
        asked.append((options["local_files_only"], options["trust_remote_code"]))
        raise OSError("not in the cache")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", look)
    for download in (False, True):
        with pytest.raises(ValueError, match="some/model"):
            compress("some/model", 50, download=download)
    assert asked == [(True, False), (False, False)]
