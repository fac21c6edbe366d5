"""How the parameters of adapters can change and leave the weight what it is: moves in place, drawn by torch."""

import torch


def inner(change):
    """Return the change that is trained within those that wrap it."""
    change = getattr(change, "whole", change)
    return getattr(change, "change", change)


def mixing(size):
    return torch.randn(size, size, dtype=torch.float64) + 3 * torch.eye(size, dtype=torch.float64)


def rotation(size):
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def signs(size):
    return torch.tensor([-1.0, *[1.0] * (size - 1)], dtype=torch.float64)


def of_low_rank(change):
    factors = getattr(inner(change), "low_rank", inner(change))
    M = mixing(len(factors.A))
    factors.B.copy_(factors.B @ M)
    factors.A.copy_(torch.linalg.solve(M, factors.A))


def of_singular_pairs(change):
    """Exchange and reflect singular pairs."""
    spectral = inner(change).spectral
    shapes = spectral.manifold.stored_shapes
    order = torch.arange(len(spectral.spectrum)).flip(0)
    spectral.spectrum.copy_(spectral.spectrum[order])
    for frame, shape in zip(spectral.coordinates, shapes, strict=True):
        if shape.at_center:
            frame.copy_(frame[:, order] * signs(len(order)))


def of_train(change):
    """Rotate the bond before the last left frame, too."""
    of_singular_pairs(change)
    spectral = inner(change).spectral
    center = next(k for k, shape in enumerate(spectral.manifold.stored_shapes) if shape.left and shape.at_center)
    before, last = spectral.coordinates[center - 1], spectral.coordinates[center]
    Q = rotation(before.shape[1])
    before.copy_(before @ Q)
    last.copy_((Q.mT @ last.unflatten(0, (len(Q), -1)).flatten(1)).reshape(last.shape))


def of_reflections(change):
    change.vectors.mul_(torch.linspace(-2, 3, change.vectors.shape[1], dtype=torch.float64))


def of_principal_rotation(change):
    change.a.mul_(1.7)
    change.b.div_(1.7)


def of_stella(change):
    factors = inner(change)
    P, Q = rotation(len(factors.S)), rotation(len(factors.S))
    factors.U.copy_(factors.U @ P)
    factors.V.copy_(factors.V @ Q)
    factors.S.copy_(P.mT @ factors.S @ Q)


def of_diagonal_stella(change):
    for factor in (change.U, change.V):
        factor.copy_(factor.flip(1) * signs(factor.shape[1]))
    change.S.copy_(change.S.flip(0))


def of_moved_pairs(change):
    M, S = mixing(len(change.values)), change.values
    change.A.copy_((change.left + change.A) @ M - change.left)
    change.B.copy_((change.right + change.B) * S @ torch.linalg.inv(M).mT / S - change.right)


def of_rotated_pairs(change):
    change.A.add_(torch.ones_like(change.A))
    change.B.add_(torch.ones_like(change.B))


def of_two_turns(change):
    for Q in change.rotations:
        Q.neg_()


def of_cp_tensor(change):
    change.tensor.inputs.mul_(2.0)
    change.tensor.outputs.div_(-2.0)
    change.tensor.heads.mul_(torch.tensor([-1.0, 5.0], dtype=torch.float64))
    change.tensor.layers.div_(torch.tensor([1.0, -5.0], dtype=torch.float64))


def of_joint(change):
    factors = inner(change)
    M = mixing(factors.left.shape[1])
    factors.left.copy_(factors.left @ M)
    factors.shared.right.copy_(factors.shared.right @ torch.linalg.inv(M).mT)


def of_loretta(change):
    left, right = inner(change).left.cores, inner(change).right.cores
    M = mixing(left[0].shape[2])
    left[0].copy_(left[0] @ M)
    left[1].copy_(torch.linalg.solve(M, left[1].flatten(1)).reshape(left[1].shape))
    M = mixing(left[-1].shape[1])
    left[-1].copy_((left[-1].squeeze(2) @ M).unsqueeze(2))
    right[-1].copy_((right[-1].squeeze(2) @ torch.linalg.inv(M).mT).unsqueeze(2))


def of_chain(change):
    M = mixing(len(change.chain[0]))
    change.chain[0].copy_(M @ change.chain[0])
    change.chain[1].copy_(change.chain[1] @ torch.linalg.inv(M))


def of_compressed_chain(change):
    of_chain(change)
    M = mixing(change.U.shape[1])
    change.U.copy_(change.U @ M)
    change.chain[-1].copy_(torch.linalg.solve(M, change.chain[-1]))


def of_auxiliary_cores(change):
    change.operator.core_0.mul_(1.7)
    change.operator.core_2.div_(1.7)


def of_operator(change):
    """Mix or, where the first core is a frame, rotate the bond behind it."""
    first, middle = change.operator.core_0, change.operator.core_1
    size = first.shape[1]
    M = rotation(size) if hasattr(first, "manifold") else mixing(size)
    first.copy_(first @ M)
    middle.copy_(torch.linalg.solve(M, middle.unflatten(0, (size, -1)).flatten(1)).reshape(middle.shape))
