"""Components that the program states: marks on modules, and ``is_encoder`` arguments."""

from __future__ import annotations

import functools
import sys
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from compilespan.semconv import Component

_MARK = "_compilespan_is_encoder"
_MAX_WRAPPERS = 32
# Attributes under which wrapper modules keep the module that they wrap.
_CONTAINERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")

# Wrappers that are not functions; both keep what they wrap as ``__wrapped__``.
WRAPT = (wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper)
LRU_CACHE = type(functools.lru_cache(len))

M = TypeVar("M")


def stated(*, is_encoder: bool | None) -> Component | None:
    """Return the component that an ``is_encoder`` argument states; ``None`` for ``None``.

    ``False`` states a language model, not ``other``.
    """
    if is_encoder is None:
        return None
    return "encoder" if is_encoder else "language_model"


def mark_component(module: M, *, is_encoder: bool) -> M:
    """State whether the compiles of ``module`` belong to an encoder or to a language model.

    The mark outweighs names and surrounding monitors. It also applies to unmarked modules inside,
    and is copied and pickled with the module.

    Args:
        module: A ``torch.nn.Module`` or a function. For a wrapper (a compiled module, a bound
            method, ``torch.no_grad()(module.forward)``), the wrapped object is marked.
        is_encoder: ``True`` for an encoder, ``False`` for a language model.

    Returns:
        ``module`` itself, so that the call can enclose a constructor.

    Raises:
        TypeError: Attributes cannot be set on ``module``.
    """
    marked = marked_object(module)
    try:
        object.__setattr__(marked, _MARK, bool(is_encoder))
    except (AttributeError, TypeError) as error:
        msg = (
            f"mark_component: cannot set attributes on {type(module).__name__!r}; "
            "mark the nn.Module or the function that was passed to torch.compile"
        )
        raise TypeError(msg) from error
    return module


def marked_object(value: Any) -> Any:
    """Return the object that carries the mark of ``value``: what is inside all wrappers."""
    return unwrapped(value, lambda _: True)


def marked_as(owners: Iterable[Any]) -> Component | None:
    """Return the component of the nearest mark on ``owners`` (innermost first), if any."""
    for owner in owners:
        mark = attributes_of(owner).get(_MARK)
        if mark is not None:
            return stated(is_encoder=bool(mark))
    return None


def module_class() -> type:
    """Return ``torch.nn.Module``; a class without instances if torch is not imported."""
    found = sys.modules.get("torch.nn.modules.module")
    return getattr(found, "Module", None) or _Nothing


class _Nothing:
    pass


def is_module(value: Any) -> bool:
    """Whether this is a module; checks its type only, since ``isinstance`` may run its code."""
    return issubclass(type(value), module_class())


def attributes_of(value: Any) -> Mapping[str, Any]:
    """Return the instance attributes of an object, without running code of its class."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def unwrapped(value: Any, sees_through: Callable[[Any], bool]) -> Any:
    """Return what was wrapped: the module of a bound method or container, a partial's function.

    Runs no code of the program: a module's ``__getattr__`` may raise.

    Args:
        value: A module, a function, or any other object.
        sees_through: Whether to look inside this function or wrapper (``__wrapped__``).
    """
    for _ in range(_MAX_WRAPPERS):
        inner = None
        kind = type(value)
        if kind is MethodType:
            inner = value.__self__ if is_module(value.__self__) else value.__func__
        elif issubclass(kind, functools.partial):
            inner = functools.partial.func.__get__(value)  # type: ignore[attr-defined]
        elif kind is FunctionType and sees_through(value):
            inner = value.__dict__.get("__wrapped__")
        elif (issubclass(kind, WRAPT) or kind is LRU_CACHE) and sees_through(value):
            inner = value.__wrapped__
        elif is_module(value):
            inner = _contained_in(value)
        if inner is None:
            return value
        value = inner
    return value


def _contained_in(module: Any) -> Any:
    """Return the module inside one of torch's containers; ``None`` for any other module."""
    parts = attributes_of(module).get("_modules")
    if not parts:
        return None
    for name in _CONTAINERS:
        if parts.get(name) is not None:
            return parts[name]
    inner = parts.get("module")
    return inner if inner is not None and is_parallel(type(module)) else None


def is_parallel(cls: type) -> bool:
    """Whether a class is one of torch's parallel wrappers: DDP, DataParallel."""
    return cls.__module__.startswith("torch.nn.parallel.")
