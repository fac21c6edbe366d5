"""Wrong arguments: are they refused by name, before anything is changed?

One or two arguments of a right call are replaced by something wrong, drawn by a seed. The call is accepted if it
returns and has changed nothing that it is not there to change; refused if the package raises a ValueError or a
TypeError (of paths an OSError, too) that tells the argument's name or what was received; obscure in all other cases:
another exception, one that torch or Python raised, or a refused call that has changed an argument.
"""

from __future__ import annotations

import dis
import functools
import json
import os
import random
import re
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import sttp
from sttp.manifolds import described

from .bad_values import KINDS, Maker, variants
from .harness import RESULTS, machine
from .public_calls import FUNCTIONS, NOT_CALLED, Call, all_calls

SEED = 0
TRIES = 12_000
SECONDS = 30  # after which a call has hung
OUTCOMES = ("accepted", "refused", "obscure")
# A share of draws in which the wrong thing is the right one spoilt, and of those with two wrong arguments.
_SPOILT, _DOUBLE = 0.5, 0.25
_PACKAGE = Path(sttp.__file__).resolve().parent


@dataclass(frozen=True)
class Attempt:
    """A call, and what is wrong with it: makers of arguments by name, each with its own name."""

    call: Call
    wrong: dict[str, tuple[str, Maker]]

    def __str__(self) -> str:
        return f"{self.call.name}({', '.join(f'{name}: {word}' for name, (word, _) in self.wrong.items())})"


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Try the calls, print how many were accepted, refused and obscure, and keep the figures.

    Raises:
        SystemExit: one was obscure.
    """
    counts = {package: Counter[str]() for package in NOT_CALLED}
    obscure: list[str] = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = all_calls(Path(folder))
        require_all_public(calls)
        for attempt in attempts(calls, TRIES // 10 if quick else TRIES):
            outcome, words = outcome_of(attempt)
            counts[attempt.call.package][outcome] += 1
            if outcome == "obscure":
                obscure.append(f"{attempt}: {words}")
    rows = {
        package: {"tried": found.total(), **{word: found[word] for word in OUTCOMES}}
        for package, found in counts.items()
    }
    total = {word: sum(row[word] for row in rows.values()) for word in ("tried", *OUTCOMES)}
    record = {
        "benchmark": "bad_input",
        "machine": machine(device),
        "seed": SEED,
        "calls": len(calls),
        "total": total,
        "rows": rows,
        "obscure": obscure,
    }
    text = json.dumps(record, indent=1)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"bad-input-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
    else:
        show({**rows, "all": total}, obscure)
    if obscure:
        raise SystemExit(f"{len(obscure)} calls were obscure")


def show(rows: dict[str, dict[str, int]], obscure: list[str]) -> None:
    """Print a table of the packages, and what was obscure."""
    table = Table(title="calls with one or two wrong arguments")
    table.add_column("package")
    for word in ("tried", *OUTCOMES):
        table.add_column(word, justify="right")
    for package, row in rows.items():
        table.add_row(package, *(f"{count:,}" for count in row.values()))
    Console().print(table)
    print("\n".join(obscure))


def attempts(calls: list[Call], number: int) -> Iterator[Attempt]:
    """Draw attempts: calls in turn, and what is wrong with them by the seed."""
    source = random.Random(SEED)
    takers = [call for call in calls if call.right]
    for index in range(number):
        call = takers[index % len(takers)]
        names = list(call.right)
        several = len(names) > 1 and source.random() < _DOUBLE
        wrong = {}
        for name in source.sample(names, 2 if several else 1):
            makers = variants(call.right[name]()) if source.random() < _SPOILT else KINDS
            word = source.choice(list(makers))
            wrong[name] = (word, makers[word])
        yield Attempt(call, wrong)


def outcome_of(attempt: Attempt) -> tuple[str, str]:
    """Return "accepted", "refused" or "obscure", and what is obscure."""
    call = attempt.call
    arguments = {name: maker() for name, maker in call.right.items()}
    arguments |= {name: maker() for name, (_, maker) in attempt.wrong.items()}
    if any(name in FUNCTIONS and callable(value) for name, value in arguments.items() if name in attempt.wrong):
        return "accepted", ""  # it is what it should be, and what it does is its own
    before = {name: _content(value) for name, value in arguments.items()}
    try:
        with _limited(), open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            call.function(**arguments)
    except Exception as error:
        if why := _why_obscure(error, attempt, arguments):
            return "obscure", f"{why}: {type(error).__name__}: {str(error)[:300]}"
        kept = list(arguments)
        outcome = "refused"
    else:
        kept = [name for name in arguments if name not in call.changes]
        outcome = "accepted"
    changed = [name for name in kept if _content(arguments[name]) != before[name]]
    return ("obscure", f"{outcome}, and has changed {', '.join(changed)}") if changed else (outcome, "")


def require_all_public(calls: list[Call]) -> None:
    """Refuse calls from which a public function or class is missing, or that are not right.

    Raises:
        LookupError: one is missing.
        ValueError: one is not right.
    """
    names = {call.name.split("(")[0].split(".")[0] for call in calls}
    for package, left_out in NOT_CALLED.items():
        module = getattr(sttp, package)
        if missing := set(module.__all__) - names - left_out:
            raise LookupError(f"sttp.{package} has public names that are not called: {sorted(missing)}")
    for call in calls:
        outcome, words = outcome_of(Attempt(call, {}))
        if outcome != "accepted":
            raise ValueError(f"{call.name} is to be right, but was {outcome}: {words}")


def _why_obscure(error: Exception, attempt: Attempt, arguments: dict[str, Any]) -> str:
    """Return why a refusal is obscure, nothing where it is clear."""
    if isinstance(error, TimeoutError):
        return "hung"
    is_path = any(name in ("directory", "path") for name in attempt.wrong)
    if not (isinstance(error, ValueError | TypeError) or (is_path and isinstance(error, OSError))):
        return "kind"
    # That of a path is the system's own, and names it.
    if not isinstance(error, OSError) and not _is_raised_here(error.__traceback__):
        return "origin"
    given = [arguments[name] for name in attempt.wrong]
    words = [*attempt.call.right, *map(described, given), *map(str, given)]
    words += [key for name in attempt.wrong for key in _keys(attempt.call.right[name]())]
    named = any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(error)) for word in words if word)
    return "" if named else "words"


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _is_raised_here(traceback: TracebackType | None) -> bool:
    """Return whether a raise statement of the package is what raised, and nothing that it called."""
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    file = Path(code.co_filename).resolve()
    is_ours = file.is_relative_to(_PACKAGE) and not file.is_relative_to(_PACKAGE / "benchmarks")
    return is_ours and dis.opname[code.co_code[traceback.tb_lasti]] == "RAISE_VARARGS"


def _content(value: Any) -> object:
    """Return what of an argument must not change: its parts, and the values and gradients of tensors."""
    if isinstance(value, nn.Module):
        modules = [(name, id(module), module.training) for name, module in value.named_modules()]
        tensors = [(name, _content(tensor)) for name, tensor in _tensors(value)]
        return modules, tensors
    if isinstance(value, Tensor):
        gradient = value.grad if value.is_leaf and value.requires_grad else None
        return id(value), value.requires_grad, _bytes(value), None if gradient is None else _bytes(gradient)
    if isinstance(value, dict):
        return [(key, _content(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_content(item) for item in value]
    return id(value)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _bytes(tensor: Tensor) -> object:
    is_plain = tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_nested)
    if not is_plain or isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return None
    return tensor.detach().as_subclass(Tensor).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@contextmanager
def _limited() -> Iterator[None]:
    """Stop a block that hangs.

    Raises:
        TimeoutError: it did.
    """

    def stop(*_: object) -> None:
        raise TimeoutError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, functools.partial(stop))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
