"""What a run leaves behind, and its form on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, final

from .run import FORMAT, Run
from .settings import Settings
from .tasks.task import Evaluation

# A training loss is noisy from batch to batch: where one number stands for it, it is the mean over the last steps.
LAST_STEPS: Final = 15


@final
@dataclass(frozen=True)
class Snapshot:
    """A look at the network before a step.

    Attributes:
        step: number of steps made.
        validation: score and loss on the validation split.
        orthogonality_error: largest ‖XᵀX − I‖_F over all frames; None for plain weights.
        singular_values: of each weight as a matrix, by its layer, in descending order.
    """

    step: int
    validation: Evaluation
    orthogonality_error: float | None
    singular_values: dict[str, tuple[float, ...]]


@final
@dataclass(frozen=True)
class Timing:
    """What a run cost; unlike all else it differs from one execution to the next.

    Attributes:
        step_seconds: wall-clock time of each step: batch, forward, backward, optimizer.
        total_seconds: wall-clock time of the whole run, with the evaluations.
        peak_memory: largest resident set of the process while it ran, in bytes.
        base_memory: resident set before it ran: interpreter, libraries, data; in bytes.
        threads: number of threads of torch.
    """

    step_seconds: tuple[float, ...]
    total_seconds: float
    peak_memory: int
    base_memory: int
    threads: int


@final
@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        run: what was run.
        diverged_at: the step at which the loss was not finite, which ended the run; None for a run that went well.
        z: compression in percent, 100 for `dense`.
        degrees_of_freedom: of all weights that are reparameterized, their entries for `dense`.
        start_error: largest relative Frobenius error of a first weight against the one it stands for; None for `dense`.
        losses: training loss of each step.
        snapshots: looks at the network on the way; the last one is at the end.
        test: score and loss on the test split, at the end; None for a run that diverged.
        timing: what it cost.
        environment: versions of what it ran on.
    """

    run: Run
    diverged_at: int | None
    z: float
    degrees_of_freedom: int
    start_error: float | None
    losses: tuple[float, ...]
    snapshots: tuple[Snapshot, ...]
    test: Evaluation | None
    timing: Timing
    environment: dict[str, str]

    @property
    def diverged(self) -> bool:
        """Whether the loss was not finite at some step."""
        return self.diverged_at is not None

    @property
    def validation(self) -> Evaluation | None:
        """Score and loss on the validation split at the end; None for a run that diverged."""
        return None if self.diverged else self.snapshots[-1].validation

    @property
    def final_loss(self) -> float | None:
        """Mean training loss over the last steps; None for a run that diverged."""
        last = self.losses[-LAST_STEPS:]
        return None if self.diverged else sum(last) / len(last)

    @property
    def orthogonality_error(self) -> float | None:
        """Largest ‖XᵀX − I‖_F over all frames and snapshots; None for `dense`."""
        errors = [s.orthogonality_error for s in self.snapshots if s.orthogonality_error is not None]
        return max(errors, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: the format is another one.
            KeyError, TypeError: something is missing, or there is too much.
        """
        content = dict(data)
        written = content.pop("format")
        if written != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {written!r}")
        return cls(
            **content
            | {
                "run": read_run(content["run"]),
                "losses": tuple(content["losses"]),
                "snapshots": tuple(read_snapshot(snapshot) for snapshot in content["snapshots"]),
                "test": None if content["test"] is None else Evaluation(**content["test"]),
                "timing": Timing(
                    **content["timing"] | {"step_seconds": tuple(content["timing"]["step_seconds"])},
                ),
            }
        )


def read_run(data: Mapping[str, Any]) -> Run:
    """Read a run from plain values, as ``dataclasses.asdict`` makes them."""
    return Run(**{**data, "settings": Settings(**data.get("settings", {}))})


def read_snapshot(data: Mapping[str, Any]) -> Snapshot:
    """Read a snapshot from plain values, as ``dataclasses.asdict`` makes them."""
    values = {name: tuple(values) for name, values in data["singular_values"].items()}
    return Snapshot(**{**data, "validation": Evaluation(**data["validation"]), "singular_values": values})
