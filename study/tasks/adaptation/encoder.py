"""A pretrained encoder of texts with a new head, and texts with labels for it."""

from __future__ import annotations

import copy
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
from torch import Tensor, nn

from ....layers import candidates
from ...data import Examples
from ...networks.source import HuggingFace
from ...surroundings import Surroundings
from ..case import TrainingCase
from ..task import ImageShape
from .labelled import SETTINGS, Adaptation, Splits

if TYPE_CHECKING:
    import pandas as pd

LABEL: Final = "label"
TOKENS: Final = 24
MOST: Final = {"validation": 1000, "test": 4000}  # texts, so that runs are mostly training
FORMATS: Final = (".parquet", ".csv")
# Queries and values of attention, as the models of transformers call them.
ATTENTION: Final = (
    ("*.query", "*.value"),
    ("*.q_proj", "*.v_proj"),
    ("*.q_lin", "*.v_lin"),
    ("*.query_proj", "*.value_proj"),
    ("*.q", "*.v"),
)
PADDING: Final = -1


@final
class Encoder(nn.Module):
    """The mean of an encoder's last states over the tokens, and a linear head.

    Attributes:
        adapted: patterns for the layers that adapters change: queries and values.
        heads: of the attention.
    """

    def __init__(self, encoder: nn.Module, number_of_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        config: Any = encoder.config
        self.heads = int(getattr(config, "num_attention_heads", 1))
        self.head = nn.Linear(config.hidden_size, number_of_classes)
        names = [name for candidate in candidates(encoder) for name in candidate.names]
        found = [pair for pair in ATTENTION if all(any(name.endswith(p[1:]) for name in names) for p in pair)]
        if not found:
            raise ValueError(
                f"network.folder has an encoder without queries and values by the names {ATTENTION}, whose layers are "
                f"{', '.join(names[:4])}, …; give another one"
            )
        self.adapted = found[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of tokens ``(batch, length)``, which are −1 after the end of a text."""
        mask = tokens != PADDING
        states = self.encoder(input_ids=tokens.clamp(min=0), attention_mask=mask.long()).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        logits: Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return logits


def pretrained_encoder(folder: str = "", number_of_classes: int = 2) -> nn.Module:
    """Return a pretrained encoder with a fresh head.

    Args:
        folder: of a model of transformers, or its id if that is in the cache.
        number_of_classes: number of logits.

    Raises:
        ValueError: there is no such model, or it is no encoder of texts.
    """
    if not folder:
        raise ValueError("network.folder is missing; give the folder of a model of transformers, as --model does")
    is_weightless = torch.get_default_device().type == "meta"
    network = HuggingFace(folder).build() if is_weightless else copy.deepcopy(_pretrained(folder))
    network = getattr(network, getattr(network, "base_model_prefix", ""), network)
    return Encoder(network, number_of_classes).train()


@lru_cache(maxsize=1)
def _pretrained(folder: str) -> nn.Module:
    return HuggingFace(folder).read()


@final
class Texts(Adaptation):
    """Texts in classes, from a folder with ``train``, ``validation`` and ``test``, each in parquet or CSV.

    The column ``label`` has the classes, and the column of the longest texts in ``train`` is read by the tokenizer of
    the network's folder. Of validation and test the first 1,000 and 4,000 are taken. The setting ``images`` is the
    number of training texts, from the first, and ``size`` the most tokens of a text, 24 by default.
    """

    settings = (*SETTINGS, "images", "size")
    description = (
        "Texts in classes, which a pretrained encoder reads: the mean of its last states goes through a new linear "
        "head, which is trained beside each change. The loss is the cross-entropy; the score is the share of texts "
        "named correctly."
    )

    def require(self, case: TrainingCase) -> None:
        """Refuse networks without a folder.

        Raises:
            ValueError: the case's network has none.
        """
        if "folder" not in case.options_of("network"):
            raise ValueError(
                f"network {case.network!r} has no folder with a tokenizer; give --model DIR and --data DIR"
            )

    def require_data(self, case: TrainingCase, surroundings: Surroundings) -> str | None:
        """Refuse a batch larger than the training split; return a checksum of tokens, labels and model."""
        self.bound(case, surroundings).batches(0, case.batch_size)
        digest = hashlib.sha256()
        for split in self.splits(case, surroundings).values():
            for tensor in split:
                digest.update(tensor.numpy().tobytes())
        for path in sorted(Path(case.options_of("network")["folder"]).glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape:
        """Return the number of tokens as size, and of classes."""
        # The first texts need not have all classes.
        classes = 1 + max(int(split.targets.max()) for split in self.splits(case, surroundings).values())
        return ImageShape(channels=1, size=case.settings.size or TOKENS, classes=classes)

    def splits(self, case: TrainingCase, surroundings: Surroundings) -> Splits:
        """Return tokens and labels."""
        if surroundings.data is None:
            raise ValueError("data is missing; give the folder of the labelled texts, as --data DIR does")
        settings = case.settings
        return _read(surroundings.data, case.options_of("network")["folder"], settings.images, settings.size or TOKENS)

    def shown(self, inputs: Tensor) -> Tensor:
        """Return tokens as far as the longest text of the batch."""
        return inputs[:, : int((inputs != PADDING).sum(1).max())]


@lru_cache(maxsize=2)
def _read(data: str, model: str, count: int | None, tokens: int) -> Splits:
    import pandas as pd

    tokenizer = HuggingFace(model).tokenizer()
    tables = {name: _table(Path(data), name) for name in ("train", "validation", "test")}
    names = sorted(set(tables["train"][LABEL]), key=str)
    column = _column(Path(data), tables["train"])
    if len(names) < 2:
        raise ValueError(f"data={data!r} has one class in train, {names[0]!r}; give texts in two or more")
    splits = {}
    for name, table in tables.items():
        if column not in table or table[column].isna().any():
            raise ValueError(f"data={data!r} must have a text in each row of {name}, in the column {column!r} as train")
        chosen = table.head(MOST[name] if name in MOST else len(table) if count is None else count)
        labels = pd.Index(names).get_indexer(chosen[LABEL]).astype(np.int64)
        if (labels < 0).any():
            raise ValueError(f"data={data!r} has labels in {name} that train does not have; mend or remove them")
        made = tokenizer(chosen[column].tolist(), truncation=True, max_length=tokens, padding=False)["input_ids"]
        order = range(len(made)) if name == "train" else sorted(range(len(made)), key=lambda row: len(made[row]))
        ids = torch.full((len(made), tokens), PADDING)
        for row, position in enumerate(order):
            ids[row, : len(made[position])] = torch.tensor(made[position])
        splits["training" if name == "train" else name] = Examples(ids, torch.from_numpy(labels[list(order)]))
    return splits


def _table(folder: Path, split: str) -> pd.DataFrame:
    paths = [folder / f"{split}{ending}" for ending in FORMATS if (folder / f"{split}{ending}").is_file()]
    if not paths:
        raise ValueError(
            f"data={str(folder)!r} has no {split}.parquet and no {split}.csv; give a folder with train, "
            f"validation and test"
        )
    import pandas as pd  # which is of the extra `study`, and heavy

    table = (pd.read_parquet if paths[0].suffix == ".parquet" else pd.read_csv)(paths[0])
    if LABEL not in table or not len(table) or table[LABEL].isna().any():
        raise ValueError(f"{str(paths[0])!r} must have a column {LABEL!r} with a class in each row, got {list(table)}")
    return table


def _column(folder: Path, table: pd.DataFrame) -> str:
    from pandas.api.types import is_string_dtype

    texts = [name for name in table if name != LABEL and is_string_dtype(table[name])]
    if not texts:
        raise ValueError(f"data={str(folder)!r} has no column of texts beside {LABEL!r}, got {list(table)}; add one")
    return str(max(texts, key=lambda name: table[name].str.len().mean()))
