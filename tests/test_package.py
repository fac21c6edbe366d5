"""The wheel: what it holds, and that it imports where the repository is not."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from oldest_versions import lower_bound, requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FOLDERS = ("manifolds", "optim", "layers", "adapters", "study")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # A copy, so that nothing that an earlier build left in the repository gets in, and nothing is left behind.
    source = tmp_path_factory.mktemp("source") / "sttp"
    skipped = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results")
    shutil.copytree(ROOT, source, ignore=skipped)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        target,
        source,
    ]
    subprocess.run(command, check=True)
    (found,) = target.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {f"sttp/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    templates = {f"sttp/{path.relative_to(ROOT)}" for path in (ROOT / "study").rglob("*.html")}
    assert names == modules | templates | {"sttp/__init__.py", "sttp/py.typed"}
    assert templates


def test_the_wheel_imports_from_another_folder(wheel, tmp_path):
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    program = "import sttp, sttp.study.cli; print(sttp.__file__, sttp.layers.STTP(rank=2).rank)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(installed / "sttp" / "__init__.py"), "2"]


def test_every_requirement_has_a_pin_in_its_range():
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    required = [Requirement(name + bounds) for name, bounds in requirements()]
    assert len(required) > 10
    for requirement in required:
        assert lower_bound(str(requirement.specifier)), f"{requirement} has no lower bound in setup.cfg"
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} has no pin in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} is pinned in constraints.txt to {pin}"


def test_the_oldest_versions_are_in_every_range_of_setup_cfg():
    for name, bounds in requirements():
        assert Requirement(name + bounds).specifier.contains(lower_bound(bounds)), f"{name} {bounds}"
