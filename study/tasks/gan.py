"""The task `gan`: a generator against a discriminator on any data set of images, with the paper's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import nn

from ..metrics import CLASSIFIER_FRECHET_DISTANCE, CLASSIFIER_KERNEL_DISTANCE, CLASSIFIER_SCORE
from ..networks import NETWORKS
from ..parameterizations import DENSE
from ..runs import processes
from ..surroundings import Surroundings
from .adversarial import AdversarialTraining
from .construction import built, constrained, require_role
from .gan_scores import GeneratedScores
from .images import image_shape, open_images
from .task import ImageShape, Task, Training

if TYPE_CHECKING:
    from ..run import Run


@final
class Gan(Task):
    """Generation of images (Obukhov et al. 2021, Sec. 5.1: SNGAN on CIFAR-10 and STL-10).

    The run's network is one half of a pair, a discriminator or a generator. The other half has plain weights; where it
    is the discriminator, they are normalized spectrally.
    """

    score_name: ClassVar[str] = CLASSIFIER_SCORE
    score_scale: ClassVar[float] = 1.0
    score_unit: ClassVar[str] = ""
    loss_name: ClassVar[str] = CLASSIFIER_FRECHET_DISTANCE
    other_measures: ClassVar[Mapping[str, str]] = {
        "loss": CLASSIFIER_FRECHET_DISTANCE,
        CLASSIFIER_KERNEL_DISTANCE: CLASSIFIER_KERNEL_DISTANCE,
    }
    description: ClassVar[str] = (
        "Generated images against a data set's. A tenth of the training images of every class is held out for "
        "validation. Both networks are trained on the hinge loss. Images are scored on the features and classes of a "
        "classifier that is trained on the data set itself: its score is more, its distances are less the better; none "
        "of them is comparable with a score on the features of Inception."
    )
    question: ClassVar[str] = (
        "Does a GAN train well when the layers of one of its networks are spectral, and do the spectra of a "
        "discriminator collapse? The same pair of networks is trained in several ways, everything else being equal."
    )
    settings: ClassVar[tuple[str, ...]] = (
        "data",
        "size",
        "images",
        "width",
        "partner_width",
        "conditional",
        "augment",
        "precision",
        "accumulation",
        "weight_decay",
        "critic_steps",
        "averaging",
        "samples",
        "inception",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "sngan32-discriminator",
        "spectrum": "regularized",
        "optimizer": "gan-adam",
        "learning_rates": (2e-4,),
        "extensions": 0,
        "seeds": (0,),
        "steps": 100_000,
        "batch_size": 64,
    }

    def require(self, run: Run) -> None:
        """Refuse a network that is no half of a pair.

        Raises:
            ValueError: as said.
        """
        require_role(run, "a generator or a discriminator", "generator", "discriminator")

    def image_shape(self, run: Run, surroundings: Surroundings) -> ImageShape:
        """Return the shape of the data set's images."""
        return image_shape(run, surroundings)

    def training(self, run: Run, network: nn.Module, surroundings: Surroundings) -> Training:
        """Begin the training of the pair."""
        splits = open_images(run, surroundings)
        device = processes.own_device(surroundings.device)
        score = GeneratedScores(splits, surroundings.folder, device, run.settings.inception)
        return AdversarialTraining(run, network, partner(run, splits.shape), splits, score, surroundings)


def partner(run: Run, shape: ImageShape) -> nn.Module:
    """Return the network that a run's network is trained against, at first weights that depend on the seed alone."""
    name = NETWORKS[run.network].partner
    assert name is not None, "both halves of a pair know the other one"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed + 2**20)  # far from the seeds of the networks that runs are about
        network = built(name, run.settings.partner_width, run.settings, shape)
    return constrained(network, "sn" if NETWORKS[name].role == "discriminator" else DENSE, (), run.seed)
