"""The weight of a layer as a point on the product manifold: the module that owns frames and spectrum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self, cast, final

import torch
from torch import Tensor, nn

from ..manifolds import (
    InputMetric,
    MatrixFit,
    SpectralTensorTrain,
    TrainPoint,
    frames_of_charts,
    left_factor_rows,
    mark_current,
    mark_replaced,
    merge_frames,
    orthogonality_error,
    parameter_manifolds,
    require_device,
    require_instance,
    require_precision,
    require_tensor,
    train_product,
    without_autocast,
)
from ._evaluation_scope import evaluator_of
from ._feasibility import refuse_infeasible
from ._initialization import Initialization
from ._manifold_parameters import has_lost_manifold, manifold_parameter, restore_manifold
from ._plan import Route
from ._watch import watch
from ._weight_shape import WeightShape

# Versions of torch without this function give no way to ask.
_is_exporting: Final[Callable[[], bool]] = getattr(torch.compiler, "is_exporting", lambda: False)


class Factors(NamedTuple):
    """U ``(rows, r)``, s ``(r,)`` and V ``(columns, r)`` with W = U diag(s) Vᵀ."""

    left: Tensor
    values: Tensor
    right: Tensor


@final
class SpectralWeight(nn.Module):
    """Parameters of one weight W = U diag(s) Vᵀ, and W in the forms that layers need.

    Frames are ``geoopt.ManifoldParameter`` on Stiefel or Grassmann, or plain parameters in the Householder
    geometries; they keep their own precision under autocast. One module serves all layers that share a weight.
    Where torch's conversions and loading put plain parameters, they are given their manifolds again.

    Args:
        manifold: the product manifold.
        weight_shape: the form of torch's weight.
        dtype: float32 or float64.
        device: where the parameters lie.

    Attributes:
        fit_error: relative Frobenius error of the last :meth:`fit`, None where there was none.
        calibrated_error: its relative error in the norm of the layer's inputs, None without calibration data.
        parameter_manifolds: the manifold of each frame and of the spectrum, None for plain parameters.
        refuses_infeasible: whether ``load_state_dict`` fails on frames that are off their manifold.

    Raises:
        TypeError: the dtype is another one.
    """

    spectrum: nn.Parameter | None
    coordinates: nn.ParameterList

    def __init__(
        self,
        manifold: SpectralTensorTrain,
        weight_shape: WeightShape,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        require_instance("manifold", manifold, SpectralTensorTrain, "a SpectralTensorTrain")
        require_instance("weight_shape", weight_shape, WeightShape, "a WeightShape")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        require_instance("dtype", dtype, torch.dtype, "torch.float32 or torch.float64")
        require_device(device)
        require_precision(dtype, "dtype, that of the frames of a spectral weight,")
        self.manifold = manifold
        self.weight_shape = weight_shape
        self.fit_error: float | None = None
        self.calibrated_error: float | None = None
        self.coordinates = nn.ParameterList()
        self.parameter_manifolds = parameter_manifolds(manifold)
        for index, chart in enumerate(manifold.charts):
            coordinates = torch.zeros(chart.shape, dtype=dtype, device=device)
            self.coordinates.append(manifold_parameter(coordinates, self.parameter_manifolds[index]))
            columns = chart.columns
            self.register_buffer(
                f"signs_{index}", torch.ones(columns, dtype=dtype, device=device) if chart.keeps_signs else None
            )
        size = manifold.spectrum.size(manifold.shape.center_rank)
        values = torch.zeros(size, dtype=dtype, device=device)
        spectrum = manifold_parameter(values, self.parameter_manifolds[-1]) if size else None
        self.register_parameter("spectrum", spectrum)
        self.requires_grad_()
        self.refuses_infeasible = True
        self._owned = self.ordered_parameters()
        self.register_load_state_dict_pre_hook(_rename_frames)
        self.register_load_state_dict_pre_hook(refuse_infeasible)
        self.register_load_state_dict_post_hook(_restore_manifolds)

    # --- the point ---

    @property
    def point(self) -> TrainPoint:
        """The parameters as a point of :attr:`manifold`; differentiable.

        Raises:
            RuntimeError: see :meth:`checked_parameters`.
        """
        parameters = self.checked_parameters()
        frames = parameters[: len(self.manifold.charts)]
        spectrum = frames[0].new_empty(0) if self.spectrum is None else self.spectrum
        return TrainPoint(frames, spectrum, tuple(self._buffers[f"signs_{k}"] for k in range(len(frames))))

    @torch.no_grad()
    def set_point(self, point: TrainPoint) -> Self:
        """Copy a point into the parameters, cast to their dtype and device."""
        self.manifold.require_point(point)
        for target, source in zip(self.coordinates, point.coordinates, strict=True):
            target.copy_(source)
        for index, signs in enumerate(point.signs):
            if signs is not None:
                cast(Tensor, self._buffers[f"signs_{index}"]).copy_(signs)
        if self.spectrum is not None:
            self.spectrum.copy_(point.spectrum)
        return self

    def initialize(self, initialization: Initialization, generator: torch.Generator | None = None) -> Self:
        """Draw fresh frames and reset the spectrum."""
        require_instance("initialization", initialization, Initialization, "an object such as Haar()")
        shape = self.manifold.shape
        frames = [initialization.frame(frame.rows, frame.columns, generator) for frame in shape.frames]
        spectrum = self.manifold.spectrum.initial(shape.center_rank, frames[0].dtype, frames[0].device)
        return self.set_point(self.manifold.from_frames(frames, spectrum))

    def fit(self, weight: Tensor, metric: InputMetric | None = None) -> MatrixFit:
        """Set the parameters to the train nearest to torch's weight, in the sense of TT-SVD, and return the fit.

        Args:
            weight: in torch's shape.
            metric: of the layer's inputs, in whose norm the train is to be near.
        """
        require_tensor("weight", weight)
        matrix = self.weight_shape.to_matrix(weight.detach())
        if matrix.dtype not in (torch.float32, torch.float64):  # half precision among them
            matrix = matrix.to(torch.float64)
        fit = self.manifold.from_matrix(matrix, metric)
        self.set_point(fit.point)
        self.fit_error = float(fit.error)
        self.calibrated_error = None if fit.calibrated_error is None else float(fit.calibrated_error)
        return fit

    # --- the weight ---

    def stored_frames(self) -> list[Tensor]:
        """Return the frames of the manifold's charts, in the parameters' own precision also under autocast."""
        evaluator = evaluator_of(self)
        return evaluate_frames(self) if evaluator is None else evaluator.frames(self)

    def factors(self) -> Factors:
        """Return U, s and V, in the parameters' own precision also under autocast."""
        evaluator = evaluator_of(self)
        return evaluate(self) if evaluator is None else evaluator.factors(self)

    def matrix(self) -> Tensor:
        """Return W as a matrix ``(rows, columns)``."""
        evaluator = evaluator_of(self)
        return product_of(self.factors()) if evaluator is None else evaluator.matrix(self)

    def multiply(self, vectors: Tensor, route: Route) -> Tensor:
        """Return x Wᵀ of shape ``(number, rows)`` for vectors x ``(number, columns)`` by the blocks of a route."""
        frames, train = self.stored_frames(), self.manifold
        with without_autocast(frames[0]):
            left, right = (merge_frames(frames, train.stored_shapes, blocks) for blocks in (route.left, route.right))
        return train_product(vectors, train.shape, left, self.singular_values(), right)

    def left_rows(self, indices: Tensor, route: Route) -> Factors:
        """Return the rows of U at indices of any shape, ``(*indices.shape, r)``, with s and V, without forming U."""
        frames, train = self.stored_frames(), self.manifold
        shapes = train.stored_shapes
        split = sum(shape.left for shape in shapes)
        with without_autocast(frames[0]):
            (right,) = merge_frames(frames, shapes, [(split, len(frames))])
            rows = left_factor_rows(indices, train.shape, merge_frames(frames, shapes, route.left))
        return Factors(rows, self.singular_values(), right[: train.shape.columns])

    def weight(self) -> Tensor:
        """Return W in the shape of torch's weight, contiguous."""
        return self.weight_shape.to_weight(self.matrix()).contiguous()

    def singular_values(self) -> Tensor:
        """Return s of shape ``(r,)``: the singular values of the matrix, unsorted and of any sign."""
        return self.manifold.spectrum.values(self.point.spectrum, self.manifold.shape.center_rank)

    def orthogonality_error(self) -> Tensor:
        """Return the largest ‖XᵀX − I‖_F over all frames, a float64 scalar."""
        with torch.no_grad():
            return torch.stack([orthogonality_error(frame) for frame in self.manifold.to_frames(self.point)]).max()

    # --- the parameters and their manifolds ---

    def ordered_parameters(self) -> tuple[nn.Parameter, ...]:
        """Return the frames and, if there is one, the spectrum: the order of :attr:`parameter_manifolds`."""
        return (*self.coordinates, *(() if self.spectrum is None else (self.spectrum,)))

    def checked_parameters(self) -> tuple[nn.Parameter, ...]:
        """Return :meth:`ordered_parameters`, none of which has lost its manifold to be trained as a Euclidean one.

        Raises:
            RuntimeError: a tool or an assignment put something else in the place of a manifold parameter.
        """
        parameters = self.ordered_parameters()
        if _is_exporting():  # torch puts plain tensors in the place of all parameters, and trains none of them
            return parameters
        for parameter, manifold in zip(parameters, self.parameter_manifolds, strict=False):
            # torch marks the modules whose parameters FullyShardedDataParallel has made views of a flat one.
            sharded = "_is_fsdp_managed_module" in self.__dict__
            if manifold is not None and has_lost_manifold(parameter, manifold, sharded):
                raise RuntimeError(
                    f"a parameter of shape {tuple(parameter.shape)} should lie on {manifold.name} but is a "
                    f"{type(parameter).__name__} without that manifold, and would leave it in training. If it was "
                    f"assigned, copy values into the parameter instead, or call sttp.layers.repair(network); if the "
                    f"network was sharded (fully_shard, FullyShardedDataParallel), use DistributedDataParallel, or a "
                    f"Householder geometry, whose parameters are Euclidean"
                )
        return parameters

    def restore_manifolds(self) -> None:
        """Give parameters their manifold again where torch left plain ones, and mark those that it replaced.

        torch does so by ``load_state_dict(assign=True)``, to and from the meta device, and in conversions that
        ``torch.__future__`` makes swap or overwrite parameters.
        """
        parameters = self.ordered_parameters()
        for parameter, manifold in zip(parameters, self.parameter_manifolds, strict=False):
            restore_manifold(parameter, manifold)
        for parameter in parameters:
            mark_current(parameter)
        for old in self._owned:
            if not any(old is parameter for parameter in parameters):
                mark_replaced(old)
        self._owned = parameters

    # --- what nn.Module asks ---

    def extra_repr(self) -> str:
        """Return the matrix's size, the ranks, the geometry and the spectrum."""
        shape = self.manifold.shape
        return (
            f"{shape.rows}x{shape.columns}, modes={shape.row_modes}x{shape.column_modes}, rank={shape.center_rank}, "
            f"geometry={self.manifold.geometry.name}, spectrum={type(self.manifold.spectrum).__name__.lower()}"
        )

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the parameters be trained or not; a fixed spectrum never is."""
        super().requires_grad_(requires_grad)
        if self.spectrum is not None and not self.manifold.spectrum.freedom(self.manifold.shape.center_rank):
            self.spectrum.requires_grad_(False)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Asked before anything is converted, so that network.half() leaves the frames as they are, and so that a
        # parameter that lost its manifold does not get it back without a look at its values.
        require_precision(fn(self.coordinates[0].new_empty(0)).dtype, "the frames of a spectral weight")
        self.checked_parameters()
        super()._apply(fn, recurse)
        self.restore_manifolds()
        return self


def evaluate_frames(weight: SpectralWeight) -> list[Tensor]:
    """Return the frames of one weight, out of autocast's reach."""
    watch([weight])
    point = weight.point
    with without_autocast(point.spectrum):
        return frames_of_charts(weight.manifold.charts, point.coordinates, point.signs)


