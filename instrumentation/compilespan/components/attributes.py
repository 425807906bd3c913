"""The component that a module's attribute name in its enclosing module suggests."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from compilespan.components.class_names import any_of, component_of_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.semconv import Component

_SENSE = "(?:vision|visual|image|video|audio|speech|sound|asr|protein)"
_TEXT = (
    "(?:text|question|query|context|ctx|passage|prompt|conditioning|tokenizer|timestamp|memory"
    "|geometry|sam)"
)
_OTHER = any_of(
    r"""
    (?:\w+_)?(?:vae|vq_?model|vocoder|unet|dit|codec|hifigan|bigvgan)(?:_model)?
    (?:token|code)2wav\w* (?:mask|pixel|detr|image|video|acoustic)_decoder detr_encoder
    memory_attention decode_head (?:diffusion|flow)_(?:head|model) generation_(?:aligner|head)
    """
)
_LANGUAGE = any_of(
    r"""
    language_model llm lm (?:lm|llm)_(?:head|model) thinker talker code_predictor
    (?:text|token|language|llm)_(?:decoder\w*|lm) speech_decoder_model
    """
)
_TOWER = "tower|trunk|model|encoder|backbone|branch|transformer|tokenizer|head|neck|extractor"
_ADAPTER = r"proj\w*|adapt[eo]r|merger|resampler|connector|embed\w*"
_ENCODER = any_of(
    rf"""
    {_SENSE} vit vpm apm (?:\w+_)?{_SENSE}_(?:{_TOWER}|{_ADAPTER})(?:_model)?
    embed_{_SENSE} {_SENSE}_to_text_\w+ (?:\w+_)?{_TEXT}_encoder(?:_\d+|_model)?
    text_(?:tower|backbone|projection) language_projection (?:\w+_)?enc_to_dec_proj
    diarization_model
    """
)
# Parts that connect the tower to the language model.
_KIND = "multi_?modal|mm|modality|encoder|prompt|semantic|layerwise|spatial"
_BRIDGE = any_of(
    rf"""
    (?:(?:{_KIND})_)?(?:projectors?|connector|aligner|resampler|merger)(?:_model)?
    q_?former abstractor perceiver_resampler
    """
)
_WORDS: tuple[tuple[re.Pattern[str], Component], ...] = (
    (_OTHER, "other"),
    (_LANGUAGE, "language_model"),
    (_ENCODER, "encoder"),
    (_BRIDGE, "encoder"),
)
# Siblings of a text tower in models that generate nothing (CLIP).
_TWINS = ("text_projection", "visual_projection")
_HEADS = ("lm_head", "proj_out")


def component_of_attribute(name: str, siblings: Mapping[str, str]) -> Component | None:
    """Return the component that an attribute name suggests; ``None`` if it suggests none.

    Args:
        name: Name of the attribute. ``encoder``, ``decoder``, ``proj_out`` and ``text_model``
            count only beside certain siblings.
        siblings: Class names of all parts of the enclosing module, by attribute.
    """
    alone = _component_of_word(name)
    if alone is not None:
        return alone
    others = [each for each in siblings if each != name]
    if name == "decoder" and any(re.fullmatch(r"(?:\w+_)?encoder", other) for other in others):
        return "language_model"
    if name == "encoder" and "decoder" in others:
        return "encoder"
    if name == "proj_out" and "model" in others:  # Whisper's head
        return "language_model"
    return _text_model(others) if name == "text_model" else None


@functools.lru_cache(maxsize=1024)
def _component_of_word(name: str) -> Component | None:
    return next((component for pattern, component in _WORDS if pattern.fullmatch(name)), None)


def _text_model(others: list[str]) -> Component | None:
    """Return ``encoder`` beside CLIP's projections, ``language_model`` beside vision or a head."""
    if any(other in _TWINS for other in others):
        return "encoder"
    generates = ("lm_head", "vqmodel")
    if any(
        _BRIDGE.fullmatch(other) or _ENCODER.fullmatch(other) or other in generates
        for other in others
    ):
        return "language_model"
    return None


def is_weak(name: str) -> bool:
    """Whether the class names of a module and its parent may outweigh this attribute name."""
    return name in ("encoder", "decoder", "text_model") or _BRIDGE.fullmatch(name) is not None


def component_of_composite(parts: Mapping[str, str]) -> Component | None:
    """Return ``language_model`` for a composite that contains one, else ``None``.

    Args:
        parts: Class names of the module's direct parts, by attribute.
    """
    said: set[Component | None] = set()
    for name, class_name in parts.items():
        if name not in _HEADS:
            own = component_of_class(class_name) if name == "text_model" else None
            said.add(own or component_of_attribute(name, parts))
    is_composite = "language_model" in said and len(said - {None}) > 1
    return "language_model" if is_composite else None
