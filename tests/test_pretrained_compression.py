"""Compression of pretrained networks, with a small BERT of random weights made from its configuration."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sttp.layers import Embedding, Linear
from sttp.study import compress, load_compressed
from sttp.study.cli.app import run
from sttp.study.networks.source import StateDict
from sttp.study.pretrained.calibration import read_batches
from sttp.study.pretrained.factored import load_factored

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")

TOKENS = torch.randint(1, 101, (3, 7), generator=torch.Generator().manual_seed(0))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{k}" for k in range(96))]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A folder of a masked language model with tied embeddings, and a tokenizer."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=101,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
    )
    network = transformers.BertForMaskedLM(config)
    network.bert.embeddings.word_embeddings.weight.data[0] = torch.randn(32)  # as trained ones have it
    folder = tmp_path_factory.mktemp("bert") / "model"
    network.save_pretrained(folder)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: k for k, word in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(1)
    return [{"input_ids": torch.randint(0, 101, (4, 9), generator=generator)} for _ in range(4)]


def tiny() -> nn.Module:
    """Return a network that is no model of transformers, with a convolution of groups and a buffer."""
    torch.manual_seed(2)
    layers = [nn.Conv2d(4, 12, 3, groups=2), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 36, 10)]
    return nn.Sequential(nn.ConvTranspose2d(4, 4, 3, padding=1, groups=2), *layers).eval()


@pytest.mark.parametrize("method", ["sttp", "svdp", "svd"])
@pytest.mark.parametrize("joint", [(), ("*.self.*",)])
def test_a_model_is_compressed_written_and_read(model, batches, tmp_path, method, joint):
    outcome = compress(model, 60, method=method, joint=joint, calibration=batches, steps=2)
    assert outcome.report.z <= 60
    assert len(outcome.losses) == 2
    assert "word_embeddings" in str(outcome)
    assert "<table>" in outcome._repr_html_()
    with torch.no_grad():
        expected = outcome.network(TOKENS).logits
    outcome.save(tmp_path / "small")
    again = load_compressed(tmp_path / "small")
    outcome.export(tmp_path / "dense", "dense")
    dense = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "dense").eval()
    for network in (again, dense):
        with torch.no_grad():
            torch.testing.assert_close(network(TOKENS).logits, expected, rtol=0, atol=3e-5)
        assert network.cls.predictions.decoder.bias is not None
    assert dense.cls.predictions.decoder.weight is dense.bert.embeddings.word_embeddings.weight
    if method != "svd":  # as many numbers as the network has degrees of freedom
        assert sum(p.numel() for p in again.parameters()) == outcome.report.dof + outcome.report.kept
        embedding, head = again.bert.embeddings.word_embeddings, again.cls.predictions.decoder
        assert isinstance(embedding, Embedding)
        assert isinstance(head, Linear)
        assert head.spectral is embedding.spectral
    source = transformers.AutoModelForMaskedLM.from_pretrained(model)
    assert isinstance(again.cls.predictions.transform.dense, nn.Linear)  # a head
    if not outcome.losses:
        torch.testing.assert_close(again.bert.embeddings.LayerNorm.weight, source.bert.embeddings.LayerNorm.weight)


def foreign_models():
    """Models with transposed layers, tied layers of their own kinds, code that reads weights, and bfloat16."""
    sizes = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    images = {"image_size": 16, "patch_size": 4, "num_labels": 3} | {
        k: v for k, v in sizes.items() if k != "vocab_size"
    }
    yield transformers.GPT2LMHeadModel, {"vocab_size": 97, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    yield transformers.T5ForConditionalGeneration, {"vocab_size": 97, "d_model": 32, "d_ff": 48, "num_layers": 1}
    yield transformers.ViTForImageClassification, images
    yield transformers.LlamaForCausalLM, {**sizes, "num_key_value_heads": 1, "dtype": "bfloat16"}


@pytest.mark.parametrize(("kind", "options"), [*foreign_models()], ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("method", ["sttp", "svd"])
def test_models_with_something_special(kind, options, tmp_path, method):
    torch.manual_seed(4)
    network = kind(kind.config_class(**options)).eval()
    network.to(network.config.dtype or torch.float32).save_pretrained(tmp_path / "model")
    given = {"pixel_values": torch.randn(2, 3, 16, 16)} if "image_size" in options else {"input_ids": TOKENS % 97}
    if kind.__name__.startswith("T5"):
        given["decoder_input_ids"] = given["input_ids"]
    outcome = compress(tmp_path / "model", 65, method=method, calibration=[given], steps=1)
    outcome.save(tmp_path / "small")
    outcome.export(tmp_path / "dense", "dense")
    outcome.export(tmp_path / "factored", "factored")
    networks = (
        load_compressed(tmp_path / "small"),
        kind.from_pretrained(tmp_path / "dense").eval(),
        load_factored(kind(kind.config_class(**options)).float().eval(), tmp_path / "factored"),
    )
    with torch.no_grad():
        for network in networks:
            torch.testing.assert_close(network(**given).logits, outcome.network(**given).logits, rtol=0, atol=3e-5)


def test_another_process_reads_it_and_factors_need_torch_alone(model, batches, tmp_path):
    outcome = compress(model, 50, calibration=batches)
    outcome.save(tmp_path / "small")
    outcome.export(tmp_path / "small" / "factored", "factored")
    with torch.no_grad():
        expected = outcome.network(TOKENS).logits
    save_file({"tokens": TOKENS, "logits": expected}, tmp_path / "expected.safetensors")
    program = """
