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

SHORT = ClassifierOptions(epochs=1, steps=12)


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


def test_equal_seeds_make_equal_classifiers_and_torchs_generator_is_left_alone(digits):
    torch.manual_seed(0)
    first = feature_classifier(digits.training, options=SHORT).see(digits.test.images[:20])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = feature_classifier(digits.training, options=SHORT).see(digits.test.images[:20])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.features, second.features)
    other = feature_classifier(digits.training, options=ClassifierOptions(seed=1, epochs=1, steps=12))
    assert not torch.equal(other.see(digits.test.images[:20]).features, first.features)


def test_a_cached_classifier_is_not_trained_again_and_is_the_same(digits, tmp_path, monkeypatch):
    trained = []
    train = features._train

    def counted(*arguments):
        trained.append(arguments)
        train(*arguments)

    monkeypatch.setattr(features, "_train", counted)
    looked_at = digits.test.images[:20]

    def made(training=digits.training, options=SHORT, classes=None):
        return feature_classifier(training, classes, options, cache=tmp_path / "new").see(looked_at)

    first, second = made(), made()
    assert len(trained) == 1
    assert torch.equal(first.features, second.features)
    (path,) = (tmp_path / "new").glob("*.safetensors")
    # Whatever decides a classifier makes another one.
    changed = digits.training.images.clone()
    changed[0, 0, 0, 0] += 1
    made(Images(changed, digits.training.labels))
    made(Images(digits.training.images, digits.training.labels.flip(0)))
    made(options=ClassifierOptions(seed=1, epochs=1, steps=12))
    made(classes=11)
    assert len(trained) == len(list((tmp_path / "new").glob("*.safetensors"))) == 5
    # A damaged file is made anew.
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(made().features, first.features)
    assert len(trained) == 6
    assert path.read_bytes() == whole


def test_of_several_that_want_one_classifier_one_trains_and_the_others_wait(digits, tmp_path, monkeypatch):
    train, trained, waiting = features._train, [], threading.Barrier(3)

    def counted(*arguments):
        trained.append(arguments)
        train(*arguments)

    def wanted(_):
        waiting.wait()
        return feature_classifier(digits.training, options=SHORT, cache=tmp_path).see(digits.test.images[:20])

    monkeypatch.setattr(features, "_train", counted)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(wanted, range(3))
    assert len(trained) == 1
    assert all(torch.equal(first.features, other.features) for other in others)


def test_nothing_is_left_behind_where_training_fails(digits, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        feature_classifier(digits.training, options=SHORT, cache=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


def test_small_data_sets_and_colour_images_of_any_size():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (7, 3, 13, 13), generator=generator, dtype=torch.uint8)
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 2])
    classifier = feature_classifier(Images(images, labels), options=SHORT)
    assert classifier.see(images).probabilities.shape == (7, 3)


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
