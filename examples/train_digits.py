"""Train a convolutional network on handwritten digits with a tenth of its parameters, in a loop of your own.

Two lines differ from plain PyTorch: `reparameterize`, and the optimizer. Run: python examples/train_digits.py
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from sttp.layers import STTP, CompressionReport, Riemannian, rank_for, reparameterize, report
from sttp.optim import RiemannianAdam


@dataclass(frozen=True)
class Result:
    """Accuracy on held-out digits, and the compression that it was reached with."""

    accuracy: float
    compression: CompressionReport


def digits(seed: int) -> list[Tensor]:
    """Return training images, held-out images, training labels, held-out labels of 1,797 scans of 8 x 8 pixels."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=seed)
    return [torch.from_numpy(part) for part in parts]


def convolutional_network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def run(width: int = 32, budget: float = 10.0, epochs: int = 10, wanted: float = 0.93, seed: int = 0) -> Result:
    """Train with at most ``budget`` percent of the parameters, and check the accuracy on held-out digits."""
    torch.manual_seed(seed)
    images, held_out_images, labels, held_out_labels = digits(seed)
    network = convolutional_network(width)
    frames = Riemannian(redundant=False)  # as many parameters as degrees of freedom
    rank = rank_for(network, budget, STTP(rank=1, frames=frames))
    network = reparameterize(network, STTP(rank, frames))

    optimizer = RiemannianAdam(network.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        scheduler.step()

    with torch.no_grad():
        accuracy = float((network(held_out_images).argmax(dim=1) == held_out_labels).float().mean())
    if accuracy < wanted:
        raise RuntimeError(f"the accuracy on held-out digits is {accuracy:.3f}, wanted {wanted}; train longer")
    return Result(accuracy, report(network))


if __name__ == "__main__":
    result = run()
    print(result.compression)
    print(f"accuracy on held-out digits: {result.accuracy:.3f}")
