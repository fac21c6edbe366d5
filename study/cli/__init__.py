"""The command `sttp`, whose commands import what they need when they are run.

Help is to come at once: what needs torch or the extra `study` is imported by the body of a command, never by a file.
"""

from .app import app, main, run

__all__ = ["app", "main", "run"]
