"""Which figures a study has, as PNG files by name, with the words under them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..result import LAST_STEPS
from ..runs.sample_grid import SAMPLES
from ..study import Study
from ..surroundings import RUNS
from ..tasks import TASKS
from .plots import accuracy_figure, loss_figure, orthogonality_figure, spectrum_figure, to_png
from .spectrum_plots import heat_map_figure, sample_figure
from .summary import CurveSummary

ACCURACY, LOSS, SPECTRA, ORTHOGONALITY = "accuracy.png", "loss.png", "singular_values.png", "orthogonality.png"
HEAT_MAPS, IMAGES = "spectra_over_training.png", "samples.png"

CAPTIONS: Final = {
    ACCURACY: (
        "Score against compression",
        "Across: Z, the parameters that the network keeps in percent, on a log scale; left is smaller. Up: the score "
        "on the test split. Every faint mark is one seed; the larger ones, joined by lines, are means. Methods of "
        "equal Z are set apart by a few percent of Z so that they do not hide one another.",
    ),
    IMAGES: (
        "Generated images",
        "At the end of training, of the first seed, from the same noise for all methods.",
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
    HEAT_MAPS: (
        "Spectra of all layers over training",
        "A panel a method, at its largest rank and first seed; a row a layer, from the first below to the last above; "
        "steps of training across. The colour is the stable rank ‖W‖²_F / ‖W‖²₂ in percent of the rank: 100 where all "
        "singular values are equal, near 0 where one of them is all that is left, which is called spectral collapse.",
    ),
    ORTHOGONALITY: (
        "Orthogonality of the frames over training",
        "The largest distance ‖XᵀX − I‖ (Frobenius norm) of any frame X of any layer and seed, on a log scale. It is "
        "rounding error: the network computes in float32. Nothing repairs the frames but the methods themselves.",
    ),
}


def study_figures(study: Study, summaries: Sequence[CurveSummary], folder: Path) -> dict[str, bytes]:
    """Return the figures of a study.

    Args:
        study: what was compared.
        summaries: of the curves.
        folder: of the results, which has the samples.
    """
    figures: dict[str, bytes] = {}
    drawable = [summary for summary in summaries if summary.diverged < len(summary.results)]
    if drawable:
        figures[ACCURACY] = to_png(accuracy_figure(drawable, TASKS[study.task]))
        figures[LOSS] = to_png(loss_figure(drawable))
        figures[SPECTRA] = to_png(spectrum_figure(drawable))
        figures[HEAT_MAPS] = to_png(heat_map_figure(drawable))
    if any(summary.orthogonality_error is not None for summary in drawable):
        figures[ORTHOGONALITY] = to_png(orthogonality_figure(drawable))
    grids = {s.curve.method.title: folder / RUNS / s.results[0].run.identifier / SAMPLES for s in drawable}
    grids = {title: path for title, path in grids.items() if path.exists()}
    if grids:
        figures[IMAGES] = to_png(sample_figure(grids))
    return figures
