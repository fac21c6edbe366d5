"""What importing the package and asking for help load, and what they leave until it is used."""

import subprocess
import sys

import pytest
import typer

import sttp
from sttp.study import SPECIFICATIONS, SPECTRA, STUDIES
from sttp.study.cli import app, choices
from sttp.study.cli.options import load_wings
from sttp.study.data import DATA
from sttp.study.executors import EXECUTORS
from sttp.study.networks import NETWORKS

load_wings()

# What takes long to import: torch's compiler alone as long as all the rest of torch.
HEAVY = ("torch._dynamo", "matplotlib", "pandas", "sklearn", "joblib", "pyarrow", "transformers", "peft")


def ours(register):
    """Return the names of what this package registers, whatever other tests have."""
    return [name for name, entry in register.entries().items() if entry.is_ours]


def loaded(program):
    """Return the names of the modules that a program has loaded in a process of its own."""
    program += "\nimport sys; print('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_the_package_loads_nothing_before_it_is_used():
    assert not loaded("import sttp, sttp.study") & {"torch", "geoopt", "numpy"}


def test_packages_load_nothing_heavy():
    modules = loaded("import sttp.manifolds, sttp.layers, sttp.optim, sttp.adapters, sttp.study; sttp.study.read_study")
    assert "torch" in modules
    assert not modules & set(HEAVY)


def test_help_waits_for_nothing_heavy():
    commands = [[], *([name] for name in typer.main.get_command(app).commands)]
    program = f"from sttp.study.cli import run; assert not any(run([*command, '--help']) for command in {commands})"
    assert not loaded(program) & {"torch", "numpy", *HEAVY}


@pytest.mark.parametrize(
    ("listed", "registered"),
    [
        (choices.STUDIES, ours(STUDIES)),
        (choices.DATA_SETS, [name for name in DATA if name != "folder"]),
        (choices.NETWORKS, [name for name in ours(NETWORKS) if NETWORKS[name].role != "trained"]),
        (choices.PARAMETERIZATIONS, ours(SPECIFICATIONS)),
        (choices.SPECTRA, ours(SPECTRA)),
        (choices.EXECUTORS, ours(EXECUTORS)),
    ],
)
def test_help_lists_what_is_registered(listed, registered):
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(registered)


@pytest.mark.parametrize("package", [sttp, sttp.study])
def test_public_names_are_attributes_and_others_are_refused(package):
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert not hasattr(package, "nonsense")


def test_a_study_without_its_extra_names_the_extra(monkeypatch):
    monkeypatch.delattr(sttp, "study")
    monkeypatch.setitem(sys.modules, "sttp.study", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sttp-torch\[study\]'"):
        _ = sttp.study
