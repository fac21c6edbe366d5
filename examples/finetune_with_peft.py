"""Fine-tune a sentence encoder on labelled texts: PEFT attaches the adapters, transformers' Trainer trains them.

MODEL is a folder of Hugging Face's, such as all-MiniLM-L6-v2; DATA has train.csv and test.csv with a text and a label
in each row; OUTPUT gets the adapter. Run: python examples/finetune_with_peft.py MODEL DATA OUTPUT
"""

import csv
import sys
from collections import Counter
from pathlib import Path

from peft import get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed

from sttp.adapters.peft import STTPConfig
from sttp.optim import RiemannianAdam


def run(model: str, data: str, output: str, rank: int = 8, epochs: float = 3, lr: float = 1e-3) -> float:
    """Train adapters of the queries and values, and a head; return the accuracy, better than the commonest label's."""
    set_seed(0)
    rows = {}
    for split in ("train", "test"):
        with (Path(data) / f"{split}.csv").open(encoding="utf-8") as file:
            rows[split] = list(csv.reader(file))
    labels = sorted({label for _, label in rows["train"]})
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = {
        split: [{**tokenizer(text, truncation=True), "labels": labels.index(label)} for text, label in rows[split]]
        for split in rows
    }

    encoder = AutoModelForSequenceClassification.from_pretrained(model, num_labels=len(labels))
    network = get_peft_model(encoder, STTPConfig(rank=rank, task_type="SEQ_CLS"))
    network.print_trainable_parameters()
    optimizer = RiemannianAdam([p for p in network.parameters() if p.requires_grad], lr=lr)
    trainer = Trainer(
        network,
        TrainingArguments(output, num_train_epochs=epochs, per_device_train_batch_size=32, save_strategy="no"),
        train_dataset=texts["train"],
        eval_dataset=texts["test"],
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(-1) == found.label_ids).mean()},
        optimizers=(optimizer, None),
    )
    trainer.train()
    accuracy = float(trainer.evaluate()["eval_accuracy"])
    network.save_pretrained(output)  # peft.PeftModel.from_pretrained(encoder, output) reads it
    commonest = Counter(label for _, label in rows["test"]).most_common(1)[0][1] / len(rows["test"])
    if accuracy <= commonest:
        raise RuntimeError(f"accuracy {accuracy:.3f}, and {commonest:.3f} of the commonest label; train longer")
    return accuracy


if __name__ == "__main__":
    print(f"accuracy on the test texts: {run(*sys.argv[1:4]):.3f}")
