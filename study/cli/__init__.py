"""The command `sttp`: one command a file, each of which imports what it needs when it is run.

Help is to come at once: what needs torch or the extra `study` is imported by the body of a command, never by a file.
"""

from .app import app, main, run

__all__ = ["app", "main", "run"]
