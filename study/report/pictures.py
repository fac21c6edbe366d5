"""Figures as files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from .content import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESOLUTION: Final = 130  # dots an inch
# What makes two files of the same figure differ.
_WITHOUT: Final[dict[str, dict[str, None]]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


@final
@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn, or why it could not be.

    Attributes:
        name: of its files, without an ending.
        title, caption: see :class:`~sttp.study.report.content.Picture`.
        files: their content by their ending, ``png`` and ``svg``; none where there is an error.
        error: what went wrong, or None.
    """

    name: str
    title: str
    caption: str
    files: Mapping[str, bytes]
    error: str | None = None

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches, as the PNG file has them; 0 where there is none."""
        header = self.files.get("png", bytes(24))
        return int.from_bytes(header[16:20], "big") / RESOLUTION, int.from_bytes(header[20:24], "big") / RESOLUTION


def drawn(pictures: Iterable[Picture]) -> list[Drawn]:
    """Draw pictures one by one, in their order; what cannot be drawn costs no other."""
    return [_drawn(picture) for picture in pictures]


def to_file(figure: Figure, ending: str = "png") -> bytes:
    """Return a figure as a PNG or SVG file, the same bytes for the same figure."""
    import matplotlib

    buffer = io.BytesIO()
    settings: dict[Any, Any] = {"svg.hashsalt": "sttp", "svg.fonttype": "path", "savefig.bbox": None}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format=ending, dpi=RESOLUTION, metadata=_WITHOUT[ending])
    return buffer.getvalue()


def _drawn(picture: Picture) -> Drawn:
    name = re.sub(r"[^\w.+-]+", "_", picture.file)
    try:
        figure = picture.draw()
        files = {ending: to_file(figure, ending) for ending in _WITHOUT}
    except Exception as error:  # also of the user's own code, and the report is to be written all the same
        return Drawn(name, picture.title, picture.caption, {}, f"{type(error).__name__}: {error}")
    return Drawn(name, picture.title, picture.caption, files)
