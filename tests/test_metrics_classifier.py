"""The classifier that generated images are scored by, on the bundled digits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sttp.study.data import Images, from_symmetric, load
from sttp.study.metrics import (
    CLASSIFIER_FRECHET_DISTANCE,
    CLASSIFIER_KERNEL_DISTANCE,
    CLASSIFIER_SCORE,
    ClassifierOptions,
    classifier_scores,
    feature_classifier,
    features,
)

SHORT = ClassifierOptions(epochs=1, steps=3)
FEW = Images(
    torch.randint(256, (7, 3, 13, 13), generator=torch.Generator().manual_seed(0), dtype=torch.uint8),
    torch.tensor([0, 1, 0, 1, 0, 1, 2]),
)


@pytest.fixture(scope="module")
def digits():
    return load("digits", cache=None)


@pytest.fixture(scope="module")
def classifier(digits):
    return feature_classifier(digits.training, options=ClassifierOptions(epochs=1, steps=80))


def test_the_classifier_learns_the_digits(classifier, digits):
    assert classifier.accuracy(digits.test) > 0.95
    seen = classifier.see(digits.test.images)
    assert seen.features.shape == (len(digits.test), 128)
    assert seen.probabilities.shape == (len(digits.test), 10)
    torch.testing.assert_close(seen.probabilities.sum(dim=1), torch.ones(len(digits.test)))


def test_what_is_seen_in_an_image_does_not_depend_on_the_others(classifier, digits):
    images = digits.test.images
    seen, alone = classifier.see(images), classifier.see(images[7:8])
    torch.testing.assert_close(seen.features[7:8], alone.features, rtol=1e-4, atol=1e-5)


def test_scores_tell_images_of_the_data_set_from_one_class_and_from_noise(classifier, digits):
    real = digits.training.images
    noise = torch.randint(256, digits.test.images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    threes = digits.training.images[digits.training.labels == 3]
    good, one_class, bad = (
        classifier_scores(classifier, images, real) for images in (digits.test.images, threes, noise)
    )
    assert good.keys() == {"classifier score", "classifier Fréchet distance", "classifier kernel distance"}
    assert good[CLASSIFIER_SCORE] > 7
    assert one_class[CLASSIFIER_SCORE] < 2
    for name in (CLASSIFIER_FRECHET_DISTANCE, CLASSIFIER_KERNEL_DISTANCE):
        assert good[name] < 0.1 * one_class[name]
        assert good[name] < 0.1 * bad[name]


def test_scores_depend_on_the_seed_alone_and_take_what_was_seen(classifier, digits):
    generated, real = digits.test.images[:200], digits.training.images[:300]
    torch.manual_seed(0)
    scores = classifier_scores(classifier, generated, real, seed=3)
    torch.manual_seed(1)
    assert classifier_scores(classifier, generated, classifier.see(real), seed=3) == scores
    assert classifier_scores(classifier, generated, real, seed=4) != scores


# --- training and cache ---------------------------------------------------------------------------------------------


def made(images, options=SHORT, classes=None, cache=None):
    """What a classifier of images sees in them."""
    return feature_classifier(images, classes, options, cache=cache).see(images.images)


@pytest.fixture
def trained(monkeypatch):
    """A list that grows by one whenever a classifier is trained."""
    calls, train = [], features._train

    def counted(*arguments):
        calls.append(arguments)
        train(*arguments)

    monkeypatch.setattr(features, "_train", counted)
    return calls


def test_equal_seeds_make_equal_classifiers_and_torchs_generator_is_left_alone():
    torch.manual_seed(0)
    first = made(FEW)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(made(FEW).features, first.features)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(made(FEW, ClassifierOptions(seed=1, epochs=1, steps=3)).features, first.features)
    assert first.probabilities.shape == (7, 3)  # of colour images of an odd size, fewer than a batch has


def test_a_cached_classifier_is_not_trained_again_and_is_the_same(trained, tmp_path):
    cache = tmp_path / "new"
    first, second = made(FEW, cache=cache), made(FEW, cache=cache)
    assert len(trained) == 1
    assert torch.equal(first.features, second.features)
    (path,) = cache.glob("*.safetensors")
    # Whatever decides a classifier makes another one.
    changed = FEW.images.clone()
    changed[0, 0, 0, 0] += 1
    made(Images(changed, FEW.labels), cache=cache)
    made(Images(FEW.images, FEW.labels.flip(0)), cache=cache)
    made(FEW, ClassifierOptions(seed=1, epochs=1, steps=3), cache=cache)
    made(FEW, classes=11, cache=cache)
    assert len(trained) == len(list(cache.glob("*.safetensors"))) == 5
    # A damaged file is made anew.
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(made(FEW, cache=cache).features, first.features)
    assert len(trained) == 6
    assert path.read_bytes() == whole


def test_of_several_that_want_one_classifier_one_trains_and_the_others_wait(trained, tmp_path):
    waiting = threading.Barrier(3)

    def wanted(_):
        waiting.wait()
        return made(FEW, cache=tmp_path)

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(wanted, range(3))
    assert len(trained) == 1
    assert all(torch.equal(first.features, other.features) for other in others)


def test_nothing_is_left_behind_where_training_fails(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(FEW, cache=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


# --- bad input ------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused(classifier, digits):
    images = digits.test.images
    with pytest.raises(
        TypeError, match=r"images must be uint8, got torch.float32; sttp.study.data.from_symmetric makes"
    ):
        classifier.see(images.float())
    with pytest.raises(
        ValueError, match=r"images must have shape \(n, 1, H, W\) with n of at least 1, got \(4, 3, 8, 8"
    ):
        classifier.see(images[:4].expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match=r"images must have shape .* got \(0, 1, 8, 8\)"):
        classifier.see(images[:0])
    with pytest.raises(ValueError, match="classes must be above the largest label, 9, got 5"):
        feature_classifier(digits.training, classes=5)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        ClassifierOptions(steps=0)
    with pytest.raises(ValueError, match="learning_rate must be finite and above 0"):
        ClassifierOptions(learning_rate=0)


def test_generated_images_are_rounded_for_the_classifier(classifier):
    images = torch.linspace(-1, 1, 10 * 64).reshape(10, 1, 8, 8)
    assert classifier.see(from_symmetric(images)).features.isfinite().all()
