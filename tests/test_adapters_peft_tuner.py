"""The life cycle of adapters inside PEFT: every configuration, on a plain network and on a transformer."""

import copy

import geoopt
import pytest
import torch
from torch import nn

from sttp.adapters import (
    Additive,
    AsPublished,
    Offset,
    Weights,
)
from sttp.manifolds import Householder
from sttp.optim import RiemannianAdam

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

from sttp.adapters.peft import (  # noqa: E402 # it needs peft
    LoRTAConfig,
    SODAConfig,
    SpectralAdapterConfig,
    StellaConfig,
    STTPConfig,
    SVDPConfig,
    lora_errors,
)

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # PEFT asks for it

CONFIGS = {
    "sttp": lambda **own: STTPConfig(rank=2, **own),
    "sttp, offset, householder": lambda **own: STTPConfig(rank=2, frames=Householder(), start=Offset(), **own),
    "svdp, weights": lambda **own: SVDPConfig(rank=2, start=Weights(), **own),
    "soda": lambda **own: SODAConfig(**own),
    "soda, as published": lambda **own: SODAConfig(offset=1e-3, **own),
    "spectral, additive": lambda **own: SpectralAdapterConfig(rank=2, **own),
    "spectral, rotational": lambda **own: SpectralAdapterConfig(rank=2, form="rotational", block=1, **own),
    "stella": lambda **own: StellaConfig(rank=2, **own),
    "stella, as published": lambda **own: StellaConfig(rank=2, start=AsPublished(), diagonal=True, **own),
    "lorta": lambda **own: LoRTAConfig(rank=3, heads=2, matrices=2, **own),
}
every_config = pytest.mark.parametrize("make", CONFIGS.values(), ids=CONFIGS)
every_kind = pytest.mark.parametrize("kind", ["plain", "bert"])


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value, self.head = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)

    def forward(self, vectors):
        return self.head(self.value(self.query(vectors).tanh()))


def base_of(kind, seed=0):
    torch.manual_seed(seed)
    if kind == "plain":
        return Plain().eval(), {"vectors": torch.randn(4, 5, 8)}
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
        initializer_range=0.3,
    )
    inputs = {"input_ids": torch.randint(40, (4, 7)), "attention_mask": torch.ones(4, 7, dtype=torch.long)}
    return transformers.BertForSequenceClassification(config).eval(), inputs


TARGETS = {"target_modules": ["query", "value"]}


def tuned(kind, make, **own):
    network, inputs = base_of(kind)
    torch.manual_seed(1)
    return peft.get_peft_model(network, make(**{**TARGETS, **own})), inputs


def output(network, inputs):
    with torch.no_grad():
        found = network(**inputs)
    return found if isinstance(found, torch.Tensor) else found.logits


def trained(network):
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def move(network, size=0.3, seed=2):
    """Take all trained parameters elsewhere, frames along their manifold."""
    torch.manual_seed(seed)
    for parameter in trained(network):
        step = size * torch.randn_like(parameter)
        if isinstance(parameter, geoopt.ManifoldParameter):
            parameter.copy_(parameter.manifold.retr(parameter, parameter.manifold.proju(parameter, step)))
        else:
            parameter.add_(step)
    return network


