"""What the tests of trains and layers share: shapes, geometries, spectra, and a train by its definition."""

import numpy as np
import pytest
import torch

from sttp.manifolds import Free, Householder, Identity, Lipschitz, Riemannian, SpectralTensorTrain, TrainShape

torch.set_num_threads(1)  # on matrices this small a second thread costs more than it gives

GEOMETRIES = {
    "stiefel": Riemannian(redundant=True),
    "grassmann": Riemannian(redundant=False),
    "householder": Householder(redundant=True),
    "householder-reduced": Householder(redundant=False),
}
SPECTRA = {"identity": Identity(), "lipschitz": Lipschitz(), "free": Free()}
# Each shape is here for a reason: ranks bound by the rank and by the modes, a mode of 1 at either end and in the
# middle, one mode a side (SVDP), square frames at the centre, a column vector, a bound for each bond, by which frames
# are square where those outside of them are not, in the middle and at the centre, and padding.
SHAPES = {
    "bound-by-rank": TrainShape((2, 3, 2), (2, 2, 3), 3),
    "bound-by-modes": TrainShape((2, 2), (3, 2, 2), 10),
    "rank-one": TrainShape((2, 3), (3, 2), 1),
    "modes-of-one": TrainShape((1, 2, 1, 3), (3, 1, 2, 1), 2),
    "svdp": TrainShape((5,), (4,), 3),
    "svdp-square": TrainShape((4,), (4,), 4),
    "vector": TrainShape((2, 3), (1,), 4),
    "bound-by-bond": TrainShape((3, 2, 2), (2, 2, 3), (2, 4, 5, 4, 2)),
    "square-inside": TrainShape((3, 2), (3, 2), (2, 4, 2)),
    "padded": TrainShape((2, 3), (2, 2, 2), 3, 5, 7, pad=True),
}
# Every pair of a shape, a geometry and a spectrum, by a third of all threes.
TRAINS = [
    (shape, geometry, list(SPECTRA)[(row + column) % 3])
    for row, shape in enumerate(SHAPES)
    for column, geometry in enumerate(GEOMETRIES)
]
every_train = pytest.mark.parametrize(("shape", "geometry", "spectrum"), TRAINS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def train_of(shape, geometry, spectrum):
    return SpectralTensorTrain(SHAPES[shape], GEOMETRIES[geometry], SPECTRA[spectrum])


def contract(shape, frames, values):
    """Sum over all bond indices, entry by entry, with the cores of the definition of a train."""
    modes = shape.row_modes + shape.column_modes
    center = len(shape.row_modes)
    cores = []
    for k, mode in enumerate(modes):
        before, after = shape.ranks[k], shape.ranks[k + 1]
        matrix = frames[k].double().numpy()
        core = np.zeros((before, mode, after))
        for a in range(before):
            for i in range(mode):
                for b in range(after):
                    core[a, i, b] = matrix[a * mode + i, b] if k < center else matrix[i * after + b, a]
        cores.append(core)
    tensor = np.zeros(modes)
    for index in np.ndindex(*modes):
        row = np.ones((1, 1))
        for k, i in enumerate(index):
            row = row @ cores[k][:, i, :]
            if k + 1 == center:
                row = row * np.asarray(values)[None, :]
        tensor[index] = row[0, 0]
    return tensor.reshape(shape.padded_rows, shape.padded_columns)[: shape.rows, : shape.columns]


def relative_error(actual, expected):
    """Return the largest ‖A − B‖_F / ‖B‖_F over a batch."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((torch.linalg.matrix_norm(actual - expected) / torch.linalg.matrix_norm(expected)).max())
