import os
import sys

import pytest
import torch

# The tests' matrices are small: more threads would wait for each other, and for other workers of the tests.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start


def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: some tests wait for processes that they start or kill."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="module")
def coarse_pictures():
    """Figures of few dots, which are drawn sooner, and few steps taken in turns."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sttp.study.turns.STEPS", 1)
        patched.setattr("sttp.study.report.pictures.RESOLUTION", 30)
        yield


@pytest.fixture(scope="module")
def blank_pictures():
    """Figures that are made and not drawn, which takes longest, and few steps taken in turns."""
    import sttp.study.report.plot  # noqa: F401 which has the function that draws under a name of its own

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sttp.study.turns.STEPS", 1)
        patched.setattr("sttp.study.report.pictures.to_file", lambda figure, ending: b"")
        yield


@pytest.fixture(autouse=True)
def _registers_as_they_were():
    """Forget what a test registers: other tests use the same names. What the package registers on import stays."""
    studies = sys.modules.get("sttp.study.register")
    before = [] if studies is None else [(register, register.entries()) for register in studies._REGISTERS]
    manifolds = sys.modules.get("sttp.manifolds._register")
    kinds = None if manifolds is None else dict(manifolds._kinds)
    yield
    for register, entries in before:
        ours = {name: entry for name, entry in register.entries().items() if entry.is_ours}
        register._entries = {**ours, **entries}
    if manifolds is not None and kinds is not None:
        manifolds._kinds.clear()
        manifolds._kinds.update(kinds)
