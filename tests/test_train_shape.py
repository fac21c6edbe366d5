"""The shape of a train, in plain integers: modes, ranks, frames and both counts of the degrees of freedom."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sttp.manifolds import TrainShape, balanced_modes, from_description, prime_modes, smooth_modes, to_description

modes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
shapes = st.builds(TrainShape, modes, modes, st.integers(1, 12))
settings.register_profile("trains", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("trains")


def frame_sizes(shape):
    return dict(Counter((frame.rows, frame.columns) for frame in shape.frames))


def test_worked_example_with_the_filter_last():
    shape = TrainShape((2, 2, 2, 2), (2, 2, 2, 3, 3), 4, 16, 72)
    assert frame_sizes(shape) == {(2, 2): 1, (4, 4): 1, (8, 4): 5, (9, 4): 1, (3, 3): 1}


def test_worked_example_of_the_paper_with_the_filter_at_the_centre():
    shape = TrainShape((2, 2, 2, 2), (3, 3, 2, 2, 2), 4, 16, 72)
    assert frame_sizes(shape) == {(2, 2): 2, (4, 4): 2, (8, 4): 3, (12, 4): 2}


def test_one_mode_a_side_is_the_plain_svd():
    shape = TrainShape((7,), (5,), 3)
    assert shape.ranks == (1, 3, 1)
    assert frame_sizes(shape) == {(7, 3): 1, (5, 3): 1}
    assert shape.degrees_of_freedom() == 3 * (7 + 5 - 3)  # the manifold of 7 × 5 matrices of rank 3


@given(shapes)
def test_ranks_are_those_of_a_generic_tensor_under_the_bound(shape):
    q = shape.row_modes + shape.column_modes
    assert len(shape.ranks) == len(q) + 1
    assert shape.ranks[0] == shape.ranks[-1] == 1
    for k in range(1, len(q)):
        assert shape.ranks[k] == min(shape.rank, math.prod(q[:k]), math.prod(q[k:]))
    assert shape.center_rank == min(shape.rank, shape.rows, shape.columns)


@st.composite
def bounded_shapes(draw):
    rows, columns = draw(modes), draw(modes)
    bounds = st.lists(st.integers(1, 12), min_size=len(rows + columns) - 1, max_size=len(rows + columns) - 1)
    return TrainShape(rows, columns, tuple(draw(bounds)))


@given(bounded_shapes())
def test_bounds_of_bonds_are_met_by_the_largest_ranks_that_tall_frames_allow(shape):
    q, ranks = shape.row_modes + shape.column_modes, shape.ranks
    assert all(frame.rows >= frame.columns for frame in shape.frames)
    for k, bound in enumerate(shape.rank, 1):
        assert ranks[k] <= bound
        # No rank can be one more with the others as they are, nor any with all: the sum below is a generic tensor's.
        least = min(
            min(math.prod(q[j:k]) * shape.rank[j - 1] if j else math.prod(q[:k]) for j in range(k)),
            min(math.prod(q[k:j]) * (shape.rank[j - 1] if j < len(q) else 1) for j in range(k + 1, len(q) + 1)),
        )
        assert ranks[k] == min(bound, least)


@given(bounded_shapes())
def test_bounds_of_bonds_survive_a_description_and_count_as_the_dimension(shape):
    assert from_description(to_description(shape)) == shape
    q, ranks = shape.row_modes + shape.column_modes, shape.ranks
    holtz = sum(ranks[k] * q[k] * ranks[k + 1] for k in range(len(q))) - sum(rank**2 for rank in ranks[1:-1])
    assert shape.degrees_of_freedom() == holtz


@given(shapes)
def test_equal_bounds_are_one_bound(shape):
    bounds = (shape.rank,) * (len(shape.row_modes + shape.column_modes) - 1)
    assert TrainShape(shape.row_modes, shape.column_modes, bounds).ranks == shape.ranks


@given(shapes)
def test_frames_are_tall_and_only_two_stand_at_the_centre(shape):
    assert all(frame.rows >= frame.columns for frame in shape.frames)
    assert [frame.left for frame in shape.frames if frame.at_center] == [True, False]


@given(shapes)
def test_both_counts_of_the_degrees_of_freedom_agree(shape):
    q, ranks = shape.row_modes + shape.column_modes, shape.ranks
    holtz = sum(ranks[k] * q[k] * ranks[k + 1] for k in range(len(q))) - sum(rank**2 for rank in ranks[1:-1])
    assert shape.degrees_of_freedom() == holtz
    rank = shape.center_rank
    assert shape.degrees_of_freedom(identity_spectrum=True) == holtz - rank - rank * (rank - 1) // 2


@given(st.integers(1, 3000), st.sampled_from([1, 2, 9]))
def test_prime_modes_are_ascending_primes_and_one_filter(channels, filter_size):
    found = prime_modes(channels, filter_size)
    assert math.prod(found) == channels * filter_size
    primes = found[:-1] if filter_size > 1 else found
    assert list(primes) == sorted(primes)
    assert all(mode > 1 for mode in found) or found == (1,)
    assert all(prime % divisor for prime in primes for divisor in range(2, math.isqrt(prime) + 1))
    if filter_size > 1:
        assert found[-1] == filter_size


def test_prime_modes_of_sizes_without_a_factor():
    assert prime_modes(1) == (1,)
    assert prime_modes(1, 9) == (9,)
    assert prime_modes(6, 1) == (2, 3)
    assert prime_modes(97, 9) == (97, 9)


def test_a_vocabulary_with_a_large_prime_factor_is_padded_to_smooth_modes():
    assert math.prod(smooth_modes(30522)) == 30720
    assert max(smooth_modes(50257)) <= 7


@given(st.integers(1, 60000), st.sampled_from([1, 9]), st.sampled_from([4, 64]))
def test_smooth_modes_pad_by_one_percent_at_most_and_never_cost_more(channels, filter_size, rank):
    found = smooth_modes(channels, filter_size, rank)
    size = math.prod(found) // filter_size
    assert channels <= size <= 1.01 * channels
    if max(prime_modes(channels)) <= 7:
        assert found == prime_modes(channels, filter_size)
    wide = (2,) * 20
    counts = [TrainShape(side, wide, rank).degrees_of_freedom() for side in (found, prime_modes(channels, filter_size))]
    assert counts[0] <= counts[1]


@given(st.integers(1, 60000), st.sampled_from([1, 9]))
def test_balanced_modes_multiply_to_the_dimension(channels, filter_size):
    found = balanced_modes(channels, filter_size)
    assert math.prod(found) == channels * filter_size
    assert balanced_modes(512) == (8, 8, 8)
    assert balanced_modes(768) == (8, 8, 12)


def test_padding_keeps_the_dimension_and_cuts_the_surplus():
    shape = TrainShape((2, 4), (3, 2), 3, rows=7, columns=5, pad=True)
    assert (shape.rows, shape.columns, shape.padded_rows, shape.padded_columns) == (7, 5, 8, 6)


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ValueError, ["rank", "at least 1", "0"], {"rank": 0}),
        (ValueError, ["rank", "at least 1", "-3"], {"rank": -3}),
        (TypeError, ["rank", "integer", "True"], {"rank": True}),
        (TypeError, ["rank", "integer", "2.0"], {"rank": 2.0}),
        (TypeError, ["rank", "integer", "'4'"], {"rank": "4"}),
        (ValueError, ["rank", "3 bonds", "2"], {"rank": (2, 2)}),
        (ValueError, ["rank", "at least 1", "0"], {"rank": (2, 0, 2)}),
        (TypeError, ["rank", "integer", "2.0"], {"rank": (2, 2.0, 2)}),
        (ValueError, ["rank", "()"], {"rank": ()}),
        (TypeError, ["row_modes", "()"], {"row_modes": ()}),
        (TypeError, ["row_modes", "4"], {"row_modes": 4}),
        (TypeError, ["column_modes", "2.0"], {"column_modes": (3, 2.0)}),
        (TypeError, ["column_modes", "True"], {"column_modes": (3, True)}),
        (ValueError, ["row_modes", "(2, 0)"], {"row_modes": (2, 0)}),
        (ValueError, ["column_modes", "(-3, -2)"], {"column_modes": (-3, -2)}),
        (ValueError, ["row_modes", "5", "(2, 2)", "4"], {"rows": 5}),
        (ValueError, ["row_modes", "3", "pad=True"], {"rows": 3}),
        (ValueError, ["row_modes", "5", "(2, 2)"], {"rows": 5, "pad": True}),
        (ValueError, ["column_modes", "7"], {"columns": 7}),
        (ValueError, ["row_modes", "-3"], {"rows": -3, "pad": True}),
        (TypeError, ["rows", "integer", "4.0"], {"rows": 4.0}),
        (TypeError, ["columns", "integer", "True"], {"columns": True, "pad": True}),
    ],
)
def test_bad_shapes_are_refused_by_name(error, words, arguments):
    with pytest.raises(error) as caught:
        TrainShape(**{"row_modes": (2, 2), "column_modes": (3, 2), "rank": 2, **arguments})
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("error", "arguments"), [(ValueError, (0,)), (ValueError, (4, 0)), (TypeError, (6.0,))])
def test_bad_channels_are_refused_by_name(error, arguments):
    with pytest.raises(error, match="channels" if len(arguments) == 1 else "filter_size"):
        prime_modes(*arguments)
