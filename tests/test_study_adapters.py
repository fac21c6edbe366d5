"""The study of adapters: each method starts from the trained network and learns; numbers, dimensions and reports."""

import copy
import json

import pandas as pd
import pytest
import torch
from adapter_networks import save_encoder
from torch import nn

from sttp.study import METHODS, STUDIES, Method, Surroundings, Training, compare
from sttp.study.cli import run
from sttp.study.engine import run_study
from sttp.study.tasks.adaptation import encoder, methods
from sttp.study.tasks.adaptation.transformer import digits_transformer

CHOSEN = ["full", "probe", "sttp-adapter", "lora", "lora riemannian-adam", "lorta", "soda", "lora-preconditioned"]
NO_DEFECT = 1e-3  # of logits; Deep LoRA starts at 1e-9 times its factors


@pytest.fixture(scope="module", autouse=True)
def quick_training():
    """A network that has learnt transposed digits in few steps."""
    from sttp.study.tasks.adaptation import transformer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transformer, "STEPS", 60)
        transformer._trained.cache_clear()
        yield
    transformer._trained.cache_clear()


def fine_tuned(name, rank=2):
    method = METHODS[name]
    network = digits_transformer()
    return method.built(network, rank if method.takes_rank else None, 0, ("head",), {})


@pytest.mark.parametrize("name", methods.NAMES)
def test_a_method_starts_from_the_trained_network_and_trains_its_change_and_the_head(name):
    trained, network = digits_transformer().eval(), fine_tuned(name).eval()
    images = torch.rand(4, 1, 8, 8)
    assert torch.allclose(network(images), trained(images), atol=NO_DEFECT)
    gradients = {key for key, p in network.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} <= gradients
    if name == "full":
        assert gradients == {key for key, _ in network.named_parameters()}
    elif name != "probe":
        touched = {key for key in gradients if "head." not in key}
        assert touched
        assert all(".query." in key or ".value." in key for key in touched)


def test_networks_know_transposed_digits_and_not_upright_ones():
    from sttp.study.data.digits import digits_splits

    images, labels = digits_splits()["validation"]
    network = digits_transformer().eval()
    found = [(network(seen).argmax(1) == labels).float().mean() for seen in (images.mT, images)]
    assert found[0] > 0.5
    assert found[1] < 0.3


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, blank_pictures):
    """Return the built-in study, of few of its methods and small."""
    values = STUDIES["adapters"].to_dict()
    small = {"steps": 2, "evaluations": 1, "seeds": [0], "learning_rates": [0.01], "extensions": 0}
    values["factors"] |= {"rank": [2], "method": CHOSEN}
    study = type(STUDIES["adapters"]).from_dict(values | small)
    return run_study(study, tmp_path_factory.mktemp("study"), "sequential", None, None, Surroundings())


def test_the_study_has_a_row_for_each_method_with_its_numbers_and_dimension(outcome):
    table = outcome.table
    assert list(table["method"]) == CHOSEN
    assert (table["dimension"] <= table["stored"]).all()
    stored = dict(zip(table["method"], table["stored"], strict=True))
    head = 64 * 10 + 10
    assert stored["probe"] == 0
    assert stored["full"] == sum(p.numel() for p in digits_transformer().parameters()) - head
    assert stored["lora"] == 8 * 2 * (64 + 64)  # eight matrices, r(o + i)
    assert stored["lorta"] == 2 * (64 + 16 + 4 + 2 + 4)  # r(d + d_h + H + M + L)
    optimizers = dict(zip(table["method"], table["optimizer"], strict=True))
    assert optimizers["lora"] == "published"
    assert optimizers["lora riemannian-adam"] == optimizers["sttp-adapter"] == "riemannian-adam"
    runs = pd.read_csv(outcome.report.parent / "results.csv")
    assert {"stored", "dimension", "test_score"} <= set(runs)


def test_the_report_says_what_was_compared(outcome):
    page = outcome.report.read_text(encoding="utf-8")
    for words in ("linear probe", "tensor trains of frames", "LoRTA", "dimension"):
        assert words in page
    assert "from outside this package" not in page


