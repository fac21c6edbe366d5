"""Products with vectors by the cores of a train, however they are cut into blocks, are those with W."""

from itertools import combinations, pairwise, product

import pytest
import torch
from trains import GEOMETRIES, SHAPES, generator, train_of

from sttp.manifolds import frames_of_charts, left_factor_rows, merge_frames, train_product


def cuts(start, stop):
    """Return all ways to cut a range into blocks."""
    inner = range(start + 1, stop)
    if start == stop:
        return [()]
    ways = []
    for number in range(len(inner) + 1):
        for places in combinations(inner, number):
            bounds = (start, *places, stop)
            ways.append(tuple(pairwise(bounds)))
    return ways


def sampled(shape, geometry, spectrum="free"):
    """Return a train, its evaluated frames, singular values and W."""
    train = train_of(shape, geometry, spectrum)
    point = train.random(dtype=torch.float64, generator=generator())
    frames = frames_of_charts(train.charts, point.coordinates, point.signs)
    return train, frames, train.singular_values(point), train.to_matrix(point)


def all_cuts(train):
    split = sum(shape.left for shape in train.stored_shapes)
    return product(cuts(0, split), cuts(split, len(train.stored_shapes)))


@pytest.mark.parametrize("spectrum", ["free", "identity"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_by_any_blocks_are_those_with_the_matrix(shape, geometry, spectrum):
    train, frames, values, matrix = sampled(shape, geometry, spectrum)
    vectors = torch.randn(5, matrix.shape[1], dtype=torch.float64, generator=generator(1))
    for left, right in all_cuts(train):
        sides = [merge_frames(frames, train.stored_shapes, blocks) for blocks in (left, right)]
        found = train_product(vectors, train.shape, sides[0], values, sides[1])
        torch.testing.assert_close(found, vectors @ matrix.mT, rtol=1e-12, atol=1e-12)
        assert found.is_contiguous()
        nothing = train_product(vectors[:0], train.shape, sides[0], values, sides[1])
        assert nothing.shape == (0, len(matrix))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_by_any_blocks_are_those_of_the_left_factor(shape, geometry):
    train, frames, values, _ = sampled(shape, geometry)
    factor = train.factors_of_frames(frames, values)[0]
    rows = torch.arange(train.shape.rows)
    for left, _ in all_cuts(train):
        merged = merge_frames(frames, train.stored_shapes, left)
        found = left_factor_rows(rows.view(1, -1), train.shape, merged)
        torch.testing.assert_close(found, factor[None], rtol=1e-12, atol=1e-12)
        for outside in (-1, train.shape.rows):  # with padding there is a row that the matrix has not
            with pytest.raises(IndexError):
                left_factor_rows(torch.tensor([outside]), train.shape, merged)
