"""What a study of optimizers found, in sentences that are computed from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..report.content import listed
from ..report.intervals import is_clear_of_one
from ..report.reached import on_searches
from .comparison import Choice, Comparison

# Mean ranks closer than this are called equal.
CLOSE: Final = 0.5
# Orthogonality errors up to this are rounding in float64.
ROUNDING: Final = 1e-10


def findings(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Return the sentences, a few a factor."""
    sentences: list[str] = []
    for comparison in comparisons:
        if len(comparison.ordered) > 1:
            sentences += [*_ranking(comparison), *_solving(comparison), *_time(comparison)]
    return (*sentences, *_feasibility(comparisons), *_searches(comparisons))


def _ranking(comparison: Comparison) -> Iterator[str]:
    ordered, ranks = comparison.ordered, comparison.ranks
    best = [choice for choice in ordered if ranks[choice] - ranks[ordered[0]] < CLOSE]
    named = listed([f"{choice.label} ({ranks[choice]:.1f})" for choice in best])
    count = len(comparison.problems)
    last = f"; the last is {ordered[-1].label} ({ranks[ordered[-1]]:.1f})" if ordered[-1] not in best else ""
    yield (
        f"{comparison.plural.capitalize()}: by the gap at the end the best mean rank over {count} "
        f"problem{'s' if count > 1 else ''} has {named} of {len(ordered)}{last}."
    )


def _solving(comparison: Comparison) -> Iterator[str]:
    solved = {choice: comparison.solved(choice) for choice in comparison.ordered}
    shares = {choice: count / total for choice, (count, total) in solved.items() if total}
    if not shares:
        return
    most, plural, gap = max(shares.values()), comparison.plural.capitalize(), f"a gap of {comparison.tolerance:g}"
    if most == 0:
        yield f"{plural}: none reaches {gap} on any problem within its budget."
        return
    best = [choice for choice, share in shares.items() if share == most]
    cheapest = next((choice for choice in best if _is_clearly_cheapest(comparison, choice, best)), None)
    yield (
        f"{plural}: {listed([choice.label for choice in best])} {'reach' if len(best) > 1 else 'reaches'} {gap} on "
        f"{100 * most:.0f} % of problems and starts"
        + (f", {cheapest.label} with the cheapest steps" if cheapest else "")
        + "."
    )


def _is_clearly_cheapest(comparison: Comparison, choice: Choice, others: Sequence[Choice]) -> bool:
    ratios = [comparison.times_as_long(other, choice) for other in others if other != choice]
    return bool(ratios) and all(ratio is not None and is_clear_of_one(ratio) and ratio[0] > 1 for ratio in ratios)


def _time(comparison: Comparison) -> Iterator[str]:
    centre = comparison.choices[0]
    if centre not in comparison.ranks or comparison.factor in ("optimizer", "method"):
        return
    clear = []
    for choice in comparison.ordered:
        ratio = None if choice == centre else comparison.times_as_long(choice, centre)
        if ratio is not None and is_clear_of_one(ratio):
            clear.append(f"{choice.label} {ratio[0]:.2f} to {ratio[1]:.2f}")
    if clear:
        yield (
            f"{comparison.plural.capitalize()}: in turns on one worker a step took, {centre.label} being 1, "
            f"{listed(clear)}: 95 % intervals over rounds and problems."
        )


def _feasibility(comparisons: Sequence[Comparison]) -> Iterator[str]:
    errors = {
        entry.choice.label: comparison.orthogonality_error(entry.choice)
        for comparison in comparisons
        for entry in comparison.entries
        if entry.problem.is_known
    }
    loose = {name: error for name, error in errors.items() if error > ROUNDING}
    if loose:
        named = listed([f"{name} ({error:.0e})" for name, error in loose.items()])
        yield f"Frames left the manifold by more than 1e-10 in ‖XᵀX − I‖ under {named}; all others stayed to rounding."
    elif errors:
        yield f"No frame was ever further from orthogonality than ‖XᵀX − I‖ = {max(errors.values()):.0e}, in float64."


def _searches(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say what is to be said of searches for learning rates, by settings over their problems, none twice."""
    diverged: dict[str, int] = {}
    at_edge: dict[str, int] = {}
    for entry in {entry.case: entry for comparison in comparisons for entry in comparison.entries}.values():
        setting = entry.case.setting
        diverged[setting] = diverged.get(setting, 0) + entry.diverged
        at_edge[setting] = at_edge.get(setting, 0) + entry.at_edge
    yield from on_searches(diverged, at_edge, each="numbers of problems")
