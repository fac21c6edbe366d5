import pytest
import torch

# The tests' matrices are small: more threads would wait for each other, and for other workers of the tests.
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def coarse_pictures():
    """Figures of few dots, which are drawn sooner."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sttp.study.report.pictures.RESOLUTION", 30)
        yield
