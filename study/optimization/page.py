"""The report of a study of optimizers: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from ..report.rendering import render_page
from .comparison import Comparison
from .selection import Results, expected_total
from .study import FACTORS, OptimizerStudy
from .tables import column_titles, comparison_rows

CAPTIONS: Final = {
    "profiles": (
        "Performance profiles (Dolan and Moré 2002) over the problems with a known answer. Across: a budget, in times "
        "of what the best of all choices needed on the same problem from the same start. Up: the share of problems and "
        "starts on which a choice reached the gap within that budget. Higher and further left is better; a line that "
        "stays below 1 has not solved everything within its steps. All steps follow one schedule, so the cost in steps "
        "says how early in it the gap was reached."
    ),
    "convergence": (
        "Relative gap to the optimum, of the start that ends in the middle of all. Where the answer is not known, as "
        "in training, it is the loss on the whole training set, divided by that of a guess. The learning rate falls to "
        "0 along a half cosine, which is where a late drop comes from."
    ),
    "orthogonality": (
        "How far frames left the manifold at any time, a mark a problem. Nothing repairs them but the methods."
    ),
}


@final
@dataclass(frozen=True)
class Figure:
    """A plot of a factor, or of all of them where that is empty, and its file."""

    factor: str
    kind: str
    file: str
    data: bytes


def render(
    study: OptimizerStudy,
    results: Results,
    comparisons: Sequence[Comparison],
    sentences: Sequence[str],
    figures: Sequence[Figure],
    name: str,
    finished: bool,
) -> str:
    """Return the report as HTML, the figures within.

    Args:
        study: what was compared.
        results: of all finished runs.
        comparisons: one a factor.
        sentences: what was found.
        figures: plots.
        name: the study's folder, by which the report says where its tables are.
        finished: whether all runs are there.
    """
    return render_page(
        "optimizers.html",
        (result.environment for result in results.values()),
        study=study,
        problems=[
            {"label": p.label, "summary": p.summary, "sizes": p.name.removeprefix(p.kind).strip()}
            for p in study.problems
        ],
        sections=[
            {
                "factor": comparison.factor,
                "title": FACTORS[comparison.factor],
                "columns": column_titles(comparison),
                "rows": comparison_rows(comparison),
                "figures": _shown(figures, comparison.factor),
            }
            for comparison in comparisons
            if comparison.problems
        ],
        general=_shown(figures, ""),
        findings=sentences,
        runs=len(results),
        expected=expected_total(study),
        finished=finished,
        folder=name,
    )


def _shown(figures: Sequence[Figure], factor: str) -> list[dict[str, str]]:
    return [
        {"caption": CAPTIONS[figure.kind], "data": base64.b64encode(figure.data).decode(), "file": figure.file}
        for figure in figures
        if figure.factor == factor
    ]
