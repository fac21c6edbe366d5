"""The report: one HTML file that needs nothing else, of a study of any kind."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from ..schedule import Results, expected_total, pending_runs, planned_runs
from .content import Section, Table
from .pictures import Drawn
from .reached import still_falling
from .tables import to_csv, to_latex
from .text import plain

if TYPE_CHECKING:
    from ..folder import ResultsFolder
    from ..outcome import Outcome

TEMPLATE: Final = "report.html"
LONG: Final = 40  # rows, from which a table scrolls by itself below its titles
BROAD: Final = 9  # columns, from which it has smaller letters
CSV_FILES: Final = ("results.csv", "timings.csv")


def render_page(outcome: Outcome, folder: ResultsFolder, pictures: Sequence[Drawn]) -> str:
    """Return the report as HTML, the same text for the same results."""
    study, results, content = outcome.study, outcome.results, outcome.content
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters["prose"] = prose
    falling = still_falling(study, results, content.names)
    left = iter(pictures)
    return environment.get_template(TEMPLATE).render(
        title=study.title or study.name,
        name=study.name,
        content=content,
        notes=[] if falling is None else [falling],
        sections=[_section(section, [next(left) for _ in section.pictures]) for section in content.sections],
        finished=len(planned_runs(study, results)) - len(pending_runs(study, results)),
        expected=expected_total(study, results),
        files=[*CSV_FILES, *content.csv],
        origin=_origin(folder, results),
    )


def prose(text: str) -> Markup:
    """Return text as HTML in which words between backquotes are set as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(plain(text)))))


def _section(section: Section, pictures: Sequence[Drawn]) -> dict[str, Any]:
    return {
        "title": section.title,
        "paragraphs": section.paragraphs,
        "terms": section.terms,
        "tables": [_table(table) for table in section.tables],
        "pictures": [_picture(picture) for picture in pictures],
    }


def _table(table: Table) -> dict[str, Any]:
    texts = {"csv": to_csv(table), "tex": to_latex(table)}
    links = table.links or ((),) * len(table.rows)
    return {
        "title": table.title,
        "columns": table.columns,
        "rows": list(zip(table.rows, links, strict=True)),
        "has_links": any(links),
        "is_long": len(table.rows) > LONG,
        "is_broad": len(table.columns) > BROAD,
        "has_groups": len({row[0] for row in table.rows}) < len(table.rows),
        "notes": table.notes,
        "file": re.sub(r"\W+", "-", plain(table.title)).strip("-").lower() or "table",
        "data": {ending: f"data:text/plain;charset=utf-8,{quote(text)}" for ending, text in texts.items()},
    }


def _picture(picture: Drawn) -> dict[str, Any]:
    png = picture.files.get("png", b"")
    return {
        "title": picture.title,
        "caption": picture.caption,
        "error": picture.error,
        "data": f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "size": picture.size,
        "files": {ending: f"{picture.name}.{ending}" for ending in picture.files},
    }


def _origin(folder: ResultsFolder, results: Results) -> dict[str, str]:
    """Return where the numbers come from: words by what they are about."""
    timings = [result.timing for result in results.values()]
    loads = [timing.load for timing in timings if timing.load is not None]
    ends = [timing.ended for timing in timings if timing.ended is not None]
    found = {
        "Command": folder.command or "",
        "Versions": "; ".join(sorted({_versions(result.environment) for result in results.values()})),
        "Processor": "; ".join(sorted({timing.processor for timing in timings if timing.processor})),
        "Threads": " or ".join(map(str, sorted({timing.threads for timing in timings}))),
        "Load": _range([f"{load:.1f}" for load in (min(loads), max(loads))]) if loads else "",
        "Date": _range([f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}" for end in (min(ends), max(ends))])
        + " UTC"
        if ends
        else "",
    }
    turns = [turn.load for turn in folder.turns() if turn.load is not None]
    if turns and loads:
        found["Load"] += f"; {turns[0]:.1f} while steps were timed in turns"
    return {name: words for name, words in found.items() if words}


def _versions(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items())


def _range(ends: Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
