"""Text that others have written, such as titles, made safe for pages, plots and tables."""

from __future__ import annotations

import re
from typing import Final

# What a terminal would obey: sequences that set colours or titles, or any other that an escape begins.
_SEQUENCES: Final = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b.?")
# Other control characters, and those that turn the direction of what follows.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SPACES: Final = re.compile("[\t\n\r\u2028\u2029]+")


def plain(text: str) -> str:
    """Return text on one line, without what a terminal or browser would obey and what cannot be encoded."""
    shown = _CONTROLS.sub("", _SPACES.sub(" ", _SEQUENCES.sub("", text)))
    return shown.encode("utf-8", "replace").decode("utf-8")


def label(text: str) -> str:
    """Return text as matplotlib shows it letter by letter: no formula, and in a legend even after an underscore."""
    shown = plain(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
