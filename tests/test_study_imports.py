"""The arrows among the parts of ``sttp.study`` go one way: each part imports those below it alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

STUDY = Path(__file__).parent.parent / "study"

# From the ground up. Parts of one line do not import each other.
LAYERS = (
    {"_plain", "heartbeat", "machine", "processes", "random_streams", "surroundings"},
    {"register", "settings"},
    {"design", "executors", "foreign", "parts", "search"},
    {"case", "optuna_search"},
    {"kind", "workers"},
    {"result", "definition"},
    {"schedule"},
    {"run_files"},
    {"loop", "report"},
    {"turns"},
    {"folder", "progress"},
    {"outcome"},
    {"engine"},
    {"baselines", "data"},
    {"metrics", "networks"},
    {"tasks"},
    {"problems"},
    {"paper", "pretrained"},
    {"_compare"},
    {"cli"},
)


def part_of(path: Path) -> str:
    """The part of a file: its package below ``study``, or its own name."""
    relative = path.relative_to(STUDY)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> Iterator[str]:
    """Parts that a file imports, but for what only types need."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    depth = len(path.relative_to(STUDY).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]


def files() -> list[Path]:
    """All files but those that list or load everything."""
    return [path for path in sorted(STUDY.rglob("*.py")) if part_of(path) not in ("__init__", "__main__", "_public")]


def test_every_part_has_a_layer():
    parts = {part_of(path) for path in files()}
    assert parts, "there are files"
    assert parts <= set().union(*LAYERS), parts - set().union(*LAYERS)


def test_imports_go_downward():
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong = [
        f"{path.relative_to(STUDY)} imports {other}"
        for path in files()
        for other in imported(path)
        if other != part_of(path) and level[other] >= level[part_of(path)]
    ]
    assert not wrong, wrong
