"""A small vision transformer that has learnt transposed digits, to be adapted to upright ones."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.digits import digits_splits
from ...random_streams import seeded

SIDE: Final = 8
CLASSES: Final = 10
STEPS: Final = 400
BATCH: Final = 64
RATE: Final = 2e-3


@final
class Block(nn.Module):
    """Self-attention and two linear layers, each around a residual connection and after a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return states ``(batch, tokens, width)``."""
        normed = self.attention_norm(states)
        query, key, value = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        read = F.scaled_dot_product_attention(query, key, value)
        states = states + self.output(read.transpose(1, 2).flatten(2))
        return states + self.narrow(F.gelu(self.wide(self.norm(states))))


@final
class DigitsTransformer(nn.Module):
    """Classifies images ``(batch, 1, 8, 8)``, whose rows are its tokens, by the mean of its last states.

    Attributes:
        adapted: patterns for the layers that adapters change.
        heads: of the attention.
    """

    adapted: ClassVar[tuple[str, ...]] = ("*.query", "*.value")

    def __init__(self, base_width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.rows = nn.Linear(SIDE, base_width)
        self.places = nn.Parameter(0.02 * torch.randn(SIDE, base_width))
        self.blocks = nn.ModuleList(Block(base_width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(base_width)
        self.head = nn.Linear(base_width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, 10)``."""
        states = self.rows(images.squeeze(1)) + self.places
        for block in self.blocks:
            states = block(states)
        return self.head(self.norm(states).mean(dim=1))


def digits_transformer() -> nn.Module:
    """Return the network as it was trained on transposed digits, which takes some seconds once a process."""
    network = DigitsTransformer()
    if not network.places.is_meta:
        network.load_state_dict(_trained())
    return network


@cache
def _trained() -> dict[str, Tensor]:
    images, labels = digits_splits()["training"]
    with seeded(0):
        network = DigitsTransformer()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
        for _ in range(STEPS):
            chosen = torch.randint(len(labels), (BATCH,))
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen].mT), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return network.state_dict()