def train(network, inputs, steps=3, lr=0.05):
    optimizer = RiemannianAdam(trained(network), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        found = network(**inputs)
        (found if isinstance(found, torch.Tensor) else found.logits).square().sum().backward()
        optimizer.step()


def distances(network):
    """Return how far each frame is from its manifold."""
    return [
        float(torch.linalg.norm(p.detach().mT @ p.detach() - torch.eye(p.shape[-1], dtype=p.dtype)))
        for p in network.parameters()
        if isinstance(p, geoopt.ManifoldParameter) and isinstance(p.manifold, geoopt.Stiefel)
    ]


def modules_of(network):
    return [(name, type(module)) for name, module in network.named_modules()]


@every_kind
@every_config
def test_the_start_is_the_base_and_adapters_alone_are_trained(kind, make):
    base, inputs = base_of(kind)
    model, _ = tuned(kind, make)
    if make().adapter().defect is None:
        assert torch.allclose(output(model, inputs), output(base, inputs), atol=1e-5)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names
    assert all("changes.default." in name for name in names)
    before = {name: p.clone() for name, p in model.named_parameters()}
    first = output(model, inputs)
    train(model, inputs)
    assert not torch.allclose(output(model, inputs), first, atol=1e-4)
    assert all(torch.equal(p, before[name]) == (name not in names) for name, p in model.named_parameters())
    assert all(distance < 1e-5 for distance in distances(model))


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@every_kind
@every_config
def test_saved_and_loaded_it_is_the_same_and_trains_on(kind, make, low_cpu_mem_usage, tmp_path):
    model, inputs = tuned(kind, make)
    move(model).save_pretrained(tmp_path)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    again = peft.PeftModel.from_pretrained(
        base_of(kind)[0], tmp_path, is_trainable=True, low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert torch.equal(output(again, inputs), output(model, inputs))
    assert {name for name, p in again.named_parameters() if p.requires_grad} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    for one in (model.eval(), again.eval()):
        train(one, inputs)
    assert torch.equal(output(again, inputs), output(model, inputs))
    assert distances(again) == distances(model)
    frozen = peft.PeftModel.from_pretrained(base_of(kind)[0], tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert not trained(frozen)


@every_kind
@every_config
def test_several_adapters_are_switched_off_and_deleted(kind, make, tmp_path):
    base, inputs = base_of(kind)
    model, _ = tuned(kind, make)
    one = output(move(model), inputs)
    model.add_adapter("second", make(**TARGETS))
    assert torch.equal(output(model, inputs), one)
    model.set_adapter("second")
    assert all(".second." in name for name, p in model.named_parameters() if p.requires_grad)
    two = output(move(model, seed=3), inputs)
    assert not torch.allclose(one, two, atol=1e-4)
    with model.disable_adapter():
        assert torch.equal(output(model, inputs), output(base, inputs))
    assert torch.equal(output(model, inputs), two)
    model.save_pretrained(tmp_path, selected_adapters=["second"])
    model.load_adapter(tmp_path / "second", "third")
    model.set_adapter("third")
    assert torch.equal(output(model, inputs), two)
    model.set_adapter("default")
    assert torch.equal(output(model, inputs), one)
    model.delete_adapter("second")
    model.delete_adapter("third")
    assert torch.equal(output(model, inputs), one)
    model.delete_adapter("default")
    assert torch.equal(output(model.base_model.model, inputs), output(base, inputs))


@every_kind
@every_config
def test_merged_is_unmerged_and_can_be_undone(kind, make):
    base, inputs = base_of(kind)
    kept = copy.deepcopy(base.state_dict())
    model, _ = tuned(kind, make)
    changed = output(move(model), inputs)
    model.merge_adapter(safe_merge=True)
    assert torch.allclose(output(model, inputs), changed, atol=1e-5)
    model.unmerge_adapter()
    assert torch.equal(output(model, inputs), changed)
    merged = copy.deepcopy(model).merge_and_unload()
    assert modules_of(merged) == modules_of(base)
    assert torch.allclose(output(merged, inputs), changed, atol=1e-5)
    plain = model.unload()
    assert modules_of(plain) == modules_of(base)
    assert not plain._forward_pre_hooks
    assert all(torch.equal(tensor, kept[name]) for name, tensor in plain.state_dict().items())


@every_config
def test_two_at_once_are_summed_or_refused(make):
    model, _ = tuned("plain", make)
    model.add_adapter("second", make(**TARGETS))
    for name in ("default", "second"):
        model.set_adapter(name)
        move(model, seed=len(name))
    layer = model.base_model.model.query
    base, deltas = layer.frozen(), [layer.get_delta_weight(name) for name in ("default", "second")]
    if all(isinstance(change, Additive) for change in layer.changes.values()):
        model.base_model.set_adapter(["default", "second"])
        assert torch.allclose(layer.weight, base + sum(deltas), atol=1e-5)
        model.merge_adapter(["default"])
        with pytest.warns(UserWarning, match="already|Already"):
            model.merge_adapter(["second"])
        assert torch.allclose(layer.base_layer.weight, base + sum(deltas), atol=1e-5)
        model.unmerge_adapter()
        assert torch.equal(layer.base_layer.weight, base)
    else:
        with pytest.raises(ValueError, match="'default'"):
            model.base_model.set_adapter(["default", "second"])
        assert model.active_adapters == layer.active_adapters == ["second"]


@every_kind
@every_config
def test_modules_beside_it_are_trained_and_saved(kind, make, tmp_path):
    head = {"plain": "head", "bert": "classifier"}[kind]
    own = {"modules_to_save": [head]} if kind == "plain" else {"task_type": "SEQ_CLS"}
    model, inputs = tuned(kind, make, **own)
    assert any(f"{head}.modules_to_save.default." in name for name, p in model.named_parameters() if p.requires_grad)
    train(model, inputs)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base_of(kind)[0], tmp_path)
    assert torch.equal(output(again, inputs), output(model.eval(), inputs))


@every_config
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bases_of_half_precision(make, dtype, tmp_path):
    network, inputs = base_of("bert")
    model = peft.get_peft_model(network.to(dtype), make())
    train(model, inputs)
    assert {p.dtype for p in trained(model)} == {torch.float32}
    assert all(distance < 1e-5 for distance in distances(model))
    changed = output(model, inputs)
    assert changed.dtype == dtype
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base_of("bert")[0].to(dtype), tmp_path)
    assert torch.equal(output(again, inputs), changed)
    assert torch.allclose(output(model.merge_and_unload(), inputs), changed, atol=0.05)


@every_config
def test_frames_keep_their_precision_when_the_model_is_cast(make):
    model, inputs = tuned("bert", make)
    move(model)
    before = {name: p.clone() for name, p in model.named_parameters() if "changes." in name}
    model.merge_adapter()
    model.to("cpu", torch.bfloat16)
    model.unmerge_adapter()
    assert output(model, inputs).dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        if name in before:
            assert torch.equal(parameter, before[name])
        else:
            assert parameter.dtype == torch.bfloat16
    train(model, inputs)
    assert all(distance < 1e-5 for distance in distances(model))


@every_kind
@every_config
def test_conversion_to_lora(kind, make):
    model, inputs = tuned(kind, make)
    changed = output(move(model), inputs)
    for rank in (1, 8 if kind == "plain" else 16):
        config, state = peft.convert_to_lora(model, rank)
        lora = peft.get_peft_model(base_of(kind)[0], config)
        peft.set_peft_model_state_dict(lora, state)
        errors = lora_errors(model, rank)
        for name, delta in zip(errors, deltas(model), strict=True):
            found = lora.base_model.model.get_submodule(name).get_delta_weight("default").detach()
            lost = torch.linalg.norm(found - delta) / torch.linalg.norm(delta)
            assert float(lost) == pytest.approx(errors[name], abs=1e-5)
    assert max(errors.values()) < 1e-6
    assert torch.allclose(output(lora, inputs), changed, atol=1e-5)


def deltas(model):
    with torch.no_grad():
        return [layer.get_delta_weight("default") for layer in model.modules() if hasattr(layer, "get_delta_weight")]
