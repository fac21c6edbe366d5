"""Pages from templates, of studies of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jinja2


def render_page(template: str, environments: Iterable[Mapping[str, str]], **content: Any) -> str:
    """Return a page as HTML.

    Args:
        template: name of a file in ``templates/``.
        environments: what each result was made with; the page lists those that differ.
        content: the names that the template uses.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    listed = sorted({", ".join(f"{key} {value}" for key, value in versions.items()) for versions in environments})
    return environment.get_template(template).render(environments=listed, **content)
