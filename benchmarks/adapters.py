"""A training step of an encoder with adapters inside PEFT: against PEFT's LoRA of equal rank, and attaching it.

The encoder has the sizes of all-MiniLM-L6-v2 and random weights; batches are 32 × 64 tokens. Peers take turns in one
process, and memory is what a forward keeps for its backward beside the parameters' own bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from sttp.adapters.peft import STTPConfig, SVDPConfig
from sttp.optim import RiemannianAdam

from .harness import Comparison, compare, kept_bytes, publish

RANK = 8
TARGETS = {"query, value": ["query", "value"], "all linear layers": "all-linear"}


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    layers = 2 if quick else 6
    tokens = torch.randint(1000, 30000, (32, 64), device=device)
    rows = [_row(name, targets, tokens, layers, 3 if quick else 15) for name, targets in TARGETS.items()]
    summary = {f"STTP / LoRA, {row.name}": 1 / row.ratios["PEFT's LoRA"].median for row in rows}
    publish("adapters", rows, device, as_json, summary)


def _row(name: str, targets: list[str] | str, tokens: Tensor, layers: int, rounds: int) -> Comparison:
    notes: dict[str, float] = {}
    configs = {
        "STTP": STTPConfig(rank=RANK, target_modules=targets),
        "SVDP": SVDPConfig(rank=RANK, target_modules=targets),
        "PEFT's LoRA": LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets),
    }
    steps = {key: _step(key, config, tokens, layers, notes) for key, config in configs.items()}
    return compare(name, steps.pop("STTP"), steps, tokens.device, rounds, notes)


def _step(key: str, config: PeftConfig, tokens: Tensor, layers: int, notes: dict[str, float]) -> Callable[[], None]:
    """Return a whole step of an adapted encoder; note what attaching took, and what a forward keeps."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": layers}
    encoder = BertModel(BertConfig(vocab_size=30522, **sizes), add_pooling_layer=False).to(tokens.device)
    start = time.perf_counter()
    network: nn.Module = get_peft_model(encoder, config)
    notes[f"{key}: attached in s"] = time.perf_counter() - start
    network.train()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    notes[f"{key}: numbers"] = sum(parameter.numel() for parameter in parameters)
    optimizer = RiemannianAdam(parameters, lr=1e-3) if key != "PEFT's LoRA" else torch.optim.AdamW(parameters, lr=1e-3)

    def loss() -> Tensor:
        found: Tensor = network(input_ids=tokens).last_hidden_state.square().mean()
        return found

    notes[f"{key}: MiB kept"] = kept_bytes(loss) / 2**20

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step