def test_a_network_of_ones_own_is_fine_tuned(tmp_path, blank_pictures):
    """With adapters and a method of one's own; the weights that it has are those that are changed."""
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    examples = torch.randn(60, 6), torch.randint(3, (60,))
    seen = []

    def mine(network, rank):
        seen.append(torch.equal(network[0].weight, trained[0].weight))
        network[0].requires_grad_(False)
        return network

    outcome = compare(
        Training(network=lambda: copy.deepcopy(trained), train=examples),
        methods=["lora", "sttp-adapter", Method("mine", build=mine, fine_tunes=True)],
        ranks=[2], steps=2, batch_size=16, evaluations=1, seeds=[0], learning_rates=[0.01], extensions=0,
        executor="sequential", progress=False, output=tmp_path / "own",
    )  # fmt: skip
    assert seen
    assert all(seen)
    stored = dict(zip(outcome.table["method"], outcome.table["stored"], strict=True))
    assert stored == {"lora": 2 * (6 + 12 + 12 + 3), "sttp-adapter": stored["sttp-adapter"], "mine": 12 * 3 + 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folders of a tiny encoder and of texts in two classes."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("texts")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "book", "very", "a"]
    save_encoder(folder / "model", words)
    (folder / "data").mkdir()
    rows = [(f"a {kind} {thing}", kind, "x") for kind in words[4:6] for thing in ("film", "very very book")] * 4
    table = pd.DataFrame(rows, columns=["text", "label", "other"])
    for split in ("train", "validation", "test"):
        table.to_csv(folder / "data" / f"{split}.csv", index=False)
    return folder


SMALL = ["steps=2", "evaluations=1", "seeds=[0]", "learning_rates=[0.01]", "extensions=0", "ranks=[2]", "batch_size=8"]


def command(folders, output, *more, data="data"):
    changes = [part for change in (*SMALL, 'methods=["probe", "lora", "sttp-adapter"]') for part in ("--set", change)]
    given = ["--model", str(folders / "model"), "--data", str(folders / data), "--executor", "sequential", *more]
    return run(["study", "adapters", "--output", str(output), *given, *changes, "--json"])


def test_an_encoder_of_texts_is_adapted(folders, tmp_path, capsys, blank_pictures):
    encoder._pretrained.cache_clear()
    assert command(folders, tmp_path / "out") == 0
    assert encoder._pretrained.cache_info().misses == 1  # however often it is built, it is read once
    capsys.readouterr()
    study = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    assert study["study"]["task"] == "texts"
    stored = pd.read_csv(tmp_path / "out" / "results.csv")
    assert sorted(stored["stored"]) == [0, *sorted(stored["stored"])[1:]]
    assert {2 * 2 * (16 + 16)} <= set(stored["stored"])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "test.csv").unlink(), "test.parquet"),
        (lambda folder: (folder / "train.csv").write_text("text,kind\na,b\n"), "label"),
        (lambda folder: (folder / "train.csv").write_text("number,label\n1,2\n"), "column of texts"),
        (lambda folder: (folder / "test.csv").write_text("text,label\na film,new\n"), "labels in test"),
        (lambda folder: (folder / "test.csv").write_text("title,label\na film,good\n"), "column 'text'"),
        (lambda folder: (folder / "train.csv").write_text("text,label\na film,good\n,bad\n"), "each row of train"),
        (lambda folder: (folder / "train.csv").write_text("text,label\na film,good\n"), "one class"),
    ],
)
def test_texts_that_cannot_be_used_are_refused_before_there_is_a_folder(folders, tmp_path, capsys, damage, words):
    import shutil

    shutil.copytree(folders / "data", tmp_path / "data")
    damage(tmp_path / "data")
    changed = tmp_path / "model"
    shutil.copytree(folders / "model", changed)
    assert command(tmp_path, tmp_path / "out") != 0
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_splits_have_the_columns_and_the_classes_of_the_training_texts(folders, tmp_path, blank_pictures):
    """Where those of another column are longer in the test split, and the first texts are of one class."""
    import shutil

    shutil.copytree(folders / "model", tmp_path / "model")
    (tmp_path / "data").mkdir()
    table = pd.read_csv(folders / "data" / "train.csv").sort_values("label")
    for split in ("train", "validation", "test"):
        table.assign(other="x" if split == "train" else "a very very very very good book").to_csv(
            tmp_path / "data" / f"{split}.csv", index=False
        )
    found = encoder._read(str(tmp_path / "data"), str(tmp_path / "model"), None, 24)
    assert {*map(tuple, found["training"].inputs.tolist())} == {*map(tuple, found["test"].inputs.tolist())}
    assert command(tmp_path, tmp_path / "out", "--set", "images=8", "--set", "steps=1") == 0


def test_a_model_wants_texts_and_texts_a_folder(folders, tmp_path, capsys):
    assert run(["study", "adapters", "--model", str(folders / "model"), "--output", str(tmp_path / "out")]) == 2
    assert "--data" in capsys.readouterr().err
    assert command(folders, tmp_path / "out", data="none") == 2
    assert "folder of labelled texts" in capsys.readouterr().err
