"""Encoder or not: class names, marks, and real models built from configurations."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from compilespan import (
    TorchCompileInstrumentor,
    get_ledger,
    mark_component,
    monitor_torch_compile,
)
from compilespan.components import EncoderNames, marked_as


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("CLIPVisionModel", True),
        ("CLIPTextModelWithProjection", True),
        ("Qwen2_5_VLTextModel", False),
        ("ViTModel", True),
        ("ViTMAEEncoder", True),
        ("SiglipVisionTransformer", True),
        ("WhisperEncoder", True),
        ("WhisperDecoder", False),
        ("BertModel", True),
        ("RobertaForMaskedLM", True),
        ("BertLMHeadModel", False),
        ("Wav2Vec2Model", True),
        ("LlavaMultiModalProjector", True),
        ("Qwen2_5_VisionTransformerPretrainedModel", True),
        ("Qwen2AudioEncoder", True),
        ("LlamaModel", None),
        ("Qwen2ForCausalLM", False),
        ("LlavaForConditionalGeneration", False),
        ("LlavaOnevisionModel", None),
        ("VisionEncoderDecoderModel", False),
        ("EncoderDecoderModel", False),
        ("UNet2DConditionModel", None),
        ("AutoencoderKL", None),
        ("Invitation", None),
    ],
)
def test_what_a_class_name_says(class_name, expected):
    assert EncoderNames().verdict(class_name) is expected


def test_the_innermost_name_that_says_anything_decides():
    names = EncoderNames()
    assert names.is_encoder(["LlamaModel", "LlavaForConditionalGeneration"]) is False
    assert names.is_encoder(["Linear", "ViTModel"]) is True
    assert names.is_encoder(["WhisperDecoder", "WhisperEncoder"]) is False
    assert names.is_encoder(["LlamaModel", "EncoderDecoderModel"]) is False
    assert names.is_encoder([]) is False


def test_the_users_patterns_come_first():
    names = EncoderNames(["tower"])
    assert names.verdict("MyTowerDecoder") is True
    assert names.verdict("ViTModel") is True


def test_a_pattern_that_is_no_expression_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="'\\[' is no regular expression.*comma-separated"):
        EncoderNames(["["])


def test_marks_are_kept_by_copies_and_pickles():
    module = mark_component(torch.nn.Linear(2, 2), is_encoder=True)
    assert marked_as([copy.deepcopy(module)]) is True
    assert marked_as([pickle.loads(pickle.dumps(module))]) is True
    assert "_compilespan_is_encoder" not in module.state_dict()


def test_a_mark_on_the_compiled_wrapper_marks_the_module():
    module = torch.nn.Linear(2, 2)
    mark_component(torch.compile(module, backend="eager"), is_encoder=True)
    assert marked_as([module]) is True


def test_what_takes_no_mark_says_so():
    with pytest.raises(TypeError, match="takes no attributes; mark the nn.Module"):
        mark_component(5, is_encoder=True)


def compiled_as_encoder(module, *args, **kwargs):
    """Compile a module, call it, and return the records' verdicts by name."""
    torch._dynamo.reset()
    get_ledger()._reset()
    module.compile(backend="eager")
    with torch.no_grad():
        module(*args, **kwargs)
    return {record.name: record.is_encoder for record in get_ledger().records()}


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
    verdicts = compiled_as_encoder(vision_models()[name], torch.zeros(1, 3, 16, 16))
    assert verdicts
    assert all(verdicts.values()), verdicts


@pytest.mark.usefixtures("_instrumented")
def test_bert_is_an_encoder():
    import transformers as t

    model = t.BertModel(t.BertConfig(**TINY, **HEADS, vocab_size=10))
    verdicts = compiled_as_encoder(model, torch.ones(1, 4, dtype=torch.long))
    assert verdicts
    assert all(verdicts.values()), verdicts


@pytest.mark.usefixtures("_instrumented")
@pytest.mark.parametrize("name", ["Llama", "Qwen2"])
def test_language_models_are_none(name):
    import transformers as t

    config = getattr(t, f"{name}Config")(**TINY, **HEADS, num_key_value_heads=2, vocab_size=10)
    model = getattr(t, f"{name}ForCausalLM")(config)
    verdicts = compiled_as_encoder(model, torch.ones(1, 4, dtype=torch.long), use_cache=False)
    assert verdicts
    assert not any(verdicts.values()), verdicts


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
    verdicts = {record.name: record.is_encoder for record in get_ledger().records()}
    assert verdicts["WhisperEncoder"] is True
    assert verdicts["WhisperDecoder"] is False


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
    verdicts = {record.name: record.is_encoder for record in get_ledger().records()}
    assert verdicts["CLIPVisionModel"] is True
    assert verdicts["LlavaMultiModalProjector"] is True
    assert verdicts["LlamaModel"] is False


@pytest.mark.usefixtures("_instrumented")
def test_an_anonymous_function_is_none():
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
    (record,) = get_ledger().records()
    assert record.is_encoder is False
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
    assert "COMPILESPAN_ENCODER_PATTERNS is left out" in caplog.text
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
