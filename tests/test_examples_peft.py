"""The example of fine-tuning inside PEFT, on a tiny encoder that knows nothing, without a network."""

import runpy
from pathlib import Path

import pytest
from adapter_networks import save_encoder

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

EXAMPLE = Path(__file__).parents[1] / "examples" / "finetune_with_peft.py"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "book", "very", "a"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated"),  # PEFT asks for it
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),  # the trainer does, whatever the machine has
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return folders of an encoder, of texts that a word gives away, and for the adapter."""
    folder = tmp_path_factory.mktemp("finetune")
    save_encoder(folder / "model", WORDS, initializer_range=0.3, hidden_dropout_prob=0.0)
    (folder / "data").mkdir()
    for split in ("train", "test"):
        texts = [
            f"a {very} {kind} {thing}" for very in ("", "very") for thing in ("film", "book") for kind in WORDS[4:6]
        ]
        rows = [f'"{text}",{text.split()[-2]}' for text in texts] * 4
        (folder / "data" / f"{split}.csv").write_text("\n".join(rows))
    return [str(folder / name) for name in ("model", "data", "adapter")]


def test_it_learns_and_leaves_an_adapter(folders, capsys):
    run = runpy.run_path(str(EXAMPLE))["run"]
    accuracy = run(*folders, rank=2, epochs=50, lr=2e-2)
    assert accuracy > 0.9
    assert "trainable params" in capsys.readouterr().out
    base = transformers.AutoModelForSequenceClassification.from_pretrained(folders[0], num_labels=2)
    tuned = peft.PeftModel.from_pretrained(base, folders[2])
    inputs = transformers.AutoTokenizer.from_pretrained(folders[0])(["a good book", "a bad film"], return_tensors="pt")
    assert tuned(**inputs).logits.argmax(-1).tolist() == [1, 0]


def test_what_has_not_learned_is_an_error(folders, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("a film,bad\na film,good")  # the text says nothing
    with pytest.raises(RuntimeError, match="train longer"):
        runpy.run_path(str(EXAMPLE))["run"](folders[0], str(tmp_path), folders[2], rank=2, epochs=1)


def test_it_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
