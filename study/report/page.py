"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from ..paper import has_published
from ..selection import Results, expected_total, pending_runs, planned_runs
from ..study import Study
from ..tasks import TASKS
from .figures import CAPTIONS
from .rendering import render_page
from .summary import CurveSummary
from .tables import column_titles, other_measures, summary_rows

BASELINE_WORDS: Final = {
    "sn": "Spectral normalization: plain weights, divided by their largest singular value, which one power iteration a "
    "forward follows (Miyato et al. 2018); Z = 100 %.",
    "sr": "Spectral regularization: the same, with normalized singular values that a step may raise and not lower "
    "(Liu et al. 2019); Z = 100 %.",
}


def render(
    study: Study,
    results: Results,
    summaries: Sequence[CurveSummary],
    sentences: Sequence[str],
    figures: Mapping[str, bytes],
    name: str,
) -> str:
    """Return the report of a study as HTML, the figures within.

    Args:
        study: what was compared.
        results: of all finished runs.
        summaries: of the curves.
        sentences: what was found.
        figures: PNG files by their names in ``figures.CAPTIONS``.
        name: the study's folder, by which the report says where its tables are.
    """
    task = TASKS[study.task]
    parameterizations = {method.parameterization for method in study.methods}
    return render_page(
        "report.html",
        (result.environment for result in results.values()),
        study=study,
        task=task,
        settings=({} if study.task == "digits" else {"data": study.settings.data}) | study.settings.changed,
        baselines=[(kind.upper(), words) for kind, words in BASELINE_WORDS.items() if kind in parameterizations],
        flavoured=any(method.spectrum is not None for method in study.methods),
        others=list(other_measures(study).values()),
        published=has_published(study),
        findings=sentences,
        columns=column_titles(study),
        rows=summary_rows(study, summaries),
        figures=[
            {"title": title, "caption": caption, "data": base64.b64encode(figures[file]).decode()}
            for file, (title, caption) in CAPTIONS.items()
            if file in figures
        ],
        finished=len(planned_runs(study, results)) - len(pending_runs(study, results)),
        expected=expected_total(study, results),
        threads=sorted({result.timing.threads for result in results.values()}),
        devices=sorted({result.environment.get("device", "cpu") for result in results.values()}),
        folder=name,
    )
