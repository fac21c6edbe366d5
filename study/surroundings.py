"""Where and on what a run is made: nothing of this decides what is compared."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import final

# Fixed, so that the outcome does not depend on the machine's number of cores, and recorded with every timing.
THREADS = 1
CHECKPOINT_SECONDS = 60.0
RUNS = "runs"  # the folder in a study's results that has a folder a run


@final
@dataclass(frozen=True)
class Surroundings:
    """Data, device and folder of a run. Outcomes depend on device and threads in the last digits alone.

    Attributes:
        data: folder or file of the data set; None for one that is bundled or in the cache.
        download: whether data that is not there is fetched before the first run, see
            :func:`~sttp.study.tasks.images.data_fingerprint`.
        device: such as `cpu` or `cuda`.
        threads: number of torch's threads.
        folder: of the study's results, where a run leaves checkpoints, samples and logs; None for nowhere.
        checkpoint_seconds: time from one checkpoint inside a run to the next.
        tensorboard: whether a run writes TensorBoard's event files.
        synthetic: whether noise of its shape stands in for the data, to measure time and memory.

    Raises:
        ValueError: a number is out of range, the device is not there, or tensorboard is wanted and not installed.
        TypeError: a value is not of its kind.
    """

    data: str | None = None
    device: str = "cpu"
    threads: int = THREADS
    folder: str | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    tensorboard: bool = False
    synthetic: bool = False
    download: bool = False

    def __post_init__(self) -> None:
        import torch  # not before: the command line's help has its defaults from this file

        from ..manifolds import require_integer, require_number

        require_integer("threads", self.threads, least=1)
        require_number("checkpoint_seconds", self.checkpoint_seconds, above=0)
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "tensorboard must be installed for its event files: pip install 'sttp-torch[tensorboard]', "
                "or leave --tensorboard out"
            )
        try:
            torch.device(self.device)
        except RuntimeError:
            raise ValueError(f"device must be such as 'cpu' or 'cuda', got {self.device!r}") from None
        try:
            torch.empty(1, device=self.device).cpu()  # which meta tensors refuse
        except (RuntimeError, AssertionError, NotImplementedError):
            raise ValueError(f"device must be one that this machine has, got {self.device!r}; give 'cpu'") from None

    @property
    def place(self) -> str:
        """Where the data is, in words."""
        return "the cache, or in this package" if self.data is None else repr(self.data)

    def run_folder(self, identifier: str) -> Path | None:
        """Return the folder of a run, made where it is missing; None where there is no folder."""
        if self.folder is None:
            return None
        path = Path(self.folder) / RUNS / identifier
        path.mkdir(parents=True, exist_ok=True)
        return path
