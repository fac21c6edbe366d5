"""Compress a trained network: swap its layers, fine-tune, and get plain torch.nn layers back.

`init="weights"` starts from the trained weights by TT-SVD. That costs accuracy, which a short training on the manifold
of such weights wins back. Run: python examples/compress_pretrained.py
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from sttp.layers import STTP, Riemannian, decompress, reparameterize, report
from sttp.optim import RiemannianAdam


@dataclass(frozen=True)
class Result:
    """Accuracy on held-out digits, dense, cut to low rank and fine-tuned, and the percentage of parameters left."""

    dense: float
    cut: float
    tuned: float
    percent: float


def digits(seed: int) -> list[Tensor]:
    """Return training images, held-out images, training labels and held-out labels of 1,797 scans of 64 pixels."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16).astype("float32"), labels, test_size=0.25, stratify=labels, random_state=seed
    )
    return [torch.from_numpy(part) for part in parts]


def train(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, epochs: int) -> None:
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        scheduler.step()


def run(width: int = 256, rank: int = 16, epochs: int = 10, tolerance: float = 0.03, seed: int = 0) -> Result:
    """Train dense, compress, fine-tune, decompress; check that the accuracy comes back and that outputs stay equal."""
    torch.manual_seed(seed)
    images, held_out_images, labels, held_out_labels = digits(seed)

    def accuracy(network: nn.Module) -> float:
        return float((network(held_out_images).argmax(dim=1) == held_out_labels).float().mean())

    network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    train(network, torch.optim.Adam(network.parameters(), lr=2e-3), images, labels, epochs)
    dense = accuracy(network)

    network = reparameterize(network, STTP(rank, Riemannian(redundant=False)), init="weights")
    cut = accuracy(network)
    train(network, RiemannianAdam(network.parameters(), lr=5e-3), images, labels, epochs)
    tuned = accuracy(network)

    plain = decompress(network)  # torch.nn.Linear layers again: to use them, nothing of this package is needed
    with torch.no_grad():
        difference = float((plain(held_out_images) - network(held_out_images)).abs().max())
    if not (cut < tuned and tuned > dense - tolerance and difference < 1e-4):
        history = f"{dense:.3f} fell to {cut:.3f} and came back to {tuned:.3f}"
        raise RuntimeError(f"accuracy {history}, outputs differ by {difference:.1e}; train longer")
    return Result(dense, cut, tuned, report(network).z)


if __name__ == "__main__":
    result = run()
    print("accuracy on held-out digits")
    print(f"  as trained                         {result.dense:.3f}")
    print(f"  cut to {result.percent:4.1f} % of the parameters  {result.cut:.3f}")
    print(f"  fine-tuned at that size            {result.tuned:.3f}")
