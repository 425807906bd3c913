"""The embedded demo: a tiny, randomly initialised Llava, built without a download.

A CLIP vision tower and a Llama language model from ``transformers``, each compiled separately, as
servers do. It generates nonsense, but its compiles are real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan import WarmupTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMAGE_TOKEN = 250
_IMAGE_SIZE = 32
_PATCHES = (_IMAGE_SIZE // 8) ** 2


class LlavaDemo:
    """The model, called with prompts of a given length."""

    def __init__(self) -> None:
        self._model: Any = None

    def load(self) -> None:
        """Build the model and wrap it for compilation; the next call traces it."""
        import torch  # noqa: PLC0415  # the service opens its port before torch is imported
        from transformers import (  # noqa: PLC0415
            CLIPVisionConfig,
            LlamaConfig,
            LlavaConfig,
            LlavaForConditionalGeneration,
        )

        torch.manual_seed(0)
        vision = CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=_IMAGE_SIZE,
            patch_size=8,
        )
        text = LlamaConfig(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
        )
        config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=_IMAGE_TOKEN)
        model = LlavaForConditionalGeneration(config).eval()
        self._model = model
        # transformers installs its output hooks in the first forward. If that were compiled, they
        # would split the encoder's graph.
        self.run({"tokens": 8})
        model.model.vision_tower.compile()
        model.model.language_model.compile()

    def run(self, shape: Mapping[str, Any]) -> None:
        """Run one prompt of ``shape["tokens"]`` text tokens with one image."""
        import torch  # noqa: PLC0415

        tokens = [_IMAGE_TOKEN] * _PATCHES + [1] * int(shape["tokens"])
        with torch.inference_mode():
            self._model(
                input_ids=torch.tensor([tokens]),
                pixel_values=torch.zeros(1, 3, _IMAGE_SIZE, _IMAGE_SIZE),
                use_cache=False,
            )


def targets() -> Sequence[WarmupTarget]:
    """Return the demo's only target, with prompts of two lengths."""
    demo = LlavaDemo()
    return [
        WarmupTarget(
            "llava-demo", demo.run, shapes=[{"tokens": 16}, {"tokens": 48}], load=demo.load
        )
    ]
