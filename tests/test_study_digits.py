"""The task `digits`: its data, split, batches and network."""

import hashlib
from collections import Counter
from itertools import islice

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from sttp.study import NETWORKS, TASKS
from sttp.study.data.digits import digits_splits, split_indices
from sttp.study.networks.digits import digits

TASK = TASKS["digits"]


def test_the_split_is_disjoint_complete_stratified_and_fixed():
    labels = load_digits().target
    splits = split_indices(labels)
    assert {name: len(indices) for name, indices in splits.items()} == {"training": 960, "validation": 418, "test": 419}
    everything = sorted(index for indices in splits.values() for index in indices)
    assert everything == list(range(1797))
    for indices in splits.values():
        for digit in range(10):
            share = (labels[indices] == digit).mean() / (labels == digit).mean()
            assert 0.98 < share < 1.02
    digest = hashlib.sha256(b"".join(splits[name].tobytes() for name in ("training", "validation", "test")))
    assert digest.hexdigest()[:16] == "ec4a551b86393463"


def test_images_are_those_of_scikit_learn():
    images = torch.cat([examples.images for examples in digits_splits().values()])
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    assert images.double().sum().item() * 16 == load_digits().images.sum()


def test_batches_depend_on_the_seed_alone_and_make_whole_epochs():
    torch.manual_seed(1)
    first = list(islice(TASK.batches(7, 64), 30))
    torch.manual_seed(2)
    second = list(islice(TASK.batches(7, 64), 30))
    assert all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(first, second, strict=True)
    )
    other = next(TASK.batches(8, 64))
    assert not torch.equal(first[0].images, other.images)
    # Two epochs of 15 batches: each has every training scan once, in another order.
    whole = digits_splits()["training"].images
    for epoch in (first[:15], first[15:]):
        assert Counter(scans(torch.cat([batch.images for batch in epoch]))) == Counter(scans(whole))
    assert not torch.equal(first[0].images, first[15].images)


def scans(images):
    return [image.numpy().tobytes() for image in images]


def test_an_incomplete_batch_is_left_out():
    assert {len(batch.labels) for batch in islice(TASK.batches(0, 50), 40)} == {50}


class Oracle(nn.Module):
    """Knows the labels of some images and says 0 for all others."""

    def __init__(self, examples, known):
        super().__init__()
        self.answers = {image.numpy().tobytes(): int(label) for image, label in zip(*examples, strict=True)}
        self.known = known

    def forward(self, images):
        answers = [self.answers[image.numpy().tobytes()] if self.known else 0 for image in images]
        return 10.0 * nn.functional.one_hot(torch.tensor(answers), 10)


def test_the_score_is_the_share_of_right_answers():
    examples = digits_splits()["validation"]
    network = Oracle(examples, known=True).train()
    assert TASK.evaluate(network, "validation").score == 1
    assert TASK.evaluate(network, "validation").loss == pytest.approx(4.085e-4, rel=1e-3)  # log(1 + 9 exp(−10))
    assert network.training
    zeros = (examples.labels == 0).double().mean().item()
    assert TASK.evaluate(Oracle(examples, known=False), "validation").score == pytest.approx(zeros)


def test_the_network_has_the_parameters_counted_by_hand():
    network = digits()
    # Convolutions 9·1·16 + 16, 9·16·32 + 32, 9·32·32 + 32; norms 2·(16 + 32 + 32); linear 128·10 + 10.
    assert sum(parameter.numel() for parameter in network.parameters()) == 160 + 4640 + 9248 + 160 + 1290
    assert network(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    with torch.device("meta"):
        assert NETWORKS["digits"].build(None).conv1.weight.is_meta


@pytest.mark.parametrize("width", [0, -4, 2.0, True])
def test_a_bad_width_is_refused(width):
    with pytest.raises((TypeError, ValueError), match="base_width must be"):
        digits(width)