import sys, torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForMaskedLM
expected = load_file("expected.safetensors")
sys.path.insert(0, "small/factored")
from factored import load_factored
network = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained("small/factored"))
network = load_factored(network.eval(), "small/factored")
assert "sttp" not in sys.modules
from sttp.study import load_compressed
for one in (network, load_compressed("small")):
    with torch.no_grad():
        print(float((one(expected["tokens"]).logits - expected["logits"]).abs().max()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert max(map(float, done.stdout.split())) < 3e-5


@pytest.mark.parametrize("method", ["sttp", "svdp", "svd"])
def test_a_network_of_one_s_own_from_a_safetensors_file(tmp_path, method):
    file = tmp_path / "weights.safetensors"
    dense = tiny()
    dense[2].running_mean.fill_(0.25)
    save_file(dense.state_dict(), file)
    name = f"{__name__}:tiny"
    outcome = compress(file, 40, method=method, network=name)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    outcome.save(tmp_path / "small")
    with pytest.raises(ValueError, match="tiny"):  # a name in a file makes nothing be imported
        load_compressed(tmp_path / "small")
    again = load_compressed(tmp_path / "small", name)
    assert again[2].running_mean.eq(0.25).all()
    outcome.export(tmp_path / "dense", "dense")
    plain = StateDict(tmp_path / "dense" / file.name, name).read()
    for network in (again, plain):
        torch.testing.assert_close(network(x), outcome.network(x), rtol=0, atol=3e-5)
    np.save(tmp_path / "images.npy", x.numpy())
    (batch,) = read_batches(tmp_path / "images.npy", StateDict(file, name))
    torch.testing.assert_close(batch.sum(), x.sum())


def test_a_network_in_memory_stays_as_it_is(tmp_path):
    dense = tiny()
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    outcome = compress(dense, tolerance=0.3)
    assert max(layer.fit_error for layer in outcome.report.layers) <= 0.3
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.state_dict().items())
    outcome.save(tmp_path / "small")
    with pytest.raises(ValueError, match="pass the dense one"):
        load_compressed(tmp_path / "small")
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(load_compressed(tmp_path / "small", tiny())(x), outcome.network(x), rtol=0, atol=3e-5)


def test_what_cannot_be_is_refused_before_anything_is_written(model, batches, tmp_path):
    for options, words in (
        ({}, "z or tolerance"),
        ({"z": 1}, "z must be at least"),
        ({"z": 50, "skip": ["nothing*"]}, "nothing"),
        ({"z": 50, "joint": ["nothing*"]}, "nothing"),
        ({"z": 50, "method": "tucker"}, "method"),
        ({"z": 50, "calibration": []}, "calibration"),
        ({"z": 50, "calibration": [torch.randn(3, 4)]}, "calibration|batch"),
        ({"z": 50, "steps": 3}, "recovery"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            compress(model, **options)
    with pytest.raises(ValueError, match=r"config\.json"):
        compress(tmp_path, 50)
    empty = tmp_path / "incomplete"
    empty.mkdir()
    (empty / "config.json").write_text((model / "config.json").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"no weights in \*\.safetensors"):
        compress(empty, 50)
    lacking = load_file(model / "model.safetensors")
    del lacking["bert.encoder.layer.1.output.dense.bias"]
    save_file(lacking, empty / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 'bert\.encoder\.layer\.1\.output\.dense\.bias'"):
        compress(empty, 50)
    with pytest.raises(ValueError, match="--download"):
        compress("nobody/nothing", 50)
    outcome = compress(model, 50)
    for path in (empty, tmp_path / "incomplete" / "config.json"):
        with pytest.raises(FileExistsError, match="not overwritten"):
            outcome.save(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["incomplete"]
    with pytest.raises(FileNotFoundError):
        load_compressed(empty)


def test_the_command_prints_layers_and_writes_folders(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = [" ".join(f"word{(7 * k + j) % 96}" for j in range(5)) for k in range(12)]
    Path("texts.txt").write_text("\n".join(texts), encoding="utf-8")
    pd.DataFrame({"label": range(12), "text": texts}).to_parquet("texts.parquet")
    words = [
        "compress",
        str(model),
        "--z",
        "60",
        "--calibration",
        "texts.parquet",
        "--recover",
        "2",
        "--batch-size",
        "4",
    ]
    assert run([*words, "--output", "small", "--export", "dense", "--export", "factored"]) == 0
    shown = capsys.readouterr().out
    assert "word_embeddings" in shown
    assert "calibrated" in shown
    for folder in ("small", "small/dense", "small/factored"):
        assert (Path(folder) / "config.json").exists()
        assert (Path(folder) / "tokenizer.json").exists()
    assert run([*words, "--output", "small"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert run(["compress", str(model), "--z", "60", "--calibration", "texts.txt", "--method", "svdp", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["z"] <= 60
    assert found["output"] is None
    assert run(["compress", str(model), "--z", "60", "--calibration", "texts.parquet", "--column", "no"]) == 2
    assert "'label', 'text'" in capsys.readouterr().err
    for words in (["--z", "60", "--calibration", "no.txt"], ["--z", "60", "--export", "dense"], ["--z", "0.1"]):
        assert run(["compress", str(model), *words]) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1


def test_images_are_read_as_a_model_wants_them(tmp_path):
    from PIL import Image

    config = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, intermediate_size=32
    )
    config.num_attention_heads = 2
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "images").mkdir()
    for k in range(3):
        Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / "images" / f"{k}.png")
    from sttp.study.networks.source import HuggingFace

    (batch,) = read_batches(tmp_path / "images", HuggingFace(str(tmp_path / "vit")))
    assert batch["pixel_values"].shape == (3, 3, 16, 16)
    assert batch["pixel_values"][:, 0].eq(1).all()
    assert batch["pixel_values"][:, 1:].eq(-1).all()
    assert compress(tmp_path / "vit", 80, calibration=[batch]).report.z <= 80
