"""The product manifold of one weight: the frames of its tensor train times its spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import geoopt
import torch
from torch import Tensor

from ._calibrated_fit import calibrated_train_svd
from ._contraction import contract_left, contract_right, relative_distance, tensor_train_svd, without_padding
from ._embedded_metric import EmbeddedMetric
from ._frame_batches import frames_of_charts
from ._gauge import fix_gauge, order_center
from ._geometry import Chart, Embedded, Geometry, Riemannian, require_coordinates
from ._input_metric import InputMetric
from ._matrices import haar_frame, identity_like
from ._require import (
    described,
    require_instance,
    require_precision,
    require_shape,
    require_source,
    require_tensor,
)
from ._require_points import require_at, require_point
from ._spectra import Fixed, Free, Lipschitz, Spectrum
from ._train_point import MatrixFit, TrainPoint, TrainTangent
from ._train_shape import FrameShape, TrainShape


@final
class SpectralTensorTrain:
    """Weights W = U diag(s) Vᵀ of a given tensor-train shape, as a product of frames and a Euclidean spectrum.

    U and V are contractions of frames (Obukhov et al. 2021, Prop. 1), s is the spectrum's, and a geometry says what
    each frame is stored as. All four geometries describe the same weights, and :meth:`convert` moves between them
    at a fixed W. All methods take any leading batch dimensions, float32 or float64, on any device; the names
    of the geometric ones are geoopt's.

    Args:
        shape: modes and ranks.
        geometry: ``Riemannian(…)`` or ``Householder(…)``.
        spectrum: ``Free()``, ``Lipschitz()``, ``Identity()`` or ``Fixed()``.

    Raises:
        ValueError: the embedded metric is asked for with a Lipschitz spectrum, whose scale no weight shows,
            or a fixed one.

    Attributes:
        charts: the charts of the stored frames, in the order of the chain. Where the gauge is fixed, square frames have
            no freedom: they are the identity, and neither stored nor multiplied.
        stored_shapes: the shapes of the same frames.
    """

    def __init__(self, shape: TrainShape, geometry: Geometry | None = None, spectrum: Spectrum | None = None) -> None:
        self.shape = shape
        self.geometry = Riemannian() if geometry is None else geometry
        self.spectrum = Free() if spectrum is None else spectrum
        require_instance("shape", self.shape, TrainShape, "a TrainShape")
        require_instance("geometry", self.geometry, Geometry, "an object such as Riemannian() or Householder()")
        require_instance(
            "spectrum", self.spectrum, Spectrum, "an object such as Free(), Lipschitz(), Identity() or Fixed()"
        )
        if isinstance(self.spectrum, Lipschitz) and getattr(self.geometry, "embedded", None) is not None:
            raise ValueError("metric='embedded' wants Free() or Identity(), got Lipschitz(), whose scale is degenerate")
        if isinstance(self.spectrum, Fixed) and getattr(self.geometry, "embedded", None) is not None:
            raise ValueError(
                "metric='embedded' moves the singular values with the frames, which Fixed() forbids; use "
                "metric='euclidean' or 'canonical', or Free()"
            )
        charts: list[Chart] = []
        positions: list[int] = []
        for position, frame in enumerate(shape.frames):
            gauge_fixed = self._is_gauge_fixed(position)
            if not (gauge_fixed and frame.rows == frame.columns):
                charts.append(self.geometry.chart(frame, gauge_fixed))
                positions.append(position)
        self.charts = tuple(charts)
        self._positions = tuple(positions)
        self._size = self.spectrum.size(shape.center_rank)
        self.stored_shapes: tuple[FrameShape, ...] = tuple(shape.frames[position] for position in positions)

    def _key(self) -> tuple[object, ...]:
        return (self.shape, self.geometry, self.spectrum)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpectralTensorTrain) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"SpectralTensorTrain({self.shape!r}, {self.geometry!r}, {self.spectrum!r})"

    @property
    def degrees_of_freedom(self) -> int:
        """DOF(W), the same in all geometries (Eq. 9)."""
        return self.spectrum.degrees_of_freedom(self.shape)

    @property
    def dimension(self) -> int:
        """Dimension of the product manifold: DOF(W), and R_k(R_k−1)/2 more for every bond that is left as gauge.

        A chart of somebody else may have Euclidean coordinates that are more than its frame has degrees of freedom.
        """
        frames = 0
        for position, chart in zip(self._positions, self.charts, strict=True):
            is_flat = isinstance(chart.manifold, geoopt.Euclidean)
            own = self.shape.frames[position].degrees_of_freedom(self._is_gauge_fixed(position))
            frames += math.prod(chart.shape) if is_flat else own
        return frames + self.spectrum.freedom(self.shape.center_rank)

    def require_point(self, point: TrainPoint) -> None:
        """Refuse what is no point of this train.

        Raises:
            TypeError: it is no :class:`TrainPoint`, or its tensors are neither float32 nor float64.
            ValueError: its tensors have other shapes than the train.
        """
        require_point(self.charts, self._size, point)

    # --- points and weights ---

    def random(
        self,
        *batch: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> TrainPoint:
        """Draw a point: Haar frames, and absolute normal values for the spectrum."""
        require_shape("batch", batch)
        require_source(dtype, device, generator)
        frames = [
            haar_frame(*batch, frame.rows, frame.columns, dtype=dtype, device=device, generator=generator)
            for frame in self.shape.frames
        ]
        rank = self.shape.center_rank
        values = torch.randn(*batch, rank, dtype=dtype, device=device, generator=generator).abs()
        return self.from_frames(frames, self.spectrum.fit(values)[0])

    def factors(self, point: TrainPoint) -> tuple[Tensor, Tensor, Tensor]:
        """Return U ``(..., rows, r)``, s ``(..., r)`` and V ``(..., columns, r)`` with W = U diag(s) Vᵀ.

        U and V are frames unless the shape is padded.
        """
        self.require_point(point)
        return self.factors_of_frames(self._stored_frames(point), point.spectrum)

    def factors_of_frames(self, stored: Sequence[Tensor], spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return :meth:`factors` from the frames of :attr:`charts`, already evaluated, and the spectrum's parameter."""
        shape, rank = self.shape, self.shape.center_rank
        frames: list[Tensor | None] = [None] * len(shape.frames)
        for position, frame in zip(self._positions, stored, strict=True):
            frames[position] = frame
        split = len(shape.row_modes)
        left = contract_left(frames[:split], shape.frames[:split])
        right = contract_right(frames[split:])
        if left is None:
            left = identity_like(spectrum, shape.padded_rows, rank)
            left = left.expand(*spectrum.shape[:-1], *left.shape)
        # The right side is never missing: V's frame at the centre is kept in every geometry.
        assert right is not None
        values = self.spectrum.values(spectrum, rank)
        return without_padding(left, shape.rows), values, without_padding(right, shape.columns)

    def to_matrix(self, point: TrainPoint) -> Tensor:
        """Return W of shape ``(..., rows, columns)``."""
        left, values, right = self.factors(point)
        return (left * values.unsqueeze(-2)) @ right.mT

    def singular_values(self, point: TrainPoint) -> Tensor:
        """Return s of shape ``(..., r)``, unsorted and of any sign, without the frames."""
        self.require_point(point)
        return self.spectrum.values(point.spectrum, self.shape.center_rank)

    def from_matrix(self, matrix: Tensor, metric: InputMetric | None = None) -> MatrixFit:
        """Return the point of a matrix ``(..., rows, columns)`` by TT-SVD, which is computed in float64.

        Args:
            matrix: the matrix.
            metric: of the inputs, in whose norm the error is to be small, for a single matrix ``(rows, columns)``; it
                is then no larger than that of TT-SVD, and for one mode a side the least.

        Raises:
            TypeError: the matrix is neither float32 nor float64.
            ValueError: the matrix has another shape than the train, or entries that are not finite, or the metric
                another size.
        """
        shape = self.shape
        require_tensor("matrix", matrix)
        require_precision(matrix.dtype, "matrix")
        if matrix.is_meta:
            raise ValueError(f"matrix, the weight to fit, must have values, got {described(matrix)} on the meta device")
        if matrix.shape[-2:] != (shape.rows, shape.columns):
            raise ValueError(
                f"matrix must have shape (..., {shape.rows}, {shape.columns}), got {tuple(matrix.shape)}; reshape it"
            )
        if not matrix.isfinite().all():
            raise ValueError(
                "matrix, the weight to fit, must be finite, got entries that are NaN or infinite; mend them first"
            )
        if metric is not None:
            self._require_metric(metric, matrix)
        matrix = matrix.detach()
        # A power of two, which costs no digit, keeps the squares of very large and very small entries in range.
        largest = torch.linalg.vector_norm(matrix, math.inf, dim=(-2, -1), keepdim=True).to(torch.float64)
        unit = torch.exp2(torch.frexp(largest)[1].clamp(-1020, 1020).to(torch.float64))
        exact = matrix / unit  # in float64, as the unit is
        padding = (0, shape.padded_columns - shape.columns, 0, shape.padded_rows - shape.rows)
        padded = torch.nn.functional.pad(exact, padding) if any(padding) else exact
        free, calibrated_error = SpectralTensorTrain(shape), None
        if metric is None:
            frames, values = tensor_train_svd(padded, shape)
        else:
            size = shape.padded_rows if metric.of_rows else shape.padded_columns
            frames, values = calibrated_train_svd(padded, shape, metric.padded(size))
        factors = free.factors(free.from_frames(frames, values))
        error = relative_distance(exact, *factors)
        if metric is not None:
            norm = metric.norm(exact)
            calibrated_error = metric.norm(exact - (factors[0] * factors[1]) @ factors[2].mT)
            calibrated_error = (calibrated_error / torch.where(norm > 0, norm, 1.0)).to(matrix.dtype)
        parameter, scale = self.spectrum.fit(values * unit.squeeze(-1))
        point = self.from_frames(frames, parameter).to(matrix.dtype)
        return MatrixFit(point, error.to(matrix.dtype), scale.to(matrix.dtype), calibrated_error)

    def from_frames(self, frames: Sequence[Tensor], spectrum: Tensor) -> TrainPoint:
        """Return the point of given frames, one ``(..., rows, columns)`` for each of ``shape.frames``.

        Where the gauge is fixed, the frames are rotated from both ends to the centre, which leaves W as it is.

        Raises:
            ValueError: the number of frames is another one.
        """
        require_instance("frames", frames, Sequence, "a sequence of tensors")
        if len(frames) != len(self.shape.frames):
            raise ValueError(f"frames must be {len(self.shape.frames)} tensors, got {len(frames)}")
        for k, (frame, shape) in enumerate(zip(frames, self.shape.frames, strict=True)):
            require_coordinates(f"frames[{k}]", frame, (shape.rows, shape.columns))
        require_coordinates("spectrum", spectrum, (self._size,))
        frames = list(frames) if self.geometry.redundant else fix_gauge(frames, self.shape, self.spectrum.is_identity)
        pairs = [chart.coordinates(frames[k]) for k, chart in zip(self._positions, self.charts, strict=True)]
        signs = tuple(s if chart.keeps_signs else None for (_, s), chart in zip(pairs, self.charts, strict=True))
        return TrainPoint(tuple(coordinates for coordinates, _ in pairs), spectrum, signs)

    def to_frames(self, point: TrainPoint) -> list[Tensor]:
        """Return all frames of a point, also those that are not stored: the inverse of :meth:`from_frames`."""
        self.require_point(point)
        batch = point.spectrum.shape[:-1]
        frames: list[Tensor] = [
            identity_like(point.spectrum, frame.rows, frame.columns).expand(*batch, frame.rows, frame.columns)
            for frame in self.shape.frames
        ]
        for position, frame in zip(self._positions, self._stored_frames(point), strict=True):
            frames[position] = frame
        return frames

    def convert(self, point: TrainPoint, target: SpectralTensorTrain) -> TrainPoint:
        """Return the point of ``target``, the same train in another geometry, that has the same W.

        Raises:
            ValueError: the target has another shape or spectrum.
        """
        require_instance("target", target, SpectralTensorTrain, "a SpectralTensorTrain")
        if (self.shape, self.spectrum) != (target.shape, target.spectrum):
            raise ValueError(
                f"target must have this train's shape and spectrum, {self.shape} and {self.spectrum}, "
                f"got {target.shape} and {target.spectrum}; use target.from_matrix for another one"
            )
        return target.from_frames(self.to_frames(point), point.spectrum)

    def canonical(self, point: TrainPoint) -> TrainPoint:
        """Return the point that stands for all points with the same W, where the singular values differ.

        Singular values are non-negative and descending, the largest entry of each of U's columns in the frame at the
        centre is positive, and all other frames have an upper triangular top block.
        """
        frames = fix_gauge(self.to_frames(point), self.shape, self.spectrum.is_identity)
        parameter = point.spectrum
        if not self.spectrum.is_identity:
            k = len(self.shape.row_modes)
            frames[k - 1], values, frames[k] = order_center(frames[k - 1], self.singular_values(point), frames[k])
            parameter = self.spectrum.fit(values)[0]
        return self.from_frames(frames, parameter)

    # --- geometry ---

    def projx(self, point: TrainPoint) -> TrainPoint:
        """Return the nearest point on the manifold, frame by frame."""
        self.require_point(point)
        frames = tuple(chart.manifold.projx(x) for chart, x in zip(self.charts, point.coordinates, strict=True))
        return TrainPoint(frames, point.spectrum, point.signs)

    def proju(self, point: TrainPoint, vector: TrainTangent) -> TrainTangent:
        """Return the projection of an ambient vector to the tangent space at the point."""
        require_at(self.charts, self._size, point, vector=vector)
        return self._each(lambda manifold, x, u: manifold.proju(x, u), point, vector)

    def egrad2rgrad(self, point: TrainPoint, gradient: TrainTangent) -> TrainTangent:
        """Return the Riemannian gradient of a Euclidean one."""
        require_at(self.charts, self._size, point, gradient=gradient)
        if metric := self._embedded_metric(point):
            frames, values = metric.gradient(self._all_frames(gradient), self._all_values(gradient))
            stored = tuple(frames[position] for position in self._positions)
            return TrainTangent(stored, gradient.spectrum if self.spectrum.is_identity else values)
        return self._each(lambda manifold, x, u: manifold.egrad2rgrad(x, u), point, gradient)

    def retr(self, point: TrainPoint, tangent: TrainTangent) -> TrainPoint:
        """Return the retraction of a tangent vector: each frame's own, and addition for the spectrum."""
        require_at(self.charts, self._size, point, tangent=tangent)
        moved = self._each(lambda manifold, x, u: manifold.retr(x, u), point, tangent)
        return TrainPoint(moved.coordinates, point.spectrum + tangent.spectrum, point.signs)

    def transp(self, point: TrainPoint, end: TrainPoint, tangent: TrainTangent) -> TrainTangent:
        """Return the tangent vector transported from one point to another."""
        require_at(self.charts, self._size, point, end=end, tangent=tangent)
        frames = tuple(
            chart.manifold.transp(x, y, v)
            for chart, x, y, v in zip(self.charts, point.coordinates, end.coordinates, tangent.coordinates, strict=True)
        )
        return TrainTangent(frames, tangent.spectrum)

    def inner(self, point: TrainPoint, first: TrainTangent, second: TrainTangent | None = None) -> Tensor:
        """Return the inner product ``(...)``: the sum of the frames' and the spectrum's, or the embedded one.

        The embedded metric of a padded shape is that of W before the surplus is cut off.
        """
        require_at(self.charts, self._size, point, first=first, **({} if second is None else {"second": second}))
        second = first if second is None else second
        if metric := self._embedded_metric(point):
            pairs = [(self._all_frames(tangent), self._all_values(tangent)) for tangent in (first, second)]
            return metric.inner(*pairs[0], *pairs[1])
        total = (first.spectrum * second.spectrum).sum(dim=-1)
        for chart, x, u, v in zip(self.charts, point.coordinates, first.coordinates, second.coordinates, strict=True):
            total = total + chart.manifold.inner(x, u, v)
        return total

    def differential(self, point: TrainPoint, tangent: TrainTangent) -> Tensor:
        """Return δW ``(..., rows, columns)``, the derivative of W along a tangent vector."""
        require_at(self.charts, self._size, point, tangent=tangent)

        def weight(frames: tuple[Tensor, ...], spectrum: Tensor) -> Tensor:
            return self.to_matrix(TrainPoint(frames, spectrum, point.signs))

        # The adjoint of the adjoint: the charts of a user need not have a forward mode.
        matrix, adjoint = torch.func.vjp(weight, point.coordinates, point.spectrum)[:2]
        differential = torch.func.vjp(adjoint, torch.zeros_like(matrix))[1]
        return differential((tangent.coordinates, tangent.spectrum))[0]

    def project_matrix(self, point: TrainPoint, matrix: Tensor) -> Tensor:
        """Return the orthogonal projection of a matrix to the tangent space, at W, of the weights of these TT ranks.

        At the centre this is U(UᵀAV)Vᵀ of the matrix A, also where singular values agree and no change of frames and
        spectrum gives all of it; beside it stands what the embedded gradient of ⟨W, A⟩ moves the frames' subspaces by.

        Args:
            point: the point of a train with a free spectrum, in any geometry.
            matrix: ``(..., rows, columns)``.

        Raises:
            TypeError: the point is none, or the matrix no tensor of its dtype.
            ValueError: the spectrum is not free or the shape padded, so that the weights do not fill the set of these
                ranks, or the matrix has another shape than W.
        """
        self.require_point(point)
        require_tensor("matrix", matrix)
        if matrix.dtype != point.spectrum.dtype:
            raise TypeError(f"matrix must have the dtype of the point, {point.spectrum.dtype}, got {described(matrix)}")
        if matrix.device != point.spectrum.device:
            raise ValueError(f"matrix must be on the device of the point, {point.spectrum.device}, got {matrix.device}")
        if not isinstance(self.spectrum, Free):
            raise ValueError(f"spectrum must be Free() to project to all weights of these ranks, got {self.spectrum}")
        if (self.shape.rows, self.shape.columns) != (self.shape.padded_rows, self.shape.padded_columns):
            raise ValueError(f"shape must not be padded, got {self.shape}; give modes that multiply to its dimensions")
        expected = (*point.spectrum.shape[:-1], self.shape.rows, self.shape.columns)
        if tuple(matrix.shape) != expected:
            raise ValueError(f"matrix must have the shape {expected} of the point's W, got {tuple(matrix.shape)}")
        train = SpectralTensorTrain(self.shape, Riemannian(redundant=False, metric=Embedded(damping=0.0)))
        fixed = train.from_frames(self.to_frames(point), point.spectrum)
        metric = train._embedded_metric(fixed)
        assert metric is not None

        def product(frames: tuple[Tensor, ...]) -> Tensor:
            return (train.to_matrix(TrainPoint(frames, fixed.spectrum, fixed.signs)) * matrix).sum()

        slopes = TrainTangent(torch.func.grad(product)(fixed.coordinates), torch.zeros_like(fixed.spectrum))
        normal = metric.normal_gradient(train._all_frames(slopes))
        moved = TrainTangent(tuple(normal[position] for position in train._positions), slopes.spectrum)
        left, _, right = train.factors(fixed)
        return left @ (left.mT @ matrix @ right) @ right.mT + train.differential(fixed, moved)

    # --- pieces ---

    def _require_metric(self, metric: InputMetric, matrix: Tensor) -> None:
        require_instance("metric", metric, InputMetric, "an InputMetric, or None")
        size = self.shape.rows if metric.of_rows else self.shape.columns
        if matrix.dim() != 2 or len(metric.moment) != size:
            side = "rows" if metric.of_rows else "columns"
            raise ValueError(
                f"metric must be one of the {size} {side} of a single matrix, got one of {len(metric.moment)} and a "
                f"matrix of shape {tuple(matrix.shape)}"
            )

    def _embedded_metric(self, point: TrainPoint) -> EmbeddedMetric | None:
        geometry = self.geometry
        if not isinstance(geometry, Riemannian) or geometry.embedded is None:
            return None
        values, identity = self.singular_values(point), self.spectrum.is_identity
        return EmbeddedMetric.at(self.shape, self.to_frames(point), values, identity, geometry.embedded.damping)

    def _all_frames(self, tangent: TrainTangent) -> list[Tensor]:
        """Return the tangent's frames with zeros where none is stored."""
        reference = tangent.coordinates[0]
        shape = (*reference.shape[:-2],)
        frames = [reference.new_zeros(*shape, frame.rows, frame.columns) for frame in self.shape.frames]
        for position, frame in zip(self._positions, tangent.coordinates, strict=True):
            frames[position] = frame
        return frames

    def _all_values(self, tangent: TrainTangent) -> Tensor:
        """Return the change of the singular values, which is zero where they are fixed."""
        if not self.spectrum.is_identity:
            return tangent.spectrum
        return tangent.spectrum.new_zeros(*tangent.spectrum.shape[:-1], self.shape.center_rank)

    def _is_gauge_fixed(self, position: int) -> bool:
        frame = self.shape.frames[position]
        return not self.geometry.redundant and self.shape.is_gauge_fixed(frame, self.spectrum.is_identity)

    def _stored_frames(self, point: TrainPoint) -> list[Tensor]:
        return frames_of_charts(self.charts, point.coordinates, point.signs)

    def _each(self, function: Callable[..., Tensor], point: TrainPoint, vector: TrainTangent) -> TrainTangent:
        triples = zip(self.charts, point.coordinates, vector.coordinates, strict=True)
        frames = tuple(function(chart.manifold, x, u) for chart, x, u in triples)
        is_free = self.spectrum.freedom(self.shape.center_rank) > 0
        return TrainTangent(frames, vector.spectrum if is_free else torch.zeros_like(vector.spectrum))
