"""What compression costs a real sentence encoder: embeddings of held-out glosses, a linear probe, size and time.

Needs a folder of a BERT-like encoder and one with ``train.parquet`` and ``test.parquet``, columns ``gloss`` and
``label``, which the project does not have: ``python -m benchmarks minilm --model DIR --data DIR``. The probe is fitted
anew to each network's own embeddings. Figures are kept after each network.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from sttp.layers import STTP, SVDP, Specification, factorize, ranks_for, reparameterize, report, save
from sttp.study.pretrained.recovery import recover

from .harness import RESULTS, machine

JOINT = ("*.self.*",)
SKIP = ("embeddings.token_type_embeddings",)
LONGEST = 48


@dataclass(frozen=True)
class Method:
    """A way to compress: a specification, whether by calibration, and what is joined."""

    spec: Specification
    calibrated: bool = False
    joint: tuple[str, ...] = ()


METHODS = {
    "svd": Method(SVDP(1)),
    "whitened svd": Method(SVDP(1), True),
    "tt-svd": Method(STTP(1, modes="auto")),
    "calibrated sttp": Method(STTP(1, modes="auto"), True),
    "joint svd": Method(SVDP(1), True, JOINT),
    "joint sttp": Method(STTP(1, modes="auto"), True, JOINT),
}
VOCABULARY = {"svd": SVDP(1), "sttp, prime modes": STTP(1), "sttp, auto modes": STTP(1, modes="auto")}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    test: int
    train: int
    calibration: int
    z: tuple[float, ...]
    recovered: tuple[float, ...]
    steps: int


QUICK = Size(300, 600, 64, (50,), (), 0)
WHOLE = Size(1000, 3000, 256, (20, 30, 40, 50, 60, 80), (30, 50), 100)


def run(device: torch.device, as_json: bool, quick: bool, *, model: str, data: str) -> None:
    """Measure, print, and keep the figures."""
    bench = Bench(Path(model), Path(data), device, QUICK if quick else WHOLE, as_json, "-quick" if quick else "")
    bench.dense_row()
    bench.vocabulary()
    for z in sorted(bench.size.z, key=lambda z: (z not in bench.size.recovered, z)):
        for name in METHODS:
            bench.row(name, z)
    for z in bench.size.recovered:
        for name in ("svd", "whitened svd", "calibrated sttp"):
            bench.row(name, z, bench.size.steps)
    if as_json:
        print(json.dumps(bench.record, indent=1))


class Bench:
    """The encoder, the glosses, and what was measured by now."""

    def __init__(self, model: Path, data: Path, device: torch.device, size: Size, as_json: bool, suffix: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.size, self.device, self.quiet = size, device, as_json
        self.path = RESULTS / f"minilm{suffix}-{device.type}.json"
        self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        self.load: Callable[[], nn.Module] = lambda: unpadded(
            AutoModel.from_pretrained(model, local_files_only=True, add_pooling_layer=False, dtype=torch.float32)
        ).to(device)
        train, test = (pd.read_parquet(data / f"{split}.parquet") for split in ("train", "test"))
        texts = train["gloss"].tolist()
        calibration, rest = texts[-size.calibration :], texts[size.train : -size.calibration]
        self.calibration = list(self.batches(calibration, 32))
        self.unlabelled = list(self.batches(rest[: 32 * size.steps], 32)) if size.steps else []
        self.train = texts[: size.train], train["label"].to_numpy()[: size.train]
        self.test = test["gloss"].tolist()[: size.test], test["label"].to_numpy()[: size.test]
        self.teacher = self.load().eval()
        self.target = torch.empty(0)
        self.record: dict[str, Any] = {
            "benchmark": "minilm",
            "machine": machine(device),
            "settings": {**vars(size), "longest": LONGEST, "test_is": "a prefix of the shuffled test split"},
            "rows": [],
            "vocabulary": [],
        }

    def batches(self, texts: list[str], size: int) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(texts), size):
            given = self.tokenizer(
                texts[start : start + size], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            yield {name: given[name].to(self.device) for name in ("input_ids", "attention_mask")}

    @torch.no_grad()
    def embed(self, network: nn.Module, texts: list[str], size: int = 64) -> Tensor:
        """Return the sentence embeddings: the mean over the words, of unit length."""
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        parts = []
        for batch in self.batches([texts[k] for k in order], size):
            states, mask = network(**batch).last_hidden_state, batch["attention_mask"][..., None]
            parts.append(nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).cpu())
        result = torch.empty_like(torch.cat(parts))
        result[order] = torch.cat(parts)
        return result

    def dense_row(self) -> None:
        self.target = self.embed(self.teacher, self.test[0])
        size = 4 * sum(p.numel() for p in self.teacher.parameters())
        self.keep(
            "rows",
            {"method": "dense", "z": 100.0, "bytes": size, **self.scores(self.teacher), **self.times(self.teacher)},
        )

    def scores(self, network: nn.Module) -> dict[str, float]:
        test = self.embed(network, self.test[0])
        probe = LogisticRegression(C=10, max_iter=200).fit(self.embed(network, self.train[0]).numpy(), self.train[1])
        cosines = (test * self.target).sum(1)
        deviation = float(cosines.std()) / len(cosines) ** 0.5
        accuracy = float(np.mean(probe.predict(test.numpy()) == self.test[1]))
        error = (accuracy * (1 - accuracy) / len(test)) ** 0.5
        return {"cosine": float(cosines.mean()), "cosine_error": deviation, "probe": accuracy, "probe_error": error}

    def times(self, network: nn.Module) -> dict[str, Any]:
        """Return the medians and quartiles of encoding 1 and 64 glosses, in milliseconds."""
        found = {}
        for count, rounds in ((1, 15), (64, 5)):
            batch = next(iter(self.batches(self.test[0], count)))
            times = []
            with torch.no_grad():
                for _ in range(rounds):
                    start = time.perf_counter()
                    network(**batch)
                    times.append(1e3 * (time.perf_counter() - start))
            found[f"milliseconds_{count}"] = statistics.quantiles(times, n=4)
        return found

    def row(self, name: str, z: float, steps: int = 0) -> None:
        method, network, start = METHODS[name], self.load().eval(), time.perf_counter()
        calibration = self.calibration if method.calibrated else None
        try:
            ranks = ranks_for(network, method.spec, z=z, skip=SKIP, calibration=calibration, joint=method.joint)
        except ValueError as error:
            self.keep("rows", {"method": name, "z": z, "refused": str(error)})
            return
        spec = replace(method.spec, rank=ranks)
        network = reparameterize(network, spec, SKIP, "weights", calibration=calibration, joint=method.joint)
        seconds, start = time.perf_counter() - start, time.perf_counter()
        losses = recover(network, self.teacher, self.unlabelled, steps) if steps else []
        recovered = time.perf_counter() - start
        with TemporaryDirectory() as folder:
            save(network, folder)
            size = (Path(folder) / "model.safetensors").stat().st_size
        counted, plain = report(network), factorize(network).eval()
        figures = {
            "method": name, "z": z, "z_is": counted.z, "steps": steps, "bytes": size,
            "factored_bytes": 4 * sum(p.numel() for p in plain.parameters()), "fit_seconds": seconds,
            "recovery_seconds": recovered, "losses": [losses[0], losses[-1]] if losses else [],
            **self.scores(plain), **self.times(plain),
        }  # fmt: skip
        self.keep("rows", figures)

    def vocabulary(self) -> None:
        """Compress nothing but the vocabulary, to a half and a quarter of its entries."""
        table = self.teacher.get_input_embeddings()
        for name, spec in VOCABULARY.items():
            for share in (50, 25):
                layer = nn.Embedding(*table.weight.shape, _weight=table.weight.detach().clone())
                ranked = replace(spec, rank=ranks_for(layer, spec, z=share))
                layer = reparameterize(layer, ranked, init="weights")
                network = self.load().eval()
                network.set_input_embeddings(layer)
                counted = report(layer)
                test = self.embed(network, self.test[0])
                cosine = float((test * self.target).sum(1).mean())
                modes = layer.spectral.manifold.shape
                self.keep("vocabulary", {
                    "method": name, "z": share, "z_is": counted.z, "error": layer.spectral.fit_error, "cosine": cosine,
                    "row_modes": modes.row_modes, "column_modes": modes.column_modes, "ranks": modes.ranks,
                })  # fmt: skip

    def keep(self, table: str, row: dict[str, Any]) -> None:
        self.record[table].append(row)
        RESULTS.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        if not self.quiet:
            print(
                {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )


def unpadded(network: nn.Module) -> nn.Module:
    """Let the row of the padding be one as any other: its vector is that of the weight."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.padding_idx = None
    return network
