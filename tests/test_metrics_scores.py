"""Scores on features against scipy, numpy, closed forms and loops."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from sttp.study.metrics import GaussianStatistics, frechet_distance, inception_score, kernel_distance


def features(number, dimension, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    drawn = torch.randn(number, dimension, generator=generator, dtype=torch.float64)
    return (drawn @ mixing + torch.randn(dimension, generator=generator, dtype=torch.float64)).to(dtype)


def gaussian(mean, covariance):
    return GaussianStatistics(torch.as_tensor(mean).double(), torch.as_tensor(covariance).double())


# --- Fréchet distance -----------------------------------------------------------------------------------------------


def test_statistics_are_numpys():
    drawn = features(20, 5, 0, torch.float32)
    statistics = GaussianStatistics.of(drawn)
    np.testing.assert_allclose(statistics.mean.numpy(), drawn.numpy().astype(float).mean(axis=0), rtol=1e-12)
    expected = np.cov(drawn.numpy().astype(float), rowvar=False)
    np.testing.assert_allclose(statistics.covariance.numpy(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("number", "dimension"), [(100, 6), (200, 40), (3, 1)])
def test_frechet_distance_is_the_one_with_scipys_matrix_root(number, dimension):
    first, second = (GaussianStatistics.of(features(number, dimension, seed)) for seed in (0, 1))
    a, b = first.covariance.numpy(), second.covariance.numpy()
    shift = np.sum((first.mean - second.mean).numpy() ** 2)
    root = scipy.linalg.sqrtm(a @ b)
    assert frechet_distance(first, second) == pytest.approx(shift + np.trace(a + b - 2 * root.real), rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-12)


def test_frechet_distance_of_fewer_images_than_features_is_the_limit_of_regular_ones():
    first, second = (GaussianStatistics.of(features(8, 30, seed)) for seed in (2, 3))
    a, b = first.covariance.numpy(), second.covariance.numpy()
    assert np.linalg.matrix_rank(a) == np.linalg.matrix_rank(b) == 7
    shift = np.sum((first.mean - second.mean).numpy() ** 2)
    # The root of A exactly, from its seven eigenvalues; the nonzero eigenvalues of A^½ B A^½ are those of a 7 × 7 one.
    values, vectors = np.linalg.eigh(a)
    factor = vectors[:, -7:] * np.sqrt(values[-7:])
    shared = np.sqrt(np.linalg.eigvalsh(factor.T @ b @ factor)).sum()
    assert frechet_distance(first, second) == pytest.approx(shift + np.trace(a) + np.trace(b) - 2 * shared, rel=1e-10)


def test_frechet_distance_in_closed_form():
    # Covariances that commute: the distance is that of the means and that of the roots.
    a, b = np.array([4.0, 9.0, 0.0]), np.array([1.0, 25.0, 16.0])
    rotation = scipy.stats.ortho_group.rvs(3, random_state=0)
    first = gaussian([0, 0, 0], rotation * a @ rotation.T)
    second = gaussian([1, 2, 2], rotation * b @ rotation.T)
    assert frechet_distance(first, second) == pytest.approx(9 + 1 + 4 + 16, rel=1e-7)
    # Covariances of rank one.
    u, v = np.array([1.0, 2.0, 3.0]), np.array([-2.0, 0.5, 1.0])
    zero = np.zeros(3)
    distance = frechet_distance(gaussian(zero, np.outer(u, u)), gaussian(zero, np.outer(v, v)))
    assert distance == pytest.approx(u @ u + v @ v - 2 * abs(u @ v), rel=1e-7)


@pytest.mark.parametrize(("number", "dimension"), [(100, 6), (5, 20)])
def test_frechet_distance_of_equal_sets_is_zero(number, dimension):
    statistics = GaussianStatistics.of(features(number, dimension, 0))
    scale = statistics.covariance.trace().item()
    assert abs(frechet_distance(statistics, statistics)) < 1e-12 * scale


# --- inception score ------------------------------------------------------------------------------------------------


def test_inception_score_is_the_mean_relative_entropy_of_each_split():
    logits = features(53, 7, 0)
    probabilities = logits.softmax(dim=1)
    parts = np.array_split(probabilities.numpy(), 5)
    entropies = [np.mean([scipy.stats.entropy(row, part.mean(axis=0)) for row in part]) for part in parts]
    score = inception_score(probabilities, splits=5)
    assert score.mean == pytest.approx(np.mean(np.exp(entropies)), rel=1e-12)
    assert score.deviation == pytest.approx(np.std(np.exp(entropies)), rel=1e-9)


def test_inception_score_at_its_ends():
    certain = torch.eye(8).repeat(10, 1)
    assert inception_score(certain).mean == pytest.approx(8, rel=1e-12)
    assert inception_score(certain[:1].repeat(80, 1)).mean == pytest.approx(1, rel=1e-12)
    assert inception_score(torch.full((80, 8), 1 / 8)).mean == pytest.approx(1, rel=1e-12)


# --- kernel distance ------------------------------------------------------------------------------------------------


def test_kernel_distance_of_whole_sets_is_the_unbiased_sum_over_pairs():
    first, second = features(9, 4, 0), features(9, 4, 1)

    def kernel(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    within = sum(kernel(a, b) for rows in (first, second) for a, b in itertools.permutations(rows, 2)) / (9 * 8)
    between = sum(kernel(a, b) for a, b in itertools.product(first, second)) / 81
    for seed in (0, 1):
        score = kernel_distance(first, second, seed, subsets=3)
        assert score.mean == pytest.approx(within - 2 * between, rel=1e-10)
        assert score.deviation < 1e-10 * abs(score.mean)


def test_kernel_distance_is_zero_on_average_where_the_distributions_are_one():
    # Standard normal features: the deviation of the mean over independent pairs of sets tells how near it must come.
    values = np.array([kernel_distance(*torch.randn(2, 20, 3, generator=g), subsets=1).mean for g in generators(400)])
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.min() < 0


def generators(number):
    return (torch.Generator().manual_seed(seed) for seed in range(number))


def test_kernel_distance_draws_subsets_by_the_seed_alone():
    first, second = features(30, 4, 0), features(25, 4, 1)
    torch.manual_seed(0)
    score = kernel_distance(first, second, 5, subsets=4, subset_size=10)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert kernel_distance(first, second, 5, subsets=4, subset_size=10) == score
    assert torch.equal(torch.get_rng_state(), state)
    assert kernel_distance(first, second, 6, subsets=4, subset_size=10) != score
    assert score.deviation > 0


def test_distances_see_a_shift_and_single_precision_is_enough():
    first = features(300, 8, 0)
    near, far = first[:150] + 0.1, first[:150] + 1
    for dtype in (torch.float32, torch.float64):
        real = first[150:].to(dtype)
        scores = [kernel_distance(real, shifted.to(dtype)).mean for shifted in (near, far)]
        distances = [
            frechet_distance(GaussianStatistics.of(real), GaussianStatistics.of(shifted.to(dtype)))
            for shifted in (near, far)
        ]
        assert scores[0] < scores[1]
        assert distances[0] < distances[1]


# --- bad input ------------------------------------------------------------------------------------------------------

TWO = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: GaussianStatistics.of(TWO[:1]),
            r"features must have shape \(n, d\) with n of at least 2, got \(1, 3\)",
        ),
        (lambda: GaussianStatistics.of(TWO[0]), r"features must have shape .* got \(3,\)"),
        (lambda: GaussianStatistics.of(TWO / 0), "features must be finite"),
        (lambda: gaussian([0, 0], np.eye(3)), r"covariance must be square and as large as the mean, got \(3, 3\)"),
        (
            lambda: frechet_distance(gaussian([0], [[1]]), gaussian([0, 0], np.eye(2))),
            "second must have features of dimension 1 as the first, got 2",
        ),
        (lambda: inception_score(TWO), "probabilities must have shape .* at least 10, got"),
        (lambda: inception_score(TWO, splits=2), "probabilities must be non-negative and add up to 1 .* softmax"),
        (lambda: inception_score(torch.tensor([[1.5, -0.5]]), splits=1), "probabilities must be non-negative"),
        (lambda: inception_score(torch.ones(1, 1), splits=0), "splits must be at least 1, got 0"),
        (lambda: kernel_distance(TWO, TWO[:, :2]), "second must have features of dimension 3 as the first, got 2"),
        (lambda: kernel_distance(TWO, TWO, subset_size=3), "subset_size must be between 2 and 2, .* got 3"),
        (lambda: kernel_distance(TWO, TWO, subsets=0), "subsets must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
