"""Print pip constraints that hold every requirement of setup.cfg at its lower bound: what `make test-oldest` installs.

Of torch it is the oldest build for CPUs that pip finds, if it finds any: on Linux its usual builds bring gigabytes of
CUDA.
"""

import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SETTINGS = Path(__file__).parent.parent / "setup.cfg"


def requirements(*extras: str) -> Iterator[tuple[str, str]]:
    """Yield name and range of what the package requires, and what these of its extras do (of all, if none is named)."""
    settings = configparser.ConfigParser()
    settings.read(SETTINGS)
    chosen = extras or tuple(settings["options.extras_require"])
    blocks = [settings["options"]["install_requires"], *(settings["options.extras_require"][name] for name in chosen)]
    for line in "\n".join(blocks).splitlines():
        if line.strip():
            name, bounds = re.fullmatch(r"([\w.-]+)\s*(.*)", line.strip()).groups()
            yield name, bounds


def lower_bound(bounds: str) -> str:
    """Return the oldest version that a range such as ``>=1.2,<2`` has."""
    return re.search(r"[>=]=\s*([\w.+]+)", bounds)[1]


def oldest_cpu_build(bound: str) -> str:
    """Return the oldest version of torch from ``bound`` on whose build for CPUs pip finds, or else ``bound`` itself."""
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    builds = {version for version in re.findall(r"[\d.]+\+cpu", found) if _numbers(version) >= _numbers(bound)}
    return min(builds, key=_numbers, default=bound)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.removesuffix("+cpu").split("."))


if __name__ == "__main__":
    for name, bounds in requirements("study", "test"):
        bound = lower_bound(bounds)
        print(f"{name}=={oldest_cpu_build(bound) if name == 'torch' else bound}")
