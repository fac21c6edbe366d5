"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

import jinja2

from .findings import findings
from .result import LAST_STEPS
from .selection import Results, expected_total, pending_runs, planned_runs
from .study import Study
from .summary import CurveSummary
from .tables import column_titles, summary_rows
from .tasks import TASKS

ACCURACY, LOSS, SPECTRA, ORTHOGONALITY = "accuracy.png", "loss.png", "singular_values.png", "orthogonality.png"

CAPTIONS: Final = {
    ACCURACY: (
        "Score against compression",
        "Across: Z, the parameters that the network keeps in percent, on a log scale; left is smaller. Up: the score "
        "on the test split. Every faint mark is one seed; the larger ones, joined by lines, are means. Methods of "
        "equal Z are set apart by a few percent of Z so that they do not hide one another.",
    ),
    LOSS: (
        "Training loss against steps and seconds",
        "Left, the same training in optimizer steps; right, in wall-clock seconds of training. Dashed lines are "
        "Householder charts, solid ones Riemannian optimization on the frames, dotted the dense network. "
        f"Each line is the mean over seeds of the moving mean over {LAST_STEPS} steps, on a log scale.",
    ),
    SPECTRA: (
        "Singular values of each layer at the end of training",
        "Each layer's weight as a matrix has as many singular values as its rank; here they are in descending order, "
        "divided by the largest, and averaged over seeds. A line that falls to 0 is a layer that does not use its "
        "rank. Of the dense network only the first values are shown.",
    ),
    ORTHOGONALITY: (
        "Orthogonality of the frames over training",
        "The largest distance ‖XᵀX − I‖ (Frobenius norm) of any frame X of any layer and seed, on a log scale. It is "
        "rounding error: the network computes in float32. Nothing repairs the frames but the methods themselves.",
    ),
}


def render(
    study: Study, results: Results, summaries: Sequence[CurveSummary], figures: Mapping[str, bytes], name: str
) -> str:
    """Return the report of a study as HTML, the figures within.

    Args:
        study: what was compared.
        results: of all finished runs.
        summaries: of the curves.
        figures: PNG files by the names above.
        name: the study's folder, by which the report says where its tables are.
    """
    task = TASKS[study.task]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        study=study,
        task=task,
        findings=findings(summaries, task.score_name),
        columns=column_titles(study),
        rows=summary_rows(summaries),
        figures=[
            {"title": title, "caption": caption, "data": base64.b64encode(figures[file]).decode()}
            for file, (title, caption) in CAPTIONS.items()
            if file in figures
        ],
        finished=len(planned_runs(study, results)) - len(pending_runs(study, results)),
        expected=expected_total(study, results),
        environments=sorted({", ".join(f"{k} {v}" for k, v in r.environment.items()) for r in results.values()}),
        folder=name,
    )
