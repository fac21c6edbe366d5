"""The wheel: what it holds, and that it imports where the repository is not."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("manifolds", "optim", "layers", "study")


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
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, wheel]
    subprocess.run(command, check=True)
    program = "import sttp, sttp.study.command_line; print(sttp.__file__, sttp.layers.STTP(rank=2).rank)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(installed / "sttp" / "__init__.py"), "2"]


def test_every_dependency_has_a_range_and_a_pin():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    lines = [settings["options"]["install_requires"], *(extras[name] for name in extras)]
    required = [line.strip() for block in lines for line in block.splitlines() if line.strip()]
    pins = {normal(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert len(required) > 10
    for requirement in required:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert normal(name[0]) in pins, f"{requirement} has no pin in constraints.txt"
        assert re.search(r"[<>=]", requirement), f"{requirement} has no range in setup.cfg"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
