"""What a report shows, as a kind of study gives it and whatever draws it takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..register import Appearance


@final
@dataclass(frozen=True)
class Table:
    """A table for people: a row a case, whose first cell names it.

    Attributes:
        title: above it.
        columns: titles of the columns.
        rows: cells, as many in each row as there are columns.
        notes: sentences below it, such as what * means.
        links: for each row the identifiers of its runs, to which the page links; empty for none.
        optional: titles of columns that only the page shows where a terminal would have too many.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    links: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Picture:
    """A figure that is drawn when it is asked for, since drawing is slow and may fail.

    Attributes:
        file: its name without an ending; PNG and SVG files have it.
        title: above it.
        caption: below it: what is across, what is up, how to read it.
        draw: returns the figure, of no more than 10 inches in width.
    """

    file: str
    title: str
    caption: str
    draw: Callable[[], Figure]


@final
@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: above it; empty for none.
        paragraphs: text, in which `words` between backquotes are set as code.
        terms: words and what they mean, as a list of definitions.
        tables, pictures: in their order, the tables first.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    terms: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@final
@dataclass(frozen=True)
class Content:
    """A report of any kind of study.

    Attributes:
        subtitle: what was compared, in a sentence.
        question: what the study asks, in a sentence or two.
        findings: what was found, in sentences that are computed from the numbers.
        on_findings: how the findings are to be read.
        sections: all else.
        frame: for programs, ``outcome.table``: a row a case that has results, in the study's order.
        csv: other tables for programs, by their file's name.
        values: plain values for ``--json``.
        measures: other names of measures, such as ``accuracy``, with the names in results that they stand for; the
            first that a result has counts.
        looks: of the lines of ``outcome.plot``, by the part of the titles that the cases of a line share.
        names: what these parts, and whole titles of cases, are called for readers; by default as they are.
    """

    subtitle: str
    question: str
    findings: tuple[str, ...]
    on_findings: str
    sections: tuple[Section, ...]
    frame: Callable[[], pd.DataFrame]
    csv: Mapping[str, Callable[[], pd.DataFrame]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    looks: Mapping[str, Appearance] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables."""
        return tuple(table for section in self.sections for table in section.tables)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All figures."""
        return tuple(picture for section in self.sections for picture in section.pictures)


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence has them: ``a, b and c``."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
