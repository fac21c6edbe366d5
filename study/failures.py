"""What ends a study, or a run of it, before its time."""

from __future__ import annotations


class RunFailedError(RuntimeError):
    """A run raised an exception, or could not be made; the message says which and why. What was finished is kept."""


class WorkersLostError(RunFailedError):
    """Worker processes have died, or a cluster has gone, before the runs were made."""


class FolderLostError(RunFailedError):
    """The folder of results was removed or replaced while its study was under way."""


class AbandonedError(RuntimeError):
    """The study of a run has ended, so that nobody waits for the run."""