def evaluate(weight: SpectralWeight) -> Factors:
    """Return the factors of one weight, out of autocast's reach."""
    watch([weight])
    point = weight.point
    with without_autocast(point.spectrum):
        frames = frames_of_charts(weight.manifold.charts, point.coordinates, point.signs)
        return Factors(*weight.manifold.factors_of_frames(frames, point.spectrum))


def product_of(factors: Factors) -> Tensor:
    """Return U diag(s) Vᵀ, out of autocast's reach."""
    left, values, right = factors
    with without_autocast(left):
        return (left * values) @ right.mT


def _rename_frames(_: nn.Module, state_dict: dict[str, Any], prefix: str, *__: object) -> None:
    """Take a state in which the coordinates are called frames, as version 0.1 wrote it."""
    old = f"{prefix}frames."
    for key in [key for key in state_dict if key.startswith(old)]:
        state_dict[f"{prefix}coordinates.{key.removeprefix(old)}"] = state_dict.pop(key)


def _restore_manifolds(weight: SpectralWeight, _: object) -> None:
    weight.restore_manifolds()


def require_network(network: object) -> None:
    """Refuse what is no network.

    Raises:
        TypeError: it is no module.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module, an object and not a class")


def spectral_weights(network: nn.Module) -> dict[str, SpectralWeight]:
    """Return the spectral weights of a network by the name of the layer that owns each, shared ones once.

    Raises:
        TypeError: the network is no module.
    """
    require_network(network)
    return {
        name.rpartition(".")[0]: module
        for name, module in network.named_modules()
        if isinstance(module, SpectralWeight)
    }
