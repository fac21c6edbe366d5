"""Fine-tuning compared: adapters on a pretrained network, by accuracy, numbers, time and memory."""

from __future__ import annotations

from typing import Final

from ...networks import NETWORKS, NetworkEntry
from ..task import TASKS
from .encoder import Texts, pretrained_encoder
from .labelled import Adaptation, UprightDigits
from .methods import NAMES
from .transformer import digits_transformer

NETWORKS.add("digits-transformer", NetworkEntry(digits_transformer, skip=("head",), role="trained", size=8))
NETWORKS.add("encoder", NetworkEntry(pretrained_encoder, skip=("head",), role="trained"))
TASKS.add("upright-digits", UprightDigits())
TASKS.add("texts", Texts())

# The study `adapters`.
ADAPTERS: Final = {
    "name": "adapters",
    "title": "Adapters of a small transformer",
    "kind": "training",
    "task": "upright-digits",
    "network": "digits-transformer",
    "methods": list(NAMES),
    "ranks": [2, 8],
    "seeds": [0, 1, 2],
    "steps": 300,
    "evaluations": 3,
    "learning_rates": [0.003, 0.01, 0.03],
}
# Its keys that have other values with a model and texts of the user's.
WITH_MODEL: Final = {
    "task": "texts",
    "network": "encoder",
    "evaluations": 1,
    "learning_rates": [0.0003, 0.001, 0.003],
    "extensions": 1,
    "title": "Adapters of a text encoder",
}

__all__ = ["ADAPTERS", "WITH_MODEL", "Adaptation", "Texts", "UprightDigits"]
