"""The report of a study of trainings as plain content, which any page can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...definition import Study
from ...report.content import Content, Picture, Section
from ...result import LAST_STEPS
from ...run_files import SAMPLES
from ...schedule import Results
from ...surroundings import RUNS
from ...turns import Turn
from .adaptation import CHANGES, adaptation_findings, adaptation_terms, is_adaptation, sizes_figure
from .curve import Curve, curves_of
from .figures import accuracy_figure, has_accuracy, loss_figure, orthogonality_figure
from .findings import findings
from .spectra import has_spectra, heat_map_figure, sample_figure, spectra_table, spectrum_figure
from .table import Score, column, frame, table
from .words import LOW_RANK, ON_FINDINGS, procedure, subtitle, terms

# Where a presentation says the folder of the results, which has the images that runs generate.
FOLDER: Final = "folder"


def content_of(study: Study, results: Results, presentation: Mapping[str, Any], turns: Sequence[Turn] = ()) -> Content:
    """Return what the report of a study shows."""
    score = Score.of(presentation)
    curves = curves_of(study, results, presentation, turns)
    drawable = [curve for curve in curves if curve.finished]
    return Content(
        subtitle=subtitle(study, is_adaptation(curves)),
        question=str(presentation["question"]),
        findings=(adaptation_findings if is_adaptation(curves) else findings)(curves, score),
        on_findings=ON_FINDINGS,
        sections=tuple(_sections(study, presentation, curves, drawable, score)),
        frame=lambda: frame(curves, score),
        csv={"spectra.csv": lambda: spectra_table(study, results)},
        values={"curves": [curve.to_dict() for curve in curves]},
        measures={score.column: ("test_score", "validation_score")}
        | {
            column(title): (f"test_{column(name)}", f"validation_{column(name)}")
            for name, title in score.others.items()
        },
        looks={_shared_title(curve): curve.look for curve in curves},
        names={curve.case.title: curve.name for curve in curves}
        | {_shared_title(curve): curve.line for curve in curves},
    )


def _sections(
    study: Study, presentation: Mapping[str, Any], curves: Sequence[Curve], drawable: Sequence[Curve], score: Score
) -> list[Section]:
    scored = [curve for curve in drawable if has_accuracy(curve)]
    what = (CHANGES,), adaptation_terms(curves)
    if not is_adaptation(curves):
        what = (LOW_RANK,), terms(study, curves)
    found = [
        Section("What was compared", *what),
        Section("How", (), procedure(study, presentation, curves, score)),
    ]
    if scored:
        found.insert(0, Section("", pictures=(_accuracy(scored, score),)))
    if curves:
        found.append(Section("Results", tables=(table(study, presentation, curves, score),)))
    if pictures := (*_training(drawable), *_spectral(drawable), *_samples(drawable, presentation.get(FOLDER))):
        found.append(Section("Training and spectra", pictures=pictures))
    return found


def _accuracy(curves: Sequence[Curve], score: Score) -> Picture:
    if is_adaptation(curves):
        return Picture(
            "accuracy",
            "Score against the size of a change",
            f"Up: the {score.name} on the test split, means over seeds with their 95 % intervals. Across, on log "
            "scales: left the numbers that a change stores, right the dimension of what they reach. Level lines are "
            "the bounds.",
            lambda: sizes_figure(curves, score),
        )
    return Picture(
        "accuracy",
        "Score against compression",
        "Across: Z, the parameters that the network keeps in percent, on a log scale; left is smaller. Up: the "
        f"{score.name} on the test split, means over seeds with their 95 % intervals. Methods of equal Z are set apart "
        "by a few percent of Z so that they do not hide one another.",
        lambda: accuracy_figure(curves, score),
    )


def _training(curves: Sequence[Curve]) -> list[Picture]:
    found = []
    with_losses = [curve for curve in curves if any(result.losses for result in curve.finished)]
    if with_losses:
        timed = any(curve.turn is not None for curve in with_losses)
        seconds = (
            "in seconds of steps as long as those taken in turns" if timed else "in wall-clock seconds of training"
        )
        found.append(
            Picture(
                "loss",
                "Training loss against steps and seconds",
                f"Left, the same training in optimizer steps; right, {seconds}. Dashed lines are Householder charts, "
                "solid ones Riemannian optimization on the frames, dotted plain weights. Each line is the mean over "
                f"seeds of the moving mean over {LAST_STEPS} steps, on a log scale where no loss is negative; the band "
                "goes from the lowest to the highest seed.",
                lambda: loss_figure(with_losses),
            )
        )
    feasible = [curve for curve in curves if curve.orthogonality_error is not None]
    if feasible:
        found.append(
            Picture(
                "orthogonality",
                "Orthogonality of the frames over training",
                "The largest distance ‖XᵀX − I‖ (Frobenius norm) of any frame X of any layer and seed, on a log scale. "
                "It is rounding error: the network computes in float32. Nothing repairs the frames but the methods "
                "themselves.",
                lambda: orthogonality_figure(feasible),
            )
        )
    return found


def _spectral(curves: Sequence[Curve]) -> list[Picture]:
    shown = [curve for curve in curves if has_spectra(curve)]
    if not shown:
        return []
    return [
        Picture(
            "singular_values",
            "Singular values of layers at the end of training",
            "Each layer’s weight as a matrix has as many singular values as its rank; here they are in descending "
            "order, divided by the largest, and averaged over seeds. A line that falls to 0 is a layer that does not "
            "use its rank. Of the dense network only the first values are shown.",
            lambda: spectrum_figure(shown),
        ),
        Picture(
            "spectra_over_training",
            "Spectra of all layers over training",
            "A panel a method, at its largest rank and first seed; a row a layer, from the first below to the last "
            "above; steps of training across. The colour is the stable rank ‖W‖²_F / ‖W‖²₂ in percent of the rank: 100 "
            "where all singular values are equal, near 0 where one of them is all that is left, which is called "
            "spectral collapse.",
            lambda: heat_map_figure(shown),
        ),
    ]


def _samples(curves: Sequence[Curve], folder: Any) -> list[Picture]:
    if folder is None:
        return []
    paths = {curve.name: Path(folder) / RUNS / curve.results[0].run.identifier / SAMPLES for curve in curves}
    grids = {name: path for name, path in paths.items() if path.exists()}
    if not grids:
        return []
    return [
        Picture(
            "samples",
            "Generated images",
            "At the end of training, of the first seed, from the same noise for all methods.",
            lambda: sample_figure(grids),
        )
    ]


def _shared_title(curve: Curve) -> str:
    """Return what the titles of the cases of a line have in common."""
    parts = curve.case.title.split(", ")
    return ", ".join(part for part in parts if part != f"rank {curve.case.rank}")
