"""Spectra of the layers: a table for programs, and figures of them at the end and over training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import matplotlib.image
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...definition import Study
from ...metrics.spectra import LayerSpectrum
from ...report.text import label
from ...result import Result
from ...schedule import Results, planned_runs
from .curve import Curve, by_line, ranks_of
from .figures import COLUMNS, WIDTH, heading, paneled, rank_words

if TYPE_CHECKING:
    from ..case import TrainingCase

Curves = Sequence[Curve]

LAYERS: Final = 4  # layers that are shown of a deep network
ROW: Final = 0.17  # inches, of a layer in a heat map
LABELS: Final = 14  # layers that a heat map names at the most
_OF_RUNS: Final = ("parameterization", "geometry", "spectrum", "rank")


def spectra_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a layer of each look at a network, with nothing that differs between two executions.

    Numbers are text of as many digits as float32 has, in which networks are.
    """
    rows = []
    for run in planned_runs(study, results):
        case = cast("TrainingCase", run.case)
        about: dict[str, Any] = {"run": run.identifier, **{name: getattr(case, name) for name in _OF_RUNS}}
        about |= {"learning_rate": _text(run.learning_rate), "seed": run.seed}
        for look in results[run].looks if run in results else ():
            for layer, values in look.spectra.items():
                found = LayerSpectrum(tuple(values))
                row = {"step": look.step, "layer": layer, "spectral_norm": _text(found.spectral_norm)}
                row |= {"stable_rank": _text(found.stable_rank), "smallest_over_largest": _text(found.smallest)}
                rows.append(about | row)
    return pd.DataFrame(rows).astype({"rank": "Int64"}) if rows else pd.DataFrame(rows)


def has_spectra(curve: Curve) -> bool:
    """Return whether singular values are known of a run that did not diverge."""
    return any(result.looks and result.looks[-1].spectra for result in curve.finished)


def spectrum_figure(curves: Curves) -> Figure:
    """Plot the normalized singular values of layers at the end, a panel a rank and layer."""
    # Normalized plain weights are shown whole, against a share of their number: what they are about is the last values.
    whole = any(curve.is_normalized for curve in curves)
    ranks, layers = ranks_of(curves), _shown_layers(curves)
    of_rank = {rank: [curve for curve in curves if curve.case.rank in (None, rank)] for rank in ranks}
    limit = None if whole else max((rank for rank in ranks if rank is not None), default=None)
    wanted = [
        (rank, layer) for rank in ranks for layer in layers if any(_at_end(curve, layer) for curve in of_rank[rank])
    ]
    figure, panels = paneled(len(wanted), curves)
    for index, (axes, (rank, layer)) in enumerate(zip(panels, wanted, strict=True)):
        for curve in of_rank[rank]:
            ends = _at_end(curve, layer)
            if not ends:
                continue
            count = min(map(len, ends))
            values = np.mean([LayerSpectrum(end).normalized[:count] for end in ends], axis=0)[:limit]
            abscissa = (np.arange(len(values)) + 1) / (len(values) if whole else 1)
            look = curve.look
            style: dict[str, Any] = {"color": look.color, "linestyle": look.line, "marker": look.marker}
            axes.plot(abscissa, values, markersize=4, linewidth=1.2, **style)
        heading(axes, rank_words(rank), layer)
        axes.set_ylim(0, 1.05)
        if whole:
            axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4) if whole else MaxNLocator(nbins=6, integer=True))
        if index % COLUMNS == 0:
            axes.set_ylabel("sᵢ / s₁")
        if index >= len(wanted) - COLUMNS:
            axes.set_xlabel("index i / rank" if whole else "index i")
    return figure


def heat_map_figure(curves: Curves) -> Figure:
    """Draw the stable rank of every layer over training, a panel a line at its largest rank."""
    chosen = [group[-1] for group in by_line(curves).values()]
    found = [(curve, _stable_ranks(next(r for r in curve.finished if r.looks[-1].spectra))) for curve in chosen]
    layers = max(len(shares) for _, (_, shares) in found)
    figure, panels = paneled(len(found), height=max(1.7, ROW * layers + 0.9))
    mesh = None
    for index, (axes, (curve, (steps, shares))) in enumerate(zip(panels, found, strict=True)):
        axes.grid(False)
        borders = np.arange(len(shares) + 1)
        mesh = axes.pcolormesh(
            _edges(steps), borders, np.array(list(shares.values())), vmin=0, vmax=100, cmap="cividis"
        )
        is_first = index % COLUMNS == 0 or list(shares) != list(found[index - 1][1][1])
        names = list(shares) if is_first else [""] * len(shares)
        every = math.ceil(len(shares) / LABELS)
        axes.set_yticks(borders[:-1:every] + 0.5, [label(name)[-20:] for name in names[::every]])
        axes.tick_params(axis="both", labelsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        heading(axes, curve.line, rank_words(curve.case.rank))
        axes.set_xlabel("steps", fontsize=9)
    assert mesh is not None, "there is a curve with spectra"
    figure.colorbar(mesh, ax=panels, label="stable rank, % of the rank", location="top", shrink=0.7, aspect=30)
    return figure


def sample_figure(grids: Mapping[str, Path]) -> Figure:
    """Draw the grids of generated images, a panel a line."""
    figure, panels = paneled(len(grids), height=WIDTH / COLUMNS)
    for axes, (title, path) in zip(panels, grids.items(), strict=True):
        axes.set_axis_off()
        axes.imshow(matplotlib.image.imread(path), interpolation="nearest")
        heading(axes, title)
    return figure


def _stable_ranks(result: Result) -> tuple[list[int], dict[str, list[float]]]:
    """Return steps, and the stable rank of each layer after them in percent of the number of its singular values."""
    looks = [look for look in result.looks if look.spectra]
    layers = [layer for layer in looks[0].spectra if all(layer in look.spectra for look in looks)]

    def share(values: Sequence[float]) -> float:
        return 100 * LayerSpectrum(tuple(values)).stable_rank / len(values)

    return [look.step for look in looks], {name: [share(look.spectra[name]) for look in looks] for name in layers}


def _at_end(curve: Curve, layer: str) -> list[tuple[float, ...]]:
    """Return a layer's singular values at the end of each run."""
    ends = [result.looks[-1].spectra.get(layer) for result in curve.finished if result.looks]
    return [tuple(end) for end in ends if end]


def _shown_layers(curves: Curves) -> list[str]:
    """Return the layers of a network with a spectrum to show, of a deep one a few from the first to the last."""
    sizes: dict[str, int] = {}
    for curve in curves:
        for result in curve.finished[:1]:
            for layer, values in result.looks[-1].spectra.items():
                sizes[layer] = max(len(values), sizes.get(layer, 0))
    layers = [layer for layer, size in sizes.items() if size > 1] or list(sizes)
    if len(layers) <= LAYERS:
        return layers
    return [layers[round(k * (len(layers) - 1) / (LAYERS - 1))] for k in range(LAYERS)]


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:.8g}"


def _edges(steps: Sequence[int]) -> np.ndarray:
    """Return the borders of columns whose middles are steps."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (np.array(steps[1:]) + np.array(steps[:-1])) / 2
    return np.concatenate([[steps[0]], middles, [steps[-1]]])
