"""Encoder, language model or other: chains of names, marks, and real models."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch

from compilespan import (
    TorchCompileInstrumentor,
    get_ledger,
    mark_component,
    monitor_torch_compile,
)
from compilespan.components.chain import ComponentNames, Link
from compilespan.components.marks import marked_as


def chain(*names):
    return [Link(name) for name in names]


def test_the_innermost_name_that_says_anything_decides():
    names = ComponentNames()
    assert names.component(chain("Linear", "ViTModel")) == "encoder"
    assert names.component(chain("WhisperDecoder", "WhisperEncoder")) == "language_model"
    assert names.component(chain("Linear", "Sequential")) == "other"
    assert names.component([]) == "other"


def test_a_composite_says_nothing_of_its_parts():
    """The language model of a LlavaNextVideo is no encoder although the class has Video in it."""
    parts = {"vision_tower": "CLIPVisionModel", "language_model": "Layers"}
    composite = Link("LlavaNextVideoModel", "model", parts)
    names = ComponentNames()
    assert names.component([Link("Layers", "language_model"), composite]) == "language_model"
    assert names.component([Link("Layers", "vision_tower"), composite]) == "encoder"
    assert names.component([Link("Layers", "something"), composite]) == "other"
    assert names.component([composite]) == "language_model"


def test_layers_say_what_their_container_does_not():
    names = ComponentNames()
    assert names.component(chain("Stack"), ["Embedding", "LlamaDecoderLayer"]) == "language_model"
    assert names.component(chain("Stack"), ["Embedding", "SiglipEncoderLayer"]) == "encoder"
    assert names.component(chain("Stack"), ["Embedding"]) == "other"


def test_the_users_patterns_come_first():
    names = ComponentNames(["tower"])
    assert names.component(chain("MyTowerDecoder")) == "encoder"
    assert names.component(chain("Block", "MyTowerDecoder")) == "encoder"
    assert names.component(chain("LlamaModel", "MyTower")) == "language_model"
    inside = [Link("Tower", "language_model"), Link("Model", "", {"language_model": "Tower"})]
    assert names.component(inside) == "encoder"


def test_a_pattern_that_is_no_expression_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="'\\[' is not a regular expression.*comma-separated"):
        ComponentNames(["["])


def test_marks_are_kept_by_copies_and_pickles():
    module = mark_component(torch.nn.Linear(2, 2), is_encoder=True)
    assert marked_as([copy.deepcopy(module)]) == "encoder"
    assert marked_as([pickle.loads(pickle.dumps(module))]) == "encoder"
    assert "_compilespan_is_encoder" not in module.state_dict()


WRAPPERS = {
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "method": lambda module: module.forward,
    "no_grad": lambda module: torch.no_grad()(module.forward),
    "partial": lambda module: functools.partial(module, 1),
    "wrapped twice": lambda module: torch.no_grad()(torch.inference_mode()(module.forward)),
}


@pytest.mark.parametrize("how", WRAPPERS)
def test_a_mark_on_a_wrapper_marks_the_module(how):
    module = torch.nn.Linear(2, 2)
    wrapper = WRAPPERS[how](module)
    assert mark_component(wrapper, is_encoder=True) is wrapper
    assert marked_as([module]) == "encoder"
    assert marked_as([torch.nn.Linear(2, 2)]) is None


def test_a_mark_on_a_function_marks_no_other():
    def f():
        pass

    mark_component(functools.partial(f), is_encoder=False)
    assert marked_as([f]) == "language_model"


def test_what_takes_no_mark_says_so():
    with pytest.raises(TypeError, match="cannot set attributes on .int.; mark the nn.Module"):
        mark_component(5, is_encoder=True)


def compiled(module, *args, **kwargs):
    """Compile a module, call it, and return the records' components by name."""
    torch._dynamo.reset()
    get_ledger().renew()
    module.compile(backend="eager")
    with torch.no_grad():
        module(*args, **kwargs)
    return {record.name: record.component for record in get_ledger().records()}


@pytest.fixture
def _instrumented():
    TorchCompileInstrumentor().instrument()


TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 2}
IMAGE = {"image_size": 16, "patch_size": 8}


def vision_models():
    import transformers as t

    return {
        "clip": t.CLIPVisionModel(t.CLIPVisionConfig(**TINY, **HEADS, **IMAGE)),
        "vit": t.ViTModel(t.ViTConfig(**TINY, **HEADS, **IMAGE)),
        "siglip": t.SiglipVisionModel(t.SiglipVisionConfig(**TINY, **HEADS, **IMAGE)),
    }


@pytest.mark.usefixtures("_instrumented")
@pytest.mark.parametrize("name", ["clip", "vit", "siglip"])
def test_vision_models_are_encoders(name):
    components = compiled(vision_models()[name], torch.zeros(1, 3, 16, 16))
    assert set(components.values()) == {"encoder"}


@pytest.mark.usefixtures("_instrumented")
def test_bert_is_an_encoder():
    import transformers as t

    model = t.BertModel(t.BertConfig(**TINY, **HEADS, vocab_size=10))
    components = compiled(model, torch.ones(1, 4, dtype=torch.long))
    assert set(components.values()) == {"encoder"}


