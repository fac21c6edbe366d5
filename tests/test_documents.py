"""The documents: their programs run, their links lead somewhere, and no option or key is left out."""

import functools
import re
import shutil
import sys
import tomllib
import types
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from image_archives import drawn, png, write_parquet
from torch import nn
from torch.nn.functional import relu

import sttp
from sttp.layers import STTP, reparameterize
from sttp.optim import RiemannianAdam
from sttp.study import KINDS, NETWORKS, STRATEGIES, Study, Training, compare, data, engine, metrics
from sttp.study.cli import app
from sttp.study.definition import OWN_KEYS
from sttp.study.metrics.features import ClassifierOptions, feature_classifier
from sttp.study.outcome import Outcome
from sttp.study.register import _REGISTERS

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path for path in (ROOT / "docs").glob("*.md")} | {
    "the README": ROOT / "README.md",
    "CONTRIBUTING.md": ROOT / "CONTRIBUTING.md",
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)
STUDY = re.compile(r"```toml\n(.*?)```", re.DOTALL)
MODULE = re.compile(r"# (\w+)\.py\n")  # the first line of a program that is to be imported
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
COMMANDS = typer.main.get_command(app).commands
# A program that needs what is not at hand everywhere: the weights of Inception, and a GPU.
NOT_RUN = "inception_scores"


def of_data(folder):
    """Lay small data sets where the page has them."""
    for split, count in (("train", 10), ("test", 4)):
        write_parquet(folder / "path/to/cifar10" / f"{split}.parquet", *drawn(count))
    for name in ("cat", "dog"):
        (folder / "my-images" / name).mkdir(parents=True)
        for index, image in enumerate(drawn(5)[0]):
            (folder / "my-images" / name / f"{index}.png").write_bytes(png(image))
    shutil.make_archive(str(folder / "my-images"), "zip", folder / "my-images")
    (folder / "my-flags").mkdir()
    (folder / "my-flags" / "number.txt").write_text("3")
    rows = [f"{row},{row / 3},{row % 2}" for row in range(20)]
    (folder / "measurements.csv").write_text("\n".join(["size,weight,kind", *rows]))
    return {}


def of_metrics(_):
    return {
        "torch": torch,
        "relu": relu,
        "network": NETWORKS["sngan8-discriminator"].build(8),
        "another": NETWORKS["sngan8-discriminator"].build(8),
        "discriminator": NETWORKS["sngan8-discriminator"].build(8),
        "generator": NETWORKS["sngan8-generator"].build(8),
        "noise": torch.randn(40, 128, generator=torch.Generator().manual_seed(0)),
        "real": torch.zeros(2, 1, 8, 8),
        "generated": torch.ones(2, 1, 8, 8),
    }


def of_persistence(_):
    network = reparameterize(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4)), STTP(2))
    optimizer = RiemannianAdam(network.parameters(), lr=1e-3)
    network(torch.ones(1, 6)).sum().backward()
    optimizer.step()
    rounded = {name: value.bfloat16().float() for name, value in network.state_dict().items()}
    return {"sttp": sttp, "RiemannianAdam": RiemannianAdam, "network": network, "optimizer": optimizer} | {
        "checkpoint": rounded
    }


def of_studies(folder):
    """Lay made-up images of CIFAR's shape where the page has them."""
    (folder / "photographs").mkdir()
    for split, count in (("train", 40), ("test", 10)):
        images = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        np.save(folder / f"photographs/{split}-images.npy", images)
        np.save(folder / f"photographs/{split}-labels.npy", np.arange(count) % 10)
    return {}


def of_own_parts(folder):
    """Lay a table where the page has it."""
    rows = [f"{row},{row % 7},{row / 3}" for row in range(60)]
    (folder / "measurements.csv").write_text("\n".join(["size,kind,weight", *rows]))
    return {}


def of_readme(_):
    pairs = [(torch.full((6,), float(index)), index % 3) for index in range(40)]
    names = {"train_set": pairs, "test_set": pairs[:10], "my_function": lambda network: network}
    return names | {"MyNet": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))}


# What a page speaks of without making it.
GIVEN = {
    "the README": of_readme,
    "data.md": of_data,
    "metrics.md": of_metrics,
    "own-parts.md": of_own_parts,
    "persistence.md": of_persistence,
    "studies.md": of_studies,
}


def small(*arguments, **values):
    """Compare in a few steps."""
    few = {"ranks": [2], "learning_rates": [0.03], "extensions": 0, "batch_size": 4, "evaluations": 1}
    if "problems" in values:
        few = {"learning_rates": [0.01, 0.03], "trials": 2, "looks": 2}
    few |= {"steps": 2, "seeds": [0], "executor": "sequential", "progress": False}
    return compare(*arguments, **values | {name: few[name] for name in few if name != "ranks" or name in values})


