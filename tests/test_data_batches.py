"""Batches, augmentation and normalization."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from sttp.study.data import Images, Normalization, augment, batches, flip, from_symmetric, pad_and_crop, to_symmetric


def numbered(count, channels=1, size=8):
    """Return random images whose label is their number."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return Images(images, torch.arange(count))


def taken(images, batch_size, count, seed=3, **options):
    return list(islice(batches(images, batch_size, seed, **options), count))


def same(one, two):
    return len(one) == len(two) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(one, two, strict=True)
    )


def test_each_epoch_is_another_permutation_without_the_incomplete_batch():
    images = numbered(23)
    found = taken(images, 5, 12)
    assert {len(batch.labels) for batch in found} == {5}
    epochs = [torch.cat([batch.labels for batch in found[k : k + 4]]).tolist() for k in (0, 4, 8)]
    assert all(max(Counter(epoch).values()) == 1 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    for batch in found:
        assert torch.equal(batch.images, images.images[batch.labels])
    # Over many epochs everyone is left out at times.
    assert len(set(torch.cat([batch.labels for batch in taken(images, 5, 80)]).tolist())) == 23
    assert len(torch.cat([batch.labels for batch in taken(images, 23, 1)]).unique()) == 23


def test_batches_depend_on_the_seed_alone():
    images = numbered(30)
    torch.manual_seed(0)
    first = taken(images, 4, 20, augmentation=augment)
    torch.manual_seed(1)
    assert same(first, taken(images, 4, 20, augmentation=augment))
    assert not same(first, taken(images, 4, 20, augmentation=augment, seed=4))
    orders = [[batch.labels.tolist() for batch in taken(images, 4, 20, seed=seed)] for seed in (3, 4)]
    assert orders[0] != orders[1]
    alike = Images(images.images[:1].expand(30, -1, -1, -1), images.labels * 0)  # which have no order
    assert not same(*(taken(alike, 4, 20, augmentation=augment, seed=seed) for seed in (3, 4)))


@pytest.mark.parametrize("augmentation", [None, augment])
@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 15])
def test_batches_go_on_from_any_position(augmentation, start):
    images = numbered(30)
    whole = taken(images, 4, 20, augmentation=augmentation)
    assert same(whole[start:], taken(images, 4, 20 - start, augmentation=augmentation, start=start))


def test_bad_batches_are_refused():
    images = numbered(10)
    for options, words in (
        ({"batch_size": 11}, "batch_size must be at most 10, the number of images, got 11"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 4, "start": -1}, "start must be at least 0"),
    ):
        with pytest.raises(ValueError, match=words):
            batches(images, seed=0, **options)


def test_an_image_is_cropped_out_of_itself_and_every_move_is_as_likely():
    count, padding = 5_000, 2
    image = numbered(1, channels=3, size=6).images[0]
    padded = np.pad(image.numpy(), ((0, 0), (padding, padding), (padding, padding)))
    crops = {
        padded[:, down : down + 6, right : right + 6].tobytes(): (down, right)
        for down in range(5)
        for right in range(5)
    }
    assert len(crops) == 25
    moved = pad_and_crop(image.expand(count, 3, 6, 6), padding, torch.Generator().manual_seed(0))
    assert moved.is_contiguous()
    seen = Counter(crops[each.numpy().tobytes()] for each in moved)  # a KeyError is no crop
    assert len(seen) == 25
    # 25 counts of mean 200: the sum of squared deviations has 24 degrees of freedom; 52 is its quantile of 0.999.
    assert sum((number - count / 25) ** 2 / (count / 25) for number in seen.values()) < 52
    assert torch.equal(pad_and_crop(moved, 0, torch.Generator()), moved)
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        pad_and_crop(moved, -1, torch.Generator())


def test_half_of_the_images_are_flipped():
    images = numbered(2_000, channels=3, size=6).images
    flipped = flip(images, torch.Generator().manual_seed(0))
    as_they_were = (flipped == images).all((1, 2, 3))
    mirrored = torch.from_numpy(
        np.array([np.fliplr(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images.numpy()])
    )
    assert ((flipped == mirrored).all((1, 2, 3)) ^ as_they_were).all()
    assert 900 < as_they_were.sum() < 1_100


def test_augmentation_moves_by_an_eighth_and_flips():
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[..., 8, 4] = 255
    changed = augment(image.expand(1_000, -1, -1, -1), torch.Generator().manual_seed(0))
    rows, columns = (set(changed[:, 0].nonzero()[:, axis].tolist()) for axis in (1, 2))
    assert rows == {6, 7, 8, 9, 10}
    assert columns == {2, 3, 4, 5, 6} | {9, 10, 11, 12, 13}
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_augmentation_depends_on_the_generator_alone():
    images = numbered(64, size=32).images
    one, two, three = (augment(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert one.dtype == torch.uint8
    assert one.shape == images.shape


def test_numbers_between_minus_one_and_one_come_back():
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    numbers = to_symmetric(shades)
    assert (numbers.min(), numbers.max()) == (-1, 1)
    assert numbers.dtype == torch.float32
    assert torch.equal(from_symmetric(numbers), shades)
    assert torch.equal(from_symmetric(torch.tensor([-7.0, 7.0])), torch.tensor([0, 255], dtype=torch.uint8))
    assert to_symmetric(shades, torch.float64).dtype == torch.float64


def test_normalized_images_have_mean_0_and_deviation_1():
    images = numbered(1_501, channels=3, size=6).images // torch.tensor([1, 2, 3], dtype=torch.uint8).reshape(3, 1, 1)
    normalization = Normalization.of(images, torch.float64).to("cpu")
    assert np.allclose(normalization.mean.flatten(), images.numpy().mean((0, 2, 3)), rtol=1e-13)
    assert np.allclose(normalization.deviation.flatten(), images.numpy().std((0, 2, 3)), rtol=1e-12)
    numbers = normalization(images)
    assert numbers.dtype == torch.float64
    assert numbers.mean((0, 2, 3)).abs().max() < 1e-12
    assert (numbers.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-12
    assert Normalization.of(images)(images).dtype == torch.float32


def test_the_normalization_of_much_data_does_not_overflow_and_of_constant_data_is_finite():
    white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    half = torch.cat([white, torch.zeros_like(white)]).expand(2, 1, 1024, 1024).repeat(10, 1, 1, 1)
    normalization = Normalization.of(half)
    assert normalization.mean.item() == normalization.deviation.item() == 127.5
    assert Normalization.of(white)(white).item() == 0