@pytest.mark.usefixtures("_instrumented")
@pytest.mark.parametrize("name", ["Llama", "Qwen2"])
def test_language_models_are_none(name):
    import transformers as t

    config = getattr(t, f"{name}Config")(**TINY, **HEADS, num_key_value_heads=2, vocab_size=10)
    model = getattr(t, f"{name}ForCausalLM")(config)
    components = compiled(model, torch.ones(1, 4, dtype=torch.long), use_cache=False)
    assert set(components.values()) == {"language_model"}


@pytest.mark.usefixtures("_instrumented")
def test_whispers_encoder_is_one_and_its_decoder_is_none():
    import transformers as t

    config = t.WhisperConfig(
        vocab_size=20,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=8,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    model = t.WhisperModel(config).eval()
    model.encoder.compile(backend="eager")
    model.decoder.compile(backend="eager")
    with torch.no_grad():
        model(
            torch.zeros(1, 8, 16),
            decoder_input_ids=torch.ones(1, 3, dtype=torch.long),
            use_cache=False,
        )
    components = {record.name: record.component for record in get_ledger().records()}
    assert components["WhisperEncoder"] == "encoder"
    assert components["WhisperDecoder"] == "language_model"


@pytest.mark.usefixtures("_instrumented")
def test_a_llavas_tower_and_projector_are_encoders_and_its_language_model_is_none():
    import transformers as t

    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**{**TINY, "num_hidden_layers": 2}, **HEADS, **IMAGE),
        text_config=t.LlamaConfig(**TINY, **HEADS, num_key_value_heads=2, vocab_size=32),
        image_token_id=31,
    )
    model = t.LlavaForConditionalGeneration(config).eval()
    parts = (
        model.model.vision_tower,
        model.model.multi_modal_projector,
        model.model.language_model,
    )
    for part in parts:
        part.compile(backend="eager")
    with torch.no_grad():
        model(
            input_ids=torch.tensor([[31] * 4 + [1, 2]]),
            pixel_values=torch.zeros(1, 3, 16, 16),
            use_cache=False,
        )
    components = {record.name: record.component for record in get_ledger().records()}
    assert components["CLIPVisionModel"] == "encoder"
    assert components["LlavaMultiModalProjector"] == "encoder"
    assert components["LlamaModel"] == "language_model"


@pytest.mark.usefixtures("_instrumented")
def test_an_anonymous_function_is_other():
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
    (record,) = get_ledger().records()
    assert (record.is_encoder, record.component) == (False, "other")
    assert record.name.endswith("<lambda>")


@pytest.mark.usefixtures("_instrumented")
@pytest.mark.parametrize("is_encoder", [True, False])
def test_a_mark_outweighs_the_name(is_encoder):
    class VisionEncoder(torch.nn.Module):
        def forward(self, x):
            return x * 3

    class Decoder(VisionEncoder):
        pass

    module = mark_component((Decoder if is_encoder else VisionEncoder)(), is_encoder=is_encoder)
    torch.compile(module, backend="eager")(torch.zeros(2))
    (record,) = get_ledger().records()
    assert record.is_encoder is is_encoder


@pytest.mark.usefixtures("_instrumented")
def test_a_block_of_an_encoder_is_known_by_what_encloses_it():
    class Block(torch.nn.Module):
        def forward(self, x):
            return x * 5

    class VisionTower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    tower = VisionTower()
    tower.block.compile(backend="eager")
    tower(torch.zeros(2))
    (record,) = get_ledger().records()
    assert (record.name, record.is_encoder) == ("Block", True)


@pytest.mark.usefixtures("_instrumented")
def test_a_monitors_word_outweighs_names_and_not_marks():
    class VisionTower(torch.nn.Module):
        def forward(self, x):
            return x * 7

    with monitor_torch_compile("block", is_encoder=False):
        torch.compile(VisionTower(), backend="eager")(torch.zeros(2))
    (record,) = get_ledger().records()
    assert record.is_encoder is False


def test_environment_patterns_are_taken_and_bad_ones_only_warn(monkeypatch, caplog):
    class Gatehouse(torch.nn.Module):
        def forward(self, x):
            return x * 9

    monkeypatch.setenv("COMPILESPAN_ENCODER_PATTERNS", "gate, [")
    TorchCompileInstrumentor().instrument()
    assert "COMPILESPAN_ENCODER_PATTERNS is ignored" in caplog.text
    TorchCompileInstrumentor().uninstrument()
    monkeypatch.setenv("COMPILESPAN_ENCODER_PATTERNS", "gate,house")
    TorchCompileInstrumentor().instrument()
    torch.compile(Gatehouse(), backend="eager")(torch.zeros(2))
    assert get_ledger().records()[-1].is_encoder is True


def test_a_module_of_torch_itself_is_called_by_its_class(instrumented):
    """torch wraps those in a function of its own before it compiles them."""
    torch.compile(torch.nn.Linear(4, 4), backend="eager")(torch.zeros(1, 4))
    (record,) = get_ledger().records()
    assert record.name == "Linear"
