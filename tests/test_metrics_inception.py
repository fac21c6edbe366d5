"""Inception Score, FID and KID: what is asked for where they are missing, and where they are at hand, their values."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from sttp.study.metrics import GaussianStatistics, frechet_distance, inception_score, kernel_distance
from sttp.study.metrics.inception import WEIGHTS, inception_scores, inception_weights

IMAGES = torch.randint(256, (24, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
needs_fidelity = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None or importlib.util.find_spec("torchvision") is None,
    reason="torch-fidelity, of the extra gan, is not installed",
)


def test_a_missing_package_is_told_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"need torch-fidelity .*pip install 'sttp-torch\[gan\]', or take the"
    ):
        inception_scores(IMAGES, IMAGES)


def test_missing_weights_are_told_with_their_place_and_never_fetched_unasked(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = tmp_path / "checkpoints" / WEIGHTS
    with pytest.raises(FileNotFoundError, match="weights of Inception are not at hand") as refusal:
        inception_weights()
    assert str(place) in str(refusal.value)
    assert inception_weights(download=True) is None  # torch-fidelity may fetch them
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        inception_weights(tmp_path / "elsewhere.pth", download=True)
    place.parent.mkdir()
    place.touch()
    assert inception_weights() == place


@pytest.mark.parametrize(
    ("generated", "real", "kind", "words"),
    [
        (IMAGES.float(), IMAGES, TypeError, "generated must be uint8, got torch.float32"),
        (IMAGES, IMAGES[:9], ValueError, r"real must have shape \(n, 1 or 3, H, W\) with n of at least 10, got \(9,"),
        (IMAGES[:, :2], IMAGES, ValueError, r"generated must have shape .* got \(24, 2, 8, 8\)"),
    ],
)
def test_bad_images_are_refused(generated, real, kind, words):
    with pytest.raises(kind, match=words):
        inception_scores(generated, real)


@needs_fidelity
@pytest.mark.filterwarnings("ignore")  # of packages that this project does not choose
def test_the_scores_are_those_of_the_networks_features(tmp_path, monkeypatch):
    # With random weights, which can be made without a download; what is compared holds for any.
    from torch_fidelity import feature_extractor_inceptionv3 as extractors

    class Initialized(Exception):  # noqa: N818 (not an error, a way out of the constructor once the layers are there)
        pass

    def stop(*_, **__):
        raise Initialized

    made = []
    torch.manual_seed(0)
    monkeypatch.setattr(extractors, "load_state_dict_from_url", stop)
    create = torch.nn.Module.__init__

    def remembered(module, *arguments, **options):
        create(module, *arguments, **options)
        if isinstance(module, extractors.FeatureExtractorInceptionV3):
            made.append(module)

    monkeypatch.setattr(torch.nn.Module, "__init__", remembered)
    with pytest.raises(Initialized):
        extractors.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    monkeypatch.undo()
    path = tmp_path / "weights.pth"
    torch.save(made[0].state_dict(), path)
    generated, real = IMAGES[:20, :1], 255 - IMAGES[:20, 1:2] // 2
    scores = inception_scores(generated, real, path)
    network = extractors.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(path))
    (ours, logits), (theirs, _) = (network(images.expand(-1, 3, -1, -1)) for images in (generated, real))
    distance = frechet_distance(GaussianStatistics.of(ours), GaussianStatistics.of(theirs))
    assert scores["FID"] == pytest.approx(distance, rel=1e-3)
    assert scores["KID"] == pytest.approx(kernel_distance(ours, theirs, subsets=1).mean, rel=1e-3)
    order = np.random.RandomState(0).permutation(20)
    assert scores["Inception Score"] == pytest.approx(inception_score(logits[order].softmax(dim=1)).mean, rel=1e-9)
