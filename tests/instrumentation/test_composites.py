"""Every composite model of the installed transformers, built from its configuration.

On the meta device and with two layers each: nothing is downloaded and nothing computed. The words
are those of attributes that mean one thing wherever they occur, so a part is asked for its
component as the hooks would: from itself outwards.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re

import pytest
import torch

from compilespan.components.chain import ComponentNames
from compilespan.dynamo.subject import _Chain

WORDS = {
    **dict.fromkeys(("language_model", "lm_head", "text_decoder", "thinker"), "language_model"),
    **dict.fromkeys(("vision_tower", "visual", "vision_model", "vision_encoder"), "encoder"),
    **dict.fromkeys(("audio_tower", "speech_encoder", "multi_modal_projector"), "encoder"),
    **dict.fromkeys(("qformer", "image_encoder", "embed_vision", "embed_audio"), "encoder"),
    **dict.fromkeys(("vocoder", "vqmodel", "mask_decoder", "code2wav", "token2wav"), "other"),
}
# Their configurations cannot be built as they are, or the library that they need is not here.
LEAST_BUILT = 80
LAYERS = re.compile(r"num_.*layers|n_layers?|depth|layers|num_blocks|.*(en|de)coder_layers")


def shrink(config, seen):
    """Two layers everywhere: a model of 80 says nothing else."""
    from transformers import PreTrainedConfig

    if id(config) in seen:
        return
    seen.add(id(config))
    for key, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            shrink(value, seen)
        elif type(value) is int and value > 2 and LAYERS.fullmatch(key):
            with contextlib.suppress(Exception):
                setattr(config, key, 2)


def built():
    """Yield every composite that can be built here."""
    from transformers import PreTrainedModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for kind in CONFIG_MAPPING.keys():  # noqa: SIM118  # a lazy mapping
        config_class = CONFIG_MAPPING[kind]
        if not config_class.sub_configs:
            continue
        with contextlib.suppress(Exception):
            path = config_class.__module__.replace("configuration_", "modeling_")
            module = importlib.import_module(path)
            classes = [
                each
                for each in vars(module).values()
                if inspect.isclass(each)
                and issubclass(each, PreTrainedModel)
                and each.__module__ == path
                and each.config_class is config_class
                and not each.__name__.endswith("PreTrainedModel")
            ]
            config = config_class()
            shrink(config, set())
            generates = [c for c in classes if "ForConditionalGeneration" in c.__name__]
            with torch.device("meta"):
                yield (generates or classes[-1:])[0](config)


def component_of(root, path):
    """Return the component of a part, as the hooks see it below its enclosing modules."""
    chain = _Chain()
    names = path.split(".")
    for length in range(len(names), -1, -1):
        chain.enclose(root.get_submodule(".".join(names[:length])))
    return chain.component(ComponentNames())


@pytest.fixture(scope="module")
def models():
    pytest.importorskip("transformers")
    found = []
    for model in built():
        parts = {}
        for path, part in model.named_modules():
            attribute = path.rpartition(".")[2]
            # Below another part of a known kind that one's word counts.
            inside = set(path.split(".")[:-1]) & set(WORDS)
            if attribute in WORDS and not inside and not isinstance(part, torch.nn.Identity):
                parts[path] = (component_of(model, path), WORDS[attribute])
        whole = component_of(model, "")
        found.append((type(model).__name__, parts, whole))
    return found


def test_the_parts_of_every_composite_have_the_right_word(models):
    assert len(models) >= LEAST_BUILT
    wrong = [
        (name, path, got, right)
        for name, parts, _ in models
        for path, (got, right) in parts.items()
        if got != right
    ]
    checked = sum(len(parts) for _, parts, _ in models)
    assert checked > 200
    assert wrong == []


def test_a_composite_that_is_compiled_whole_is_a_language_model_if_it_has_one(models):
    generating = {
        name: whole
        for name, parts, whole in models
        if "ForConditionalGeneration" in name
        and any(path.endswith("language_model") for path in parts)
    }
    assert len(generating) > 40
    assert set(generating.values()) == {"language_model"}
