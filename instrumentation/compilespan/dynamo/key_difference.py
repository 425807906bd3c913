"""In which components two cache keys of graphs differ, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compilespan.dynamo import key_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DIFFERENCES = 8
"""So many are named; the others are counted."""
THE_GRAPH = "the graph itself"

_WORDS = {
    "torch_version": "source of torch",
    "system_info": "device, driver or Triton",
    "cpp_runtime_thread_count": "thread count",
    "grad_enabled": "grad mode",
    "autocast_state": "autocast",
    "default_dtype": "default dtype",
    "cuda_matmul_settings": "matmul precision",
    "deterministic_algorithms": "deterministic algorithms",
    "deterministic_algorithms_settings": "deterministic algorithms",
    "dynamic_shapes": "dynamic shapes",
    "aot_config": "names of the inputs, or how the module is wrapped",
    "user_defined_triton_source": "source of a Triton kernel",
    "triton_kernel_source_codes": "source of a Triton kernel",
    key_parts.ARGUMENT: "argument",
    key_parts.CONFIG: "config",
    key_parts.AUTOGRAD_CONFIG: "config",
    "inductor_config_comms": "config",
    "fx_kwargs": "option",
}
"""What people call a component; in the order in which they are named."""
_RANKS = {name: rank for rank, name in enumerate(_WORDS)}
_CHANGE_GRAPH = {
    *("grad_enabled", "autocast_state", "default_dtype", "dynamic_shapes", "aot_config"),
    *(key_parts.ARGUMENT, "fx_kwargs"),
}
"""Where one of these differs, the graph may differ because of it."""
_COMPONENT = re.compile(r"(\w+)(?:\[(.*)\])?")


@dataclass(frozen=True, slots=True)
class _Part:
    """A component of a key, e.g. ``inductor_config[max_autotune]``."""

    name: str
    index: str | None

    @property
    def rank(self) -> tuple[int, int, str]:
        """Where it stands among others."""
        number = int(self.index) if self.index and self.index.isdecimal() else 0
        return _RANKS.get(self.name, len(_RANKS)), number, self.index or ""


def differences(known: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return what differs, in words, the most telling first; empty if nothing does.

    The graph is named only if nothing else that differs can have changed it.

    Args:
        known: Values by component of a key that has an entry.
        wanted: Those of the key that has none.
    """
    differing = {
        _part(name): (known.get(name), wanted.get(name))
        for name in _differing(known, wanted) - {key_parts.GRAPH}
    }
    dynamic = [key_parts.has_symbols(parts) for parts in (known, wanted)]
    if dynamic[0] != dynamic[1]:  # which changes the arguments, and how they are found
        differing = {
            part: values
            for part, values in differing.items()
            if part.name not in (key_parts.ARGUMENT, "aot_config")
        }
        differing[_Part("dynamic_shapes", None)] = (str(dynamic[0]), str(dynamic[1]))
    found: dict[str, str] = {}
    arguments = 0
    for part in sorted(differing, key=lambda each: each.rank):
        old, new = differing[part]
        if part.name == key_parts.ARGUMENT:
            arguments += 1
            found.setdefault(part.name, _argument(part, old, new))
        else:
            word = _word(part)
            found.setdefault(word, word + _change(old, new))
    if arguments > 1:
        found[key_parts.ARGUMENT] += f" (and {arguments - 1} more)"
    if not are_same_graph(known, wanted) and not _CHANGE_GRAPH & {each.name for each in differing}:
        found[key_parts.GRAPH] = THE_GRAPH
    said = list(found.values())
    more = len(said) - MAX_DIFFERENCES
    return said if more <= 0 else [*said[:MAX_DIFFERENCES], f"{more} more"]


def distance(known: Mapping[str, str], wanted: Mapping[str, str]) -> int:
    """Return the number of components that differ."""
    return len(_differing(known, wanted))


def are_same_graph(known: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether both keys are for the same operations, as far as is known."""
    both = known.get(key_parts.GRAPH), wanted.get(key_parts.GRAPH)
    return None in both or both[0] == both[1]


def _differing(known: Mapping[str, str], wanted: Mapping[str, str]) -> set[str]:
    found = {name for name in {*known, *wanted} if known.get(name) != wanted.get(name)}
    return found if not are_same_graph(known, wanted) else found - {key_parts.GRAPH}


def _part(component: str) -> _Part:
    match = _COMPONENT.fullmatch(component)
    return _Part(match[1], match[2]) if match else _Part(component, None)


def _word(part: _Part) -> str:
    word = _WORDS.get(part.name)
    if word in ("config", "option") and part.index is not None:
        return f"{word} `{part.index}`"
    return word or f"option `{part.name.strip('_')}`"


def _argument(part: _Part, old: str | None, new: str | None) -> str:
    """Return what differs in one input of the graph."""
    if part.index is None:
        return "arguments"
    if old is None or new is None:
        return "number of arguments"
    fields = [each.split(" ") for each in (old, new)]
    if all(len(each) == len(key_parts.ARGUMENT_FIELDS) for each in fields):
        for field, before, after in zip(key_parts.ARGUMENT_FIELDS, *fields, strict=True):
            if before != after:
                return f"argument {part.index}: {field}{_change(before, after)}"
    return f"argument {part.index}{_change(old, new)}"


def _change(old: str | None, new: str | None) -> str:
    """Return both values if both are known in plain text."""
    if old is None or new is None or old.startswith("#") or new.startswith("#"):
        return ""
    words = old.split(" "), new.split(" ")
    if len(words[0]) != len(words[1]):
        return f" {old} → {new}"
    changed = [pair for pair in zip(*words, strict=True) if pair[0] != pair[1]]
    return f" {' '.join(before for before, _ in changed)} → {' '.join(now for _, now in changed)}"
