"""What compression costs a real sentence encoder: embeddings of held-out glosses, a linear probe, size and time.

``python -m benchmarks minilm --model DIR --data DIR`` needs the folder of a BERT-like encoder and one with
``train.parquet``, ``validation.parquet`` and ``test.parquet``, columns ``gloss`` and ``label``, which are not here.
The probe is fitted anew to each network's own embeddings. Figures are kept after each network, and a run that was
interrupted goes on where it stopped. Times are taken last, of all networks in turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from sttp.layers import STTP, SVDP, Householder, Specification, factorize, ranks_for, reparameterize, report, save
from sttp.study.pretrained.recovery import recover

from .harness import RESULTS, machine

JOINT = ("*.self.*",)
SKIP = ("embeddings.token_type_embeddings",)
LONGEST = 48
PENALTIES = (3.0, 30.0)
COLORS = ("tab:gray", "tab:blue", "tab:olive", "tab:red", "tab:cyan")


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
}
RECOVERED = ("whitened svd", "calibrated sttp")
VOCABULARY = {"svd": SVDP(1), "sttp, prime modes": STTP(1), "sttp, auto modes": STTP(1, modes="auto")}


@dataclass(frozen=True)
class Size:
    """How much is measured: numbers of glosses, budgets in percent, budgets after recovery, its steps, seeds."""

    test: int
    train: int
    validation: int
    calibration: int
    z: tuple[float, ...]
    recovered: tuple[float, ...]
    steps: int
    seeds: int


QUICK = Size(200, 400, 200, 32, (40,), (40,), 2, 1)
WHOLE = Size(5000, 10000, 2000, 1024, (10, 20, 40, 80), (20, 40), 200, 3)


def run(device: torch.device, as_json: bool, quick: bool, *, model: str, data: str) -> None:
    """Measure, print, and keep the figures."""
    size = QUICK if quick else WHOLE
    bench = Bench(Path(model), Path(data), device, size, as_json, "-quick" if quick else "")
    bench.once("rows", {"method": "dense"}, bench.dense)
    for name in VOCABULARY:
        for z in (50, 25):
            bench.once("vocabulary", {"method": name, "z": z}, bench.vocabulary)
    for z in sorted(size.z, key=lambda z: (z not in size.recovered, z)):
        for name in METHODS:
            bench.once("rows", {"method": name, "z": z, "steps": 0, "seed": 0}, bench.row)
    for z in size.recovered:
        for name in RECOVERED:
            bench.once("rows", {"method": name, "z": z, "steps": size.steps, "seed": 0}, bench.row)
    for seed in range(1, size.seeds):
        for name in [name for name, method in METHODS.items() if method.calibrated]:
            bench.once("rows", {"method": name, "z": size.recovered[0], "steps": 0, "seed": seed}, bench.row)
    bench.times()
    bench.draw()
    if as_json:
        print(json.dumps(bench.record, indent=1))
    else:
        bench.print()


class Bench:
    """The encoder, the glosses, and what was measured by now."""

    def __init__(self, model: Path, data: Path, device: torch.device, size: Size, quiet: bool, suffix: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.size, self.device, self.quiet = size, device, quiet
        self.path = RESULTS / f"minilm{suffix}-{device.type}.json"
        self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        self.load: Callable[[], nn.Module] = lambda: unpadded(
            AutoModel.from_pretrained(model, local_files_only=True, add_pooling_layer=False, dtype=torch.float32)
        ).to(device)
        splits = {split: pd.read_parquet(data / f"{split}.parquet") for split in ("train", "validation", "test")}
        self.texts = {split: table["gloss"].tolist()[: getattr(size, split)] for split, table in splits.items()}
        self.labels = {split: table["label"].to_numpy()[: getattr(size, split)] for split, table in splits.items()}
        self.unseen = splits["train"]["gloss"].tolist()[size.train :]
        self.teacher = self.load().eval()
        self.target = self.embed(self.teacher, self.texts["test"])
        self.ranks: dict[tuple[str, int], dict[float, Any]] = {}
        settings = json.loads(json.dumps({**vars(size), "longest": LONGEST, "penalties": PENALTIES}))
        self.record: dict[str, Any] = {"benchmark": "minilm", "settings": settings, "rows": [], "vocabulary": []}
        if self.path.exists() and (kept := json.loads(self.path.read_text(encoding="utf-8")))["settings"] == settings:
            self.record = kept
        self.record["machine"] = machine(device)

    def once(self, table: str, key: Mapping[str, Any], measure: Callable[..., dict[str, Any]]) -> None:
        """Measure what is not there yet, and keep it."""
        if any(key.items() <= row.items() for row in self.record[table]):
            return
        row = {**key, **measure(**key)}
        self.record[table].append(row)
        self.keep()
        if not self.quiet:
            shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
            print({name: value for name, value in shown.items() if name != "ranks"}, flush=True)

    def keep(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)

    def batches(self, texts: list[str], size: int) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(texts), size):
            given = self.tokenizer(
                texts[start : start + size], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            yield {name: given[name].to(self.device) for name in ("input_ids", "attention_mask")}

    @torch.no_grad()
    def embed(self, network: nn.Module, texts: list[str]) -> Tensor:
        """Return the sentence embeddings: the mean over the words, of unit length."""
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        parts = []
        for batch in self.batches([texts[k] for k in order], 128):
            states, mask = network(**batch).last_hidden_state, batch["attention_mask"][..., None]
            parts.append(nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).cpu())
        result = torch.empty_like(torch.cat(parts))
        result[order] = torch.cat(parts)
        return result

    def cosine(self, embeddings: Tensor) -> dict[str, float]:
        """Return the mean cosine to the dense network's embeddings of the test glosses, and its standard error."""
        cosines = (embeddings * self.target).sum(1)
        return {"cosine": float(cosines.mean()), "cosine_error": float(cosines.std()) / len(cosines) ** 0.5}

    def probe(self, network: nn.Module, test: Tensor) -> dict[str, float]:
        """Fit a linear probe of the labels, choose its penalty on validation, and return its accuracy on test."""
        train, validation = (self.embed(network, self.texts[split]).numpy() for split in ("train", "validation"))
        probes = [
            LogisticRegression(C=penalty, max_iter=200, tol=1e-3).fit(train, self.labels["train"])
            for penalty in PENALTIES
        ]
        best = max(probes, key=lambda probe: probe.score(validation, self.labels["validation"]))
        accuracy = float(best.score(test.numpy(), self.labels["test"]))
        error = (accuracy * (1 - accuracy) / len(test)) ** 0.5
        return {"probe": accuracy, "probe_error": error, "penalty": best.C}

    def dense(self, method: str) -> dict[str, Any]:
        size = 4 * sum(p.numel() for p in self.teacher.parameters())
        return {"z_is": 100.0, "bytes": size, "cosine": 1.0, **self.probe(self.teacher, self.target)}

    def row(self, method: str, z: float, steps: int, seed: int) -> dict[str, Any]:
        way, network, start = METHODS[method], self.load().eval(), time.perf_counter()
        calibration = self.calibration(seed) if way.calibrated else None
        if (method, seed) not in self.ranks:
            found = ranks_for(network, way.spec, z=self.size.z, skip=SKIP, calibration=calibration, joint=way.joint)
            self.ranks[method, seed] = dict(zip(self.size.z, found, strict=True))
        ranks = self.ranks[method, seed][z]
        chosen = time.perf_counter()
        spec = replace(way.spec, rank=ranks)
        reparameterize(network, spec, SKIP, "weights", calibration=calibration, joint=way.joint)
        fitted = time.perf_counter()
        losses = self.recover(network, steps) if steps else []
        recovered = time.perf_counter()
        counted, plain = report(network), factorize(network).eval()
        test = self.embed(plain, self.texts["test"])
        return {
            "z_is": counted.z,
            "bytes": self.stored(way, ranks),
            "factored_bytes": 4 * sum(p.numel() for p in plain.parameters()),
            "ranks_seconds": chosen - start,  # for all budgets at once
            "fit_seconds": fitted - chosen,
            "recovery_seconds": recovered - fitted,
            "losses": [losses[0], losses[-1]] if losses else [],
            **self.cosine(test),
            **({} if seed else self.probe(plain, test)),
            "ranks": dict(ranks),
        }

    def stored(self, way: Method, ranks: Mapping[str, Any]) -> int:
        """Return the size of the file of a network of these ranks, in the chart without redundant numbers."""
        spec = replace(way.spec, rank=ranks, frames=Householder(redundant=False))
        with TemporaryDirectory() as folder:
            save(reparameterize(self.load(), spec, SKIP, joint=way.joint), folder)
            return (Path(folder) / "model.safetensors").stat().st_size

    def calibration(self, seed: int) -> list[dict[str, Tensor]]:
        """Return batches of glosses of equal length: what pads others would count in the metric as words do."""
        lengths: dict[int, list[str]] = {}
        for text, tokens in zip(
            texts := self.sample(self.size.calibration, seed), self.tokenizer(texts)["input_ids"], strict=True
        ):
            lengths.setdefault(min(len(tokens), LONGEST), []).append(text)
        return [batch for texts in lengths.values() for batch in self.batches(texts, 32)]

    def sample(self, count: int, seed: int) -> list[str]:
        """Return training glosses which the probe does not see."""
        chosen = np.random.default_rng(seed).choice(len(self.unseen), count, replace=False)
        return [self.unseen[k] for k in chosen]

    def recover(self, network: nn.Module, steps: int) -> list[float]:
        return recover(network, self.teacher, self.batches(self.sample(32 * steps, 100), 32), steps)

    def vocabulary(self, method: str, z: float) -> dict[str, Any]:
        """Compress nothing but the vocabulary."""
        table, spec = self.teacher.get_input_embeddings(), VOCABULARY[method]
        layer = nn.Embedding(*table.weight.shape, _weight=table.weight.detach().clone())
        layer = reparameterize(layer, replace(spec, rank=ranks_for(layer, spec, z=z)), init="weights")
        network = self.load().eval()
        network.set_input_embeddings(layer)
        test, modes = self.embed(network, self.texts["test"]), layer.spectral.manifold.shape
        return {
            "z_is": report(layer).z,
            "error": layer.spectral.fit_error,
            **self.cosine(test),
            "row_modes": modes.row_modes,
            "column_modes": modes.column_modes,
            "ranks": modes.ranks,
        }

    @torch.no_grad()
    def times(self) -> None:
        """Time the encoding of 1 and 64 glosses by all networks in turns: milliseconds, median and quartiles.

        A network's time depends on its ranks alone, so each is built anew at those, with fresh weights.
        """
        networks: dict[int, nn.Module] = {}
        for k, row in enumerate(self.record["rows"]):
            if "ranks" in row and not row["steps"] and not row["seed"]:
                way, ranks = METHODS[row["method"]], {name: tuple_of(rank) for name, rank in row["ranks"].items()}
                network = reparameterize(self.load(), replace(way.spec, rank=ranks), SKIP, joint=way.joint)
                networks[k] = factorize(network).eval()
            elif row["method"] == "dense":
                networks[k] = self.teacher
        for count, rounds in ((1, 15), (64, 5)):
            batch = next(self.batches(self.texts["test"], count))
            found: dict[int, list[float]] = {k: [] for k in networks}
            for turn in range(-1, rounds):
                for k, network in networks.items():
                    start = time.perf_counter()
                    network(**batch)
                    if turn >= 0:
                        found[k].append(1e3 * (time.perf_counter() - start))
            for k, values in found.items():
                self.record["rows"][k][f"milliseconds_{count}"] = np.quantile(values, [0.5, 0.25, 0.75]).tolist()
        self.record["machine"] = machine(self.device)
        self.keep()

    def draw(self) -> None:
        """Draw what remains of the embeddings and of the probe's accuracy against Z."""
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        panels = figure.subplots(1, 2)
        dense = next(row for row in self.record["rows"] if row["method"] == "dense")
        for axes, measure, factor, title in (
            (panels[0], "cosine", 1, "mean cosine to the dense network's embeddings"),
            (panels[1], "probe", 100, "accuracy of a linear probe, %"),
        ):
            for color, name in zip(COLORS, METHODS, strict=True):
                for steps, style in ((0, "o-"), (self.size.steps, "*:")):
                    rows = [
                        row
                        for row in self.record["rows"]
                        if (row["method"], row.get("steps"), row.get("seed")) == (name, steps, 0) and measure in row
                    ]
                    rows.sort(key=lambda row: row["z_is"])
                    label = name if not steps else f"{name}, {steps} steps after"
                    if rows:
                        axes.errorbar(
                            [row["z_is"] for row in rows],
                            [factor * row[measure] for row in rows],
                            [1.96 * factor * row[f"{measure}_error"] for row in rows],
                            fmt=style, color=color, label=label, markersize=10 if steps else 5, capsize=2,
                        )  # fmt: skip
            axes.axhline(factor * dense[measure], color="black", linewidth=1, linestyle="--", label="dense")
            axes.set(xlabel="Z, %", title=title, xlim=(0, None), ylim=(0, None))
            axes.title.set_size("medium")
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
        figure.savefig(self.path.with_suffix(".png"), dpi=120)

    def print(self) -> None:
        table = Table("method", "Z, %", "steps", "cosine", "probe, %", "MB", "1, ms", "64, ms")
        for row in self.record["rows"]:
            if row.get("seed") or "refused" in row:
                continue
            ones, many = (f"{row.get(f'milliseconds_{count}', [float('nan')])[0]:.1f}" for count in (1, 64))
            table.add_row(
                row["method"], f"{row['z_is']:.1f}", str(row.get("steps", 0)), f"{row['cosine']:.3f}",
                f"{100 * row['probe']:.1f}", f"{row['bytes'] / 1e6:.1f}", ones, many,
            )  # fmt: skip
        Console().print(table)


def tuple_of(rank: int | list[int]) -> int | tuple[int, ...]:
    return rank if isinstance(rank, int) else tuple(rank)


def unpadded(network: nn.Module) -> nn.Module:
    """Let the row of the padding be one as any other: its vector is that of the weight."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.padding_idx = None
    return network
