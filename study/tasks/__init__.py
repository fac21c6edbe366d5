"""Trainings of networks: what they are trained on, the methods that are compared, and studies of them."""

from __future__ import annotations

from typing import Final

from ..definition import STUDIES, Study
from .adaptation import ADAPTERS
from .case import TrainingCase
from .classification import Classification
from .digits import Digits
from .gan import Gan
from .kind import TrainingKind
from .method import METHODS, Method
from .own import Training
from .task import TASKS, Evaluation, SupervisedTask, Task
from .trial import NetworkTrial

DIGITS: Final = Digits()
TASKS.add("digits", DIGITS)
TASKS.add("classification", Classification())
TASKS.add("gan", Gan())

STUDIES.add(
    "digits",
    Study.from_dict(
        {
            "name": "digits",
            "title": "Spectral tensor train layers on handwritten digits",
            "kind": TrainingKind.name,
            "methods": [
                "dense",
                "svdp stiefel",
                "svdp householder",
                "sttp stiefel",
                "sttp grassmann",
                "sttp householder",
                "sttp householder-reduced",
            ],
        }
    ),
)

STUDIES.add("adapters", Study.from_dict(ADAPTERS))

__all__ = [
    "DIGITS",
    "METHODS",
    "TASKS",
    "Evaluation",
    "Method",
    "NetworkTrial",
    "SupervisedTask",
    "Task",
    "Training",
    "TrainingCase",
    "TrainingKind",
]
