"""What a report of trainings says beside its numbers: what was compared, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ..._plain import short
from ...definition import Study
from ...report.content import listed
from ...search import GridSearch
from .adaptation import SAME_START as ADAPTED_START
from .adaptation import is_adaptation
from .curve import OURS, Curve
from .table import Score

if TYPE_CHECKING:
    from ..case import TrainingCase

LOW_RANK: Final = (
    "A low-rank layer writes its weight matrix as W = U diag(s) Vᵀ, where U and V have orthonormal columns (they are "
    "frames) and s holds as many singular values as the rank. The network then has fewer parameters. Its size is the "
    "compression Z: the degrees of freedom that it keeps, in percent of the dense network’s parameters."
)
PARAMETERIZATIONS: Final = {
    "dense": ("dense", "Plain weight matrices, the network as it is; Z = 100 %."),
    "sn": (
        "SN",
        "Spectral normalization: plain weights, divided by their largest singular value, which one power iteration a "
        "forward follows (Miyato et al. 2018); Z = 100 %.",
    ),
    "sr": (
        "SR",
        "Spectral regularization: the same, with normalized singular values that a step may raise and not lower "
        "(Liu et al. 2019); Z = 100 %.",
    ),
    "svdp": ("SVDP", "U and V are one large frame each."),
    "sttp": (
        "STTP",
        "The spectral tensor train parameterization: U and V are themselves products of many small frames, so the same "
        "rank costs fewer parameters (Obukhov et al., AISTATS 2021).",
    ),
}
GEOMETRIES: Final = {
    "stiefel": "Every frame is a point on the Stiefel manifold, and a Riemannian optimizer moves it along that.",
    "grassmann": (
        "As with stiefel, but frames whose basis makes no difference to W are points on the Grassmann manifold, which "
        "takes this redundancy away."
    ),
    "householder": (
        "The frames are products of Householder reflections, all of whose entries are ordinary parameters, redundant "
        "ones too."
    ),
    "householder-reduced": (
        "The frames are products of Householder reflections without redundant entries, which is the paper’s own way. "
        "With SVDP and learned singular values none is redundant."
    ),
}
FLAVOURS: Final = (
    "C, L, R",
    "The spectrum s: constant, all ones; learned and divided by its largest value (Lipschitz); the same with the "
    "D-optimal penalty −Σ log s, which draws small singular values up.",
)
SAME_START: Final = (
    "At one rank, seed and spectrum all SVDP and STTP networks start from the same weights W, those of a fresh "
    "STTP network, written in each one’s own parameters. The dense network starts from PyTorch’s usual random "
    "weights."
)
LETTERED: Final = ("identity", "lipschitz", "learned", "regularized")
ON_FINDINGS: Final = (
    "Differences are taken seed by seed, between runs that share batches and, at one rank and spectrum, first weights, "
    "with their 95 % interval (Student’s t). “Better” and “worse” mean that the interval excludes 0, which by chance "
    "alone about one comparison in twenty does. Times are only compared where they were taken in turns, round by "
    "round, and the 95 % interval of their ratio is clear of 1. The words are explained below."
)


def subtitle(study: Study, is_adaptation: bool) -> str:
    """Return what was compared, in a sentence."""
    cases = cast("tuple[TrainingCase, ...]", study.cases)
    methods = len({case.method for case in cases})
    ranks = sorted({case.rank for case in cases if case.rank is not None})
    of_rank = f", rank{_s(len(ranks))} {', '.join(map(str, ranks))}" if ranks else ""
    seeds = f"{len(study.seeds)} seed{_s(len(study.seeds))}"
    what = "change a trained network" if is_adaptation else "parameterize the layers of one network"
    ways = f"{methods} way{_s(methods)} to {what}"
    return f"Study `{study.name}`: {ways}{of_rank}, {seeds}, runs of {_shared(cases, 'steps')} steps."


def terms(study: Study, curves: Sequence[Curve]) -> tuple[tuple[str, str], ...]:
    """Return the words of a study with their meanings."""
    cases = cast("tuple[TrainingCase, ...]", study.cases)
    used = {case.parameterization for case in cases}
    found = [words for name, words in PARAMETERIZATIONS.items() if name in used]
    ours = {case.geometry for case in cases if case.geometry in OURS.get(case.parameterization, ())}
    found += [(geometry, words) for geometry, words in GEOMETRIES.items() if geometry in ours]
    spectra = {case.spectrum for case in cases if case.spectrum is not None}
    if len(spectra) > 1 and spectra.intersection(LETTERED):
        found.append(FLAVOURS)
    return (*found, *_foreign_terms(curves))


def _foreign_terms(curves: Sequence[Curve]) -> Iterator[tuple[str, str]]:
    """Say of methods from outside this package what is known of them."""
    for title in dict.fromkeys(curve.title for curve in curves if curve.is_foreign):
        group = [curve for curve in curves if curve.title == title]
        errors = [error for c in group for r in c.results if (error := r.facts.get("start_error")) is not None]
        start = (
            f" Its first weights are those of the others up to a relative error of {max(errors):.0e}." if errors else ""
        )
        yield (
            title,
            f"A method from outside this package, `{group[0].method}`, with the same data, budget and search.{start}",
        )


def procedure(
    study: Study, presentation: Mapping[str, Any], curves: Sequence[Curve], score: Score
) -> tuple[tuple[str, str], ...]:
    """Return how the comparison was made, by what each sentence is about."""
    settings = ", ".join(f"`{name} = {short(value)}`" for name, value in presentation["settings"].items())
    return (
        ("Task", str(presentation["description"])),
        (
            "Same start",
            ADAPTED_START if is_adaptation(curves) else SAME_START,
        ),
        ("Same data and budget", _budget(study)),
        *((("Settings", f"{settings}."),) if settings else ()),
        ("Learning rates" if len(_rates(study)) != 1 else "Learning rate", _search(study, score)),
        ("Test", "Each run reads the test split once, at its end. Nothing is chosen by it."),
        ("Time and memory", _times(curves)),
    )


def _budget(study: Study) -> str:
    cases = cast("tuple[TrainingCase, ...]", study.cases)
    spectra = _shared([case for case in cases if case.spectrum is not None], "spectrum")
    with_spectra = f" and the spectrum {spectra}" if spectra else ""
    return (
        f"At one seed all networks see the same batches in the same order: {_shared(cases, 'steps')} steps of "
        f"{_shared(cases, 'batch_size')} examples, with the optimizer {_shared(cases, 'optimizer', code=True)} for all "
        f"parameters, a learning rate that falls linearly to 0{with_spectra}."
    )


def _search(study: Study, score: Score) -> str:
    rates, search = _rates(study), study.search
    if len(rates) == 1:
        return f"{rates[0]:g} for all runs; nothing is tuned."
    tried = f"tries {', '.join(f'{rate:g}' for rate in rates)}" if rates else "tries several"
    if isinstance(search, GridSearch):
        more = f" Where the best lies at the edge, the grid is continued there, up to {search.extensions} times."
        more = more if search.extensions else ""
    else:
        more = " More rates are tried where the best ones lie, for every curve as many."
    return (
        f"Every curve (a method at a rank) {tried} with seed {study.tuning_seed} and keeps the rate of the best "
        f"validation {score.name} (then of the lowest validation loss).{more} The chosen rate then runs with all "
        f"{len(study.seeds)} seeds."
    )


def _rates(study: Study) -> tuple[float, ...]:
    return tuple(getattr(study.search, "learning_rates", ()))


def _times(curves: Sequence[Curve]) -> str:
    results = [result for curve in curves for result in curve.results]
    devices = sorted({result.environment.get("device", "cpu") for result in results})
    threads = sorted({result.timing.threads for result in results})
    loads = [curve.turn.load for curve in curves if curve.turn is not None and curve.turn.load is not None]
    on = f"Runs are made on {listed([f'`{device}`' for device in devices])}, " if devices else "Runs are made "
    one = f"each with {' or '.join(map(str, threads))} thread{_s(threads[-1] if threads else 1)} of PyTorch"
    load = f" at a load of {max(loads):.1f}" if loads else ""
    if any(curve.turn is not None for curve in curves):
        turns = (
            f"Times of steps are taken afterwards, in turns on one worker{load}, so that whatever slows the machine "
            "slows all."
        )
    else:
        turns = "Times of steps are those of the runs, which others may have slowed: they are not to be compared."
    return (
        f"{on}{one}; others may be made at the same time. {turns} Peak memory is that of the process, with Python, "
        "PyTorch and the data; on a GPU that of its tensors."
    )


def _shared(cases: Sequence[TrainingCase], name: str, code: bool = False) -> str:
    """Return the values of cases in words."""
    values = list(dict.fromkeys(getattr(case, name) for case in cases))
    words = [
        f"`{short(value)}`" if code or isinstance(value, str) else short(value) for value in values if value is not None
    ]
    return " or ".join(words)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
