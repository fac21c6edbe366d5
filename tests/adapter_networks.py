"""Networks of one layer for tests of adapters, and moves of what is trained."""

import geoopt
import torch
from torch import nn

from sttp.adapters import adapted_layers


def linear(rows=12, columns=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(columns, rows)).double()


def the_layer(network):
    (layer,) = adapted_layers(network).values()
    return layer


def trained(network):
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def move(network, size=0.3, seed=1):
    """Take all trained parameters elsewhere, frames along their manifold."""
    torch.manual_seed(seed)
    for parameter in trained(network):
        step = size * torch.randn_like(parameter)
        if isinstance(parameter, geoopt.ManifoldParameter):
            tangent = parameter.manifold.proju(parameter, step)
            parameter.copy_(parameter.manifold.retr(parameter, tangent))
        else:
            parameter.add_(step)
    return network


def save_encoder(folder, words, **sizes):
    """Save a tiny BERT that knows nothing, with a tokenizer of words."""
    import transformers

    torch.manual_seed(0)
    own = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=16, **own, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