@pytest.fixture
def registers():
    """Leave the registers as they were: pages register parts."""
    tables = [table for register in _REGISTERS for table in (register._entries, register._imported)]
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # which tensorly-torch uses
@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if PROGRAM.search(text)])
def test_the_programs_of_a_page_run(page, tmp_path, monkeypatch, registers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sttp.study, "compare", small)
    monkeypatch.setattr(engine, "LONGEST_STEP", 0.0)  # no turns are taken,
    monkeypatch.setattr(engine, "write_all", Outcome.of)  # and nothing is drawn unless the page does
    monkeypatch.setattr("sttp.study.data.CACHE", tmp_path / "cache")
    known = dict(data.DATA)
    monkeypatch.setitem(data.load.__kwdefaults__, "cache", tmp_path / "cache")
    quick = functools.partial(feature_classifier, options=ClassifierOptions(epochs=1, steps=2))
    monkeypatch.setattr(metrics, "feature_classifier", quick)
    for optional in ("tltorch", "peft"):
        if f"import {optional}" in TEXTS[page]:
            pytest.importorskip(optional)
    names = GIVEN.get(page, lambda _: {})(tmp_path)
    try:
        with torch.random.fork_rng():
            for program in PROGRAM.findall(TEXTS[page]):
                if module := MODULE.match(program):
                    (tmp_path / f"{module[1]}.py").write_text(program)
                    monkeypatch.delitem(sys.modules, module[1], raising=False)
                elif NOT_RUN not in program:
                    exec(compile(program, page, "exec"), names)
    finally:
        for name in data.DATA.keys() - known.keys():  # what a page registered
            del data.DATA[name]


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if STUDY.search(text)])
def test_the_studies_of_a_page_compare_something(page, monkeypatch, registers):
    made = types.ModuleType("mine")
    made.TASK = Training(nn.Flatten, train=(np.zeros((9, 2)), np.zeros(9)))
    made.orthogonal, made.tucker = (lambda network: network), (lambda network, rank: network)
    monkeypatch.setitem(sys.modules, "mine", made)
    for text in STUDY.findall(TEXTS[page]):
        assert len(Study.from_dict({"name": "s"} | tomllib.loads(text)).cases) > 1


def anchor(heading):
    """Return what a link calls a heading: its letters, digits and hyphens, with hyphens for blanks."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_and_headings(page):
    links = [link for link in LINK.findall(TEXTS[page]) if "://" not in link[0]]
    for file, heading in links:
        target = PAGES[page].parent / file if file else PAGES[page]
        assert target.exists(), file
        if heading:
            words = re.sub(r"```.*?```", "", target.read_text(encoding="utf-8"), flags=re.DOTALL)
            anchors = [anchor(found) for found in HEADING.findall(words)]
            assert heading in anchors, f"{file}#{heading}"


def test_some_links_lead_to_headings():
    assert any(heading for text in TEXTS.values() for _, heading in LINK.findall(text))


def test_every_page_is_in_the_list_of_pages():
    listed = {file for file, _ in LINK.findall(TEXTS["README.md"])}
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_in_help_and_beside_its_command(command):
    options = [parameter for parameter in COMMANDS[command].params if parameter.param_type_name == "option"]
    assert options
    # What stands above the sections is about all commands, and all there is about `plot`.
    above, *sections = re.split(r"^## ", TEXTS["commands.md"], flags=re.MULTILINE)
    words = "".join([above, *(section for section in sections if section.startswith(f"`sttp {command}`\n"))])
    for option in options:
        assert option.help
        assert re.search(rf"`[^`\n]*{option.opts[0]}\b", words), f"{option.opts[0]} is not in the section"


def test_the_study_of_the_page_has_the_defaults():
    (values,) = [study for text in STUDY.findall(TEXTS["studies.md"]) if "title" in (study := tomllib.loads(text))]
    needed = {name: values[name] for name in ("name", "title", "methods")}
    assert Study.from_dict(values) == Study.from_dict(needed)
    assert len(values) > 12


@pytest.mark.parametrize("kind", ["training", "optimizers"])
def test_every_key_of_a_study_is_in_a_page(kind):
    found = KINDS[kind]
    options = [field.name for name in STRATEGIES for field in fields(STRATEGIES[name])]
    keys = {*OWN_KEYS, *found.short_forms, *found.defaults, *options}
    pages = TEXTS["studies.md"] + TEXTS["paper.md"] + TEXTS["optimizers.md"]
    missing = {key for key in keys if not re.search(rf"`{key}`|^{key} =|`{key} =|^\[{key}\]", pages, re.MULTILINE)}
    assert not missing
