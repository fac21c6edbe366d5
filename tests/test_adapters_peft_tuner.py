"""The life cycle of adapters inside PEFT: every configuration, on a plain network and on a transformer."""

import copy
import pickle
from dataclasses import MISSING, dataclass, fields

import geoopt
import pytest
import torch
from adapter_networks import move, trained
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sttp.adapters import (
    Additive,
    AsPublished,
    LowRank,
    Offset,
    WeightAdapter,
    Weights,
    register_adapter,
)
from sttp.layers import evaluate_apart
from sttp.manifolds import Householder, Riemannian
from sttp.optim import RiemannianAdam

peft = pytest.importorskip("peft")
accelerate, transformers = pytest.importorskip("accelerate"), pytest.importorskip("transformers")

from sttp.adapters.peft import (  # noqa: E402 # it needs peft
    ChangeConfig,
    LoRTAConfig,
    SODAConfig,
    SpectralAdapterConfig,
    StellaConfig,
    STTPConfig,
    SVDPConfig,
    lora_errors,
    register_config,
)

# PEFT asks for it, and older versions of transformers have no other name for the option.
pytestmark = pytest.mark.filterwarnings("ignore:.(is_)?gradient_checkpointing. is deprecated")


@pytest.fixture(autouse=True)
def _forget_settings():
    """Let accelerate forget what a test before has set for the process, such as its precision."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


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


def test_shared_factors_are_saved_once(tmp_path):
    model, _ = tuned("bert", CONFIGS["lorta"])
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == model.num_parameters(only_trainable=True)


def test_a_configuration_is_what_was_saved(tmp_path):
    frames = Riemannian(redundant=False, metric="embedded")
    for config in (
        STTPConfig(rank=(2, 3, 2), modes=((2, 4), (4, 2)), frames=frames, start=Offset(0.2), **TARGETS),
        SVDPConfig(rank=3, start=Weights(), target_modules="all-linear", exclude_modules=["head"]),
        SODAConfig(modes=(2, 4), offset=1e-3, target_modules=r".*\.query", modules_to_save=["head"]),
        StellaConfig(start=AsPublished(), layers_to_transform=[0, 2], layers_pattern="layers", **TARGETS),
    ):
        config.save_pretrained(tmp_path)
        assert peft.PeftConfig.from_pretrained(tmp_path) == config
        assert type(config).from_pretrained(tmp_path).adapter() == config.adapter()


@every_config
def test_a_configuration_has_the_fields_and_defaults_of_its_adapter(make):
    defaults = {field.name: field.default for field in fields(make())}
    for field in fields(make().kind):
        assert field.name in defaults
        assert field.default in (MISSING, defaults[field.name])


def test_one_configuration_serves_many_models_and_none_another_base(tmp_path):
    config = STTPConfig(rank=2, **TARGETS)
    model = peft.get_peft_model(base_of("plain")[0], config)
    move(model).save_pretrained(tmp_path)
    other, inputs = base_of("plain", seed=5)
    untouched = modules_of(other), output(other, inputs)
    with pytest.raises(ValueError, match="another base"):
        peft.PeftModel.from_pretrained(other, tmp_path)
    wider = nn.ModuleDict({"query": nn.Linear(16, 16), "value": nn.Linear(16, 16)})
    with pytest.raises(ValueError, match="another base"):
        peft.PeftModel.from_pretrained(wider, tmp_path, low_cpu_mem_usage=True)
    assert modules_of(other) == untouched[0]
    assert torch.equal(output(other, inputs), untouched[1])
    assert all(p.requires_grad for p in (*other.parameters(), *wider.parameters()))
    peft.get_peft_model(base_of("plain", seed=6)[0], config)  # it says nothing of the first base
    saved = peft.PeftConfig.from_pretrained(tmp_path)
    saved.base = None
    forced = peft.PeftModel.from_pretrained(other, tmp_path, config=saved)
    layers = [one.base_model.model.query for one in (model, forced)]
    assert torch.allclose(*(layer.get_delta_weight("default") for layer in layers), atol=1e-6)


def quantized(library, name, dtype=None, **attributes):
    """Return a layer like those of a library that quantizes."""
    layer = type(name, (nn.Linear,), {"__module__": library})(8, 8)
    if dtype is not None:
        layer.weight = nn.Parameter(layer.weight.detach().to(dtype), requires_grad=False)
    for attribute, value in attributes.items():
        setattr(layer, attribute, value)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        quantized("bitsandbytes.nn.modules", "Linear8bitLt", torch.int8),
        quantized("bitsandbytes.nn.modules", "Linear4bit", torch.uint8),
        quantized("transformers.integrations.finegrained_fp8", "FP8Linear", torch.float8_e4m3fn),
        quantized("somewhere", "QuantLinear", qweight=torch.zeros(8, 8, dtype=torch.int32)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_quantized_bases_are_refused(layer):
    network = nn.ModuleDict({"query": nn.Linear(8, 8), "value": layer})
    before = modules_of(network)
    with pytest.raises(ValueError, match=r"'value' has a quantized weight"):
        peft.get_peft_model(network, STTPConfig(rank=2, **TARGETS))
    assert modules_of(network) == before
    assert network["query"].weight.requires_grad


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        (lambda: STTPConfig(target_modules=["nothing"]), ValueError, "nothing"),
        (lambda: STTPConfig(modes=((4, 4), (2, 4)), **TARGETS), ValueError, r"query.*\(8,\)"),
        (lambda: SODAConfig(modes=(3, 3), **TARGETS), ValueError, r"query.*\(8,\)"),
        (lambda: SVDPConfig(rank=0), ValueError, "rank"),
        (lambda: StellaConfig(rank=9, modules_to_save=["head"], **TARGETS), ValueError, "query.*at most 8"),
        (lambda: SpectralAdapterConfig(rank=5, block=1, **TARGETS), ValueError, "query.*at most 4"),
        (lambda: SpectralAdapterConfig(form="other"), ValueError, "form"),
        (lambda: LoRTAConfig(heads=3, **TARGETS), ValueError, "heads"),
        (lambda: LoRTAConfig(target_modules=["query", "head"]), ValueError, "one shape"),
        (lambda: STTPConfig(start="zero"), TypeError, "start"),
        (lambda: STTPConfig(rank=2, target_modules=["query", "norm"]), TypeError, "'norm' is a LayerNorm"),
        (lambda: STTPConfig(layers_pattern="layers", **TARGETS), ValueError, "layers_to_transform"),
        (lambda: STTPConfig(layers_to_transform=[0], target_modules=".*"), ValueError, "layers_to_transform"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changed(config, error, words):
    network, inputs = base_of("plain")
    network.norm = nn.LayerNorm(8)
    before = modules_of(network), output(network, inputs)
    with pytest.raises(error, match=words):
        peft.get_peft_model(network, config())
    assert modules_of(network) == before[0]
    assert torch.equal(output(network, inputs), before[1])
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.filterwarnings("ignore:You are trying to modify a model", "ignore:Already found a `peft_config`")
def test_a_second_adapter_that_cannot_be_leaves_the_first():
    model, inputs = tuned("plain", CONFIGS["sttp"])
    changed, before, configs = output(move(model), inputs), modules_of(model), dict(model.peft_config)
    with pytest.raises(ValueError, match=r"query.*\(8,\)"):
        model.add_adapter("second", STTPConfig(rank=2, modes=((9,), (8,)), **TARGETS))
    with pytest.raises(ValueError, match="'spectral' cannot be"):
        model.add_adapter("spectral", STTPConfig(rank=2, **TARGETS))
    with pytest.raises(ValueError, match="another method"):
        peft.get_peft_model(model.get_base_model(), SVDPConfig(rank=2, **TARGETS), "second")
    with pytest.raises(ValueError, match="'default' already"):
        peft.get_peft_model(model.get_base_model(), STTPConfig(rank=3, **TARGETS))
    with pytest.raises(ValueError, match="query"):
        peft.get_peft_model(model.get_base_model(), STTPConfig(rank=2, modes=((9,), (8,)), **TARGETS), "second")
    with pytest.raises(ValueError, match="adapter_names"):
        model(**inputs, adapter_names=["default"] * 4)
    assert modules_of(model) == before
    assert torch.equal(output(model, inputs), changed)
    assert model.peft_config == {"default": configs["default"]}
    assert all(".default." in name for name, p in model.named_parameters() if p.requires_grad)
    assert trained(model)


def test_without_values_it_neither_runs_nor_is_saved(tmp_path):
    network, inputs = base_of("plain")
    model = peft.get_peft_model(network, STTPConfig(rank=2, **TARGETS), low_cpu_mem_usage=True)
    with pytest.raises(ValueError, match="low_cpu_mem_usage"):
        model(**inputs)
    with pytest.raises(ValueError, match="low_cpu_mem_usage"):
        model.save_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["sttp", "stella", "soda"])
def test_frames_that_were_saved_in_half_precision_are_refused(name, tmp_path):
    model, _ = tuned("plain", CONFIGS[name])
    move(model).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({key: tensor.half() for key, tensor in load_file(file).items()}, file)
    with pytest.raises(ValueError, match="float32"):
        peft.PeftModel.from_pretrained(base_of("plain")[0], tmp_path)


def test_all_linear_layers_also_a_second_time():
    network, inputs = base_of("bert")
    model = peft.get_peft_model(network, STTPConfig(rank=2, target_modules="all-linear"))
    model.add_adapter("second", STTPConfig(rank=2, target_modules="all-linear"))
    one, two = ([n for n, _ in model.named_parameters() if f".{name}.spectral" in n] for name in ("default", "second"))
    assert len(one) == len(two) > 0
    assert model.peft_config["default"].target_modules == model.peft_config["second"].target_modules
    assert output(model, inputs).shape == (4, 3)


def layers_of_all_kinds():
    torch.manual_seed(0)
    yield nn.ModuleDict({"layer": nn.Conv2d(4, 6, 3, groups=2)}), "layer", torch.randn(2, 4, 5, 5)
    yield nn.ModuleDict({"layer": nn.ConvTranspose1d(6, 4, 2, stride=2)}), "layer", torch.randn(2, 6, 5)
    yield nn.ModuleDict({"layer": nn.Embedding(9, 6, padding_idx=0)}), "layer", torch.tensor([[0, 3], [8, 1]])
    attention = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
    yield nn.ModuleDict({"layer": attention}), r"layer\.(self_attn\.out_proj|linear1)", torch.randn(2, 3, 8)


@pytest.mark.parametrize("name", ["sttp", "soda", "spectral, additive"])
@pytest.mark.parametrize("which", range(4))
def test_layers_of_all_kinds(which, name):
    network, targets, inputs = list(layers_of_all_kinds())[which]
    plain = network.eval()["layer"](inputs)
    model = peft.get_peft_model(network, CONFIGS[name](target_modules=targets))
    assert torch.allclose(network["layer"](inputs), plain, atol=1e-5)
    move(model)
    changed = network["layer"](inputs)
    assert not torch.allclose(changed, plain, atol=1e-3)
    changed.sum().backward()
    assert all(p.grad is not None for p in trained(model))
    for mode in (False, True):
        network.train(mode)
        assert torch.allclose(network["layer"](inputs), changed, atol=1e-5)
    model.merge_adapter()
    assert torch.allclose(network["layer"](inputs), changed, atol=1e-5)


def test_a_weight_that_another_layer_shares_is_not_merged_into():
    torch.manual_seed(0)
    network = nn.ModuleDict({"query": nn.Linear(8, 8), "value": nn.Linear(8, 8)})
    network["value"].weight = network["query"].weight
    weight = network["query"].weight.detach().clone()
    model = peft.get_peft_model(network, STTPConfig(rank=2, target_modules=["query"]))
    move(model)
    model.merge_adapter()
    assert torch.equal(network["value"].weight, weight)
    model.unmerge_adapter()
    assert network["query"].base_layer.weight is network["value"].weight


def test_a_layer_in_two_places_is_refused_and_a_block_is_not():
    block = Plain()
    shared = nn.ModuleDict({"query": block.query, "value": nn.Linear(8, 8), "again": block.query})
    with pytest.raises(ValueError, match="'query' is layer 'again' too"):
        peft.get_peft_model(shared, STTPConfig(rank=2, **TARGETS))
    assert shared["query"] is shared["again"] is block.query
    twice = nn.ModuleList([block, block])
    peft.get_peft_model(twice, STTPConfig(rank=2, start=Offset(), **TARGETS))
    assert twice[0].query is twice[1].query
    assert type(twice[0].query) is not nn.Linear


@every_config
def test_a_model_can_be_pickled(make):
    model, inputs = tuned("plain", make)
    twin = pickle.loads(pickle.dumps(move(model)))
    assert torch.equal(output(twin, inputs), output(model, inputs))
    train(twin, inputs)
    assert not torch.equal(output(twin, inputs), output(model, inputs))


def test_hooks_of_the_base_and_copies():
    network, inputs = base_of("plain")
    calls = []
    network.query.register_forward_hook(lambda *_: calls.append("query"))
    model = peft.get_peft_model(network, STTPConfig(rank=2, **TARGETS))
    twin = copy.deepcopy(move(model))
    assert torch.equal(output(twin, inputs), output(model, inputs))
    move(twin, seed=4)
    assert not torch.allclose(output(twin, inputs), output(model, inputs), atol=1e-4)
    assert calls == ["query"] * 4


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["sttp", "sttp, offset, householder"])
def test_frames_of_all_layers_are_evaluated_together(name):
    model, inputs = tuned("bert", CONFIGS[name])
    changed = output(move(model), inputs)
    with Operations() as together:
        output(model, inputs)
    evaluate_apart(model)
    with Operations() as apart:
        assert torch.allclose(output(model, inputs), changed, atol=1e-6)
    assert together.number < apart.number


def test_compiled_it_is_the_same():
    model, inputs = tuned("plain", CONFIGS["sttp"])
    changed = output(move(model), inputs)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(output(compiled, inputs), changed, atol=1e-6)


def test_it_is_put_into_a_network_without_a_wrapper(tmp_path):
    network, inputs = base_of("bert")
    config = STTPConfig(rank=2, **TARGETS)
    move(peft.inject_adapter_in_model(config, network))
    state = peft.get_peft_model_state_dict(network)
    again = peft.inject_adapter_in_model(config, base_of("bert")[0], low_cpu_mem_usage=True)
    peft.set_peft_model_state_dict(again, state, low_cpu_mem_usage=True)
    assert torch.equal(output(again, inputs), output(network, inputs))


class Bend(LowRank):
    def __init__(self, rows, columns):
        super().__init__()
        self.row, self.column = nn.Parameter(torch.zeros(rows, 1)), nn.Parameter(torch.ones(columns, 1))

    @property
    def dimension(self):
        return self.row.numel() + self.column.numel() - 1

    def factors(self):
        return self.row, self.column


@register_adapter
@dataclass(frozen=True)
class TunersRankOne(WeightAdapter):
    size: float = 1.0

    def change(self, weight, generator):
        return Bend(weight.rows, weight.columns)


def test_an_adapter_from_outside(tmp_path):
    for _ in range(2):  # as in a notebook, whose cells run again

        @register_config("my_rank_one")
        @dataclass
        class RankOneConfig(ChangeConfig):
            kind = TunersRankOne
            size: float = 2.0

    model, inputs = tuned("plain", RankOneConfig)
    move(model).save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base_of("plain")[0], tmp_path)
    assert torch.equal(output(again, inputs), output(model, inputs))
    with pytest.raises(ValueError, match="'lora'"):
        register_config("lora")(RankOneConfig)
    with pytest.raises(TypeError, match="ChangeConfig"):
        register_config("other")(TunersRankOne)
    with pytest.raises(TypeError, match="register_config"):
        dataclass(type("Bare", (ChangeConfig,), {"kind": TunersRankOne}))()
    with pytest.raises(ValueError, match="lower case"):
        register_config("Other")
    with pytest.raises(ValueError, match="no layer"):
        lora_errors(again, 2, "other")


class Words(torch.utils.data.Dataset):
    def __init__(self, inputs):
        self.inputs = inputs["input_ids"]

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {"input_ids": self.inputs[index % 4], "labels": torch.tensor(index % 3)}


def trainer_of(folder, steps, **options):
    model, inputs = tuned("bert", CONFIGS["sttp, offset, householder"], task_type="SEQ_CLS")
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=steps,
        save_steps=3,
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        lr_scheduler_type="constant",
        **options,
    )
    optimizer = RiemannianAdam(trained(model), lr=1e-2)
    return transformers.Trainer(model, arguments, train_dataset=Words(inputs), optimizers=(optimizer, None)), inputs


def test_the_trainer_goes_on_from_a_checkpoint(tmp_path, capsys):
    whole, inputs = trainer_of(tmp_path / "whole", 6)
    whole.train()
    trainer_of(tmp_path / "parts", 3)[0].train()
    rest, _ = trainer_of(tmp_path / "parts", 6)
    rest.train(resume_from_checkpoint=True)
    assert torch.equal(output(rest.model.eval(), inputs), output(whole.model.eval(), inputs))
    assert all(distance < 1e-5 for distance in distances(whole.model))
    best = peft.PeftModel.from_pretrained(base_of("bert")[0], tmp_path / "parts" / "checkpoint-6")
    assert torch.equal(output(best, inputs), output(whole.model, inputs))


def test_the_trainer_in_half_precision_with_checkpoints_of_activations(tmp_path, capsys):
    trainer, _ = trainer_of(tmp_path, 2, bf16=True, gradient_checkpointing=True)
    before = [p.clone() for p in trained(trainer.model)]
    trainer.train()
    assert all(not torch.equal(p, old) for p, old in zip(trained(trainer.model), before, strict=True))
    assert all(distance < 1e-5 for distance in distances(trainer.model))


def test_accelerate_needs_no_hooks():
    accelerator = accelerate.Accelerator(cpu=True)
    model, inputs = tuned("plain", CONFIGS["stella"])
    wanted = copy.deepcopy(model)
    train(wanted, inputs)
    model, optimizer = accelerator.prepare(model, RiemannianAdam(trained(model), lr=0.05))
    for _ in range(3):
        optimizer.zero_grad()
        accelerator.backward(model(**inputs).square().sum())
        optimizer.step()
    assert torch.equal(output(model, inputs), output(wanted, inputs))
