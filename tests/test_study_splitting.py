"""Held-out and thinned images keep the classes' shares."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttp.study.data import Images
from sttp.study.tasks.images import hold_out, thin_out

NAMES = ("cat", "dog", "eel", "fox", "gnu")


def images_of(sizes, seed=0):
    """Images of classes of these sizes in a random order, each with its own number in its pixels."""
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    numbers = torch.arange(len(labels), dtype=torch.int32).view(torch.uint8).reshape(-1, 1, 2, 2)
    return Images(numbers, labels)


def numbers(images):
    return images.images.reshape(-1, 4).contiguous().view(torch.int32).flatten().tolist()


@given(st.lists(st.integers(2, 60), min_size=1, max_size=5), st.integers(0, 3))
def test_a_tenth_of_every_class_is_held_out_and_at_least_one(sizes, seed):
    whole = images_of(sizes, seed)
    training, held = hold_out(whole, NAMES)
    assert sorted(numbers(training) + numbers(held)) == list(range(len(whole)))
    for label, size in enumerate(sizes):
        assert (held.labels == label).sum() == max(1, round(size / 10))


@given(st.lists(st.integers(20, 60), min_size=1, max_size=4), st.floats(0.2, 1), st.integers(0, 3))
def test_thinned_images_are_the_first_of_every_class_in_its_share(sizes, share, seed):
    whole = images_of(sizes, seed)
    count = round(share * len(whole))
    part = thin_out(whole, count)
    assert len(part) == count
    assert numbers(part) == sorted(numbers(part))
    for label, size in enumerate(sizes):
        taken = part.images[part.labels == label]
        assert torch.equal(taken, whole.images[whole.labels == label][: len(taken)])
        assert abs(len(taken) - count * size / len(whole)) <= 1


def test_too_many_and_too_few_images_are_refused():
    whole = images_of([10, 10])
    assert numbers(thin_out(whole, 20)) == list(range(20))
    with pytest.raises(ValueError, match=r"images must be at most 20, .* got 21"):
        thin_out(whole, 21)
    with pytest.raises(ValueError, match=r"^here must have two training images of each class.*got one of 'dog'"):
        hold_out(images_of([10, 1]), NAMES, "here")


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.integers(0, 3))
def test_the_least_number_that_is_asked_for_is_the_least_that_will_do(sizes, seed):
    whole = images_of(sizes, seed)
    with pytest.raises(ValueError, match="give at least") as caught:
        thin_out(whole, 1)
    least = int(str(caught.value).rsplit(" ", 1)[1])
    assert torch.bincount(thin_out(whole, least).labels, minlength=len(sizes)).min() >= 2
    with pytest.raises(ValueError, match=f"give at least {least}"):
        thin_out(whole, least - 1)
