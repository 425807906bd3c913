"""Encoder or not: what a module's class, its enclosing modules and its marks say.

The order is SPEC's: a mark by hand, a surrounding monitor's or target's word (the monitor's
business, not ours), then class names from the compiled module outwards. The first class name
that says anything decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MARK = "_compilespan_is_encoder"

M = TypeVar("M")

# What generates is no encoder, even where its name also says "Vision": in
# VisionEncoderDecoderModel or LlavaForConditionalGeneration the blocks whose own names are
# silent belong to the language model.
_NOT_ENCODER = re.compile(
    r"Decoder|Causal|LMHead|LanguageModel|Generation|Seq2Seq|VisionLanguage|ImageText|TextTo|ToText"
    r"|(?<!CLIP)(?<!Siglip)(?<!Siglip2)TextModel"  # their text towers are encoders
)
# Written as in class names: a capital begins a word, so that Llava-Onevision is no vision tower.
_ENCODER = re.compile(
    r"Vision|Visual|Image|Video|Audio|Speech|(?<![Aa]uto)Encoder|[Pp]rojector|Resampler|QFormer"
    r"|ViT(?![a-z])|Vit(?![a-z])|(?i:siglip|clip|bert|dino|wav2vec|convnext|resnet|swin)"
)


def mark_component(module: M, *, is_encoder: bool) -> M:
    """Say whether what ``module`` compiles belongs to an encoder.

    The mark outweighs names and surrounding monitors, and holds for modules inside that have no
    mark of their own. It is copied and pickled with the module.

    Args:
        module: A ``torch.nn.Module``, a compiled one included, or a function.
        is_encoder: ``True`` for an encoder, ``False`` for anything else.

    Returns:
        ``module`` itself, so that the call can stand around a constructor.

    Raises:
        TypeError: ``module`` takes no attributes.
    """
    marked = getattr(module, "_orig_mod", module)  # torch.compile(module) wraps it
    marked = getattr(marked, "__func__", marked)
    try:
        object.__setattr__(marked, _MARK, is_encoder)
    except (AttributeError, TypeError) as error:
        msg = (
            f"mark_component: {type(module).__name__!r} takes no attributes; "
            "mark the nn.Module or the function that torch.compile was given"
        )
        raise TypeError(msg) from error
    return module


def marked_as(owners: Iterable[Any]) -> bool | None:
    """Return what the nearest mark on ``owners`` (innermost first) says, if there is any."""
    for owner in owners:
        try:
            mark = vars(owner).get(_MARK)
        except TypeError:  # no __dict__
            continue
        if mark is not None:
            return bool(mark)
    return None


class EncoderNames:
    """The class-name patterns, with the user's own in front."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Compile ``patterns``.

        Args:
            patterns: Regular expressions that are searched in class names, case ignored. They
                come before the built-in ones.

        Raises:
            ValueError: A pattern is no regular expression.
        """
        try:
            self._own = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
        except re.error as error:
            msg = (
                f"encoder pattern {error.pattern!r} is no regular expression: {error}; "
                "give comma-separated expressions that are searched in class names, e.g. 'Tower'"
            )
            raise ValueError(msg) from error

    def verdict(self, class_name: str) -> bool | None:
        """Return what one class name says; ``None`` where it says nothing."""
        if any(pattern.search(class_name) for pattern in self._own):
            return True
        if _NOT_ENCODER.search(class_name):
            return False
        return True if _ENCODER.search(class_name) else None

    def is_encoder(self, class_names: Iterable[str]) -> bool:
        """Return what the first of ``class_names`` (innermost first) says that says anything."""
        for class_name in class_names:
            verdict = self.verdict(class_name)
            if verdict is not None:
                return verdict
        return False
