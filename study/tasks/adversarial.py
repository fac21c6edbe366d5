"""Training of a generator against a discriminator on the hinge loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import shared_evaluation
from .. import processes
from ..case import Run
from ..data import Batch, to_symmetric
from ..networks import network_entry
from ..networks.sngan import NOISE_DIMENSION
from ..random_streams import generator_of
from ..surroundings import Surroundings
from .averaging import STATISTICS_BATCHES
from .case import TrainingCase
from .images import ImageSplits
from .task import Evaluation, Split
from .trial import NetworkTrial, accumulate, evaluating

# What noise is drawn for: each purpose has numbers of its own, apart from those of data.batches.
CRITIC, GENERATOR, GRID, VALIDATION, TEST, STATISTICS = range(16, 22)
GRID_SIZE: Final = 64  # images in a grid of samples
GENERATION_BATCH: Final = 250

Score = Callable[[Tensor, Split], Evaluation]


class Round(NamedTuple):
    """What a step of either network sees: real images and their classes, noise and the classes wanted of it."""

    images: Tensor | None
    labels: Tensor | None
    noise: Tensor
    wanted: Tensor


@final
class AdversarialTrial(NetworkTrial):
    """Several steps of the discriminator, then one of the generator; both learning rates fall linearly to 0.

    The discriminator minimizes the mean of max(0, 1 − D(x)) over real images plus that of max(0, 1 + D(G(z))), the
    generator the mean of −D(G(z)); the penalty of the spectrum is added to the loss of the run's network.

    Args:
        case, run: what is trained.
        partner: the network that the run's is trained against.
        splits: the images.
        score: evaluates generated images in [−1, 1] against a split.
        surroundings: the device.

    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
    """

    def __init__(
        self,
        case: TrainingCase,
        run: Run,
        partner: nn.Module,
        splits: ImageSplits,
        score: Score,
        surroundings: Surroundings,
    ) -> None:
        super().__init__(case, run, splits.shape, surroundings)
        self._splits, self._score = splits, score
        pair = self.network, partner.to(self._device)
        is_generator = network_entry(case.network).role == "generator"
        self._generator, self._discriminator = pair if is_generator else pair[::-1]
        self._parallel_generator = processes.parallel(self._generator)
        self._parallel_discriminator = processes.parallel(self._discriminator)
        self._train(self._generator, self._discriminator)
        self._losses: dict[str, Tensor] = {}

    def step(self, step: int) -> Tensor:
        """Make the steps of the discriminator and the one of the generator; return the former's mean loss."""
        self._require_rate()
        generator, discriminator = self._optimizers
        losses = []
        for repetition in range(self.case.settings.critic_steps):
            discriminator.zero_grad()
            real = next(self._batches)
            own = self._round(real, CRITIC, step, repetition)
            losses.append(accumulate(self._parallel_discriminator, own, self._critic_loss))
            discriminator.step()
        generator.zero_grad()
        self._discriminator.requires_grad_(False)
        own = self._round(None, GENERATOR, step)
        generator_loss = accumulate(self._parallel_generator, own, self._generator_loss)
        self._discriminator.requires_grad_(True)
        generator.step()
        self._end_step()
        self._losses = {
            "discriminator": processes.mean(torch.stack(losses).mean()),
            "generator": processes.mean(generator_loss),
        }
        return self._losses["discriminator"]

    def evaluate(self, split: Split) -> Evaluation:
        """Return the scores of generated images: of as many as the settings say at the end, of a quarter on the way."""
        whole = split == "test"
        count = self.case.settings.samples if whole else self.case.settings.samples // 4
        return self._score(self._generated(count, TEST if whole else VALIDATION), split)

    def samples(self) -> Tensor | None:
        """Return images from noise that is the same at all times and for all runs of a seed."""
        return (self._generated(GRID_SIZE, GRID) + 1) / 2

    def scalars(self) -> dict[str, Tensor]:
        """Return the losses of both networks."""
        return self._losses

    def _go_to(self, step: int) -> None:
        start = step * self.case.settings.critic_steps
        self._batches = self._splits.batches(self.run.seed, self.case.batch_size, self.case.settings.augment, start)

    def _show_noise(self, generator: nn.Module) -> None:
        """Give a generator in training mode some batches of noise."""
        with shared_evaluation(generator), self._autocast():
            for index in range(STATISTICS_BATCHES):
                for piece in processes.pieces(self._whole(None, STATISTICS, index), self.case.settings.accumulation):
                    self._generate(generator, piece)

    def _round(self, real: Batch | None, *key: int) -> list[Round]:
        """Return this process's part of a step, in pieces."""
        return processes.own_pieces(self._whole(real, *key), self.case.settings.accumulation)

    def _whole(self, real: Batch | None, *key: int) -> Round:
        """Return what all processes see in a step."""
        generator = generator_of(self.run.seed, *key)
        size = self.case.batch_size
        noise = torch.randn(size, NOISE_DIMENSION, generator=generator).to(self._device)
        wanted = torch.randint(self._splits.shape.classes, (size,), generator=generator).to(self._device)
        images, labels = (None, None) if real is None else real
        return Round(None if images is None else to_symmetric(images), labels, noise, wanted)

    def _critic_loss(self, piece: Round) -> Tensor:
        assert piece.images is not None, "the discriminator sees real images"
        with self._autocast():
            with torch.no_grad():
                fake = self._generate(self._generator, piece)
            images = torch.cat([piece.images, fake])  # one forward, so that normalizations see one state of the weights
            if self.case.settings.conditional:
                assert piece.labels is not None, "real images have classes"
                scores = self._parallel_discriminator(images, torch.cat([piece.labels, piece.wanted]))
            else:
                scores = self._parallel_discriminator(images)
        real, generated = scores.float().chunk(2)
        return self._penalized(F.relu(1 - real).mean() + F.relu(1 + generated).mean(), self._discriminator)

    def _generator_loss(self, piece: Round) -> Tensor:
        with self._autocast():
            fake = self._generate(self._parallel_generator, piece)
            scores = self._discriminator(fake, *([piece.wanted] if self.case.settings.conditional else []))
        return self._penalized(-scores.float().mean(), self._generator)

    def _generate(self, generator: nn.Module, piece: Round) -> Tensor:
        images: Tensor = generator(piece.noise, *([piece.wanted] if self.case.settings.conditional else []))
        return images

    def _generated(self, count: int, purpose: int) -> Tensor:
        """Return images in [−1, 1] of the generator, or of its moving average, in evaluation mode."""
        module = self._generator if self._average is None else self._average.network(self._show_noise)
        noise = generator_of(self.run.seed, purpose)
        images = []
        with evaluating(module), self._autocast():
            for start in range(0, count, GENERATION_BATCH):
                size = min(GENERATION_BATCH, count - start)
                drawn = torch.randn(size, NOISE_DIMENSION, generator=noise).to(self._device)
                wanted = torch.randint(self._splits.shape.classes, (size,), generator=noise).to(self._device)
                images.append(self._generate(module, Round(None, None, drawn, wanted)).float())
        return torch.cat(images)
