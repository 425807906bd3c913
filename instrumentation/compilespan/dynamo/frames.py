"""Who compiles: read off the Python stack while a compile begins, and let go of at once.

Frames hold what we look for as locals: Dynamo's ``_compile`` has the code and the backend,
``compile_wrapper`` the function that `torch.compile` was given, and every frame in between and
above may have a module as its ``self``.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from opentelemetry.util.types import AttributeValue

_MAX_FRAMES = 400
_OURS = ("compilespan", "wrapt")


def caller() -> FrameType:
    """Return the frame that called the patched function: the first that is neither ours."""
    frame = sys._getframe(1)  # noqa: SLF001  # the documented way without inspect's cost
    while frame.f_back is not None and _package(frame) in _OURS:
        frame = frame.f_back
    return frame


def local(frame: FrameType, name: str) -> Any:
    """Return a local variable of a function's frame, ``None`` where there is none.

    Before Python 3.13 ``f_locals`` is a snapshot that lives as long as the frame does and would
    keep tensors alive; it is emptied again. Module and class bodies are never touched.
    """
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return None
    snapshot = frame.f_locals
    value = snapshot.get(name)
    if sys.version_info < (3, 13):
        snapshot.clear()
    return value


def module_class() -> type | None:
    """Return ``torch.nn.Module`` where torch is imported."""
    torch = sys.modules.get("torch")
    return getattr(getattr(torch, "nn", None), "Module", None)


class Subject:
    """What compiles: the module or function, and the modules around it.

    It references them, so it lives only while a monitor is being opened.

    Attributes:
        owner: The module whose frame is compiled, else what `torch.compile` was given.
        chain: ``owner`` and what encloses it, innermost first.
    """

    def __init__(self, frame: FrameType, compiled_self: Any = None, given: Any = None) -> None:
        """Walk the stack from ``frame`` outwards.

        Args:
            frame: Dynamo's own frame.
            compiled_self: ``self`` of the frame that is compiled, if it has one.
            given: What was handed in to be compiled, where the frame itself has it.
        """
        module = module_class()
        given = _compiled_object(given)
        chain: list[Any] = [] if given is None else [given]
        if module is not None and isinstance(compiled_self, module):
            chain.append(compiled_self)
        for outer in _outwards(frame):
            code = outer.f_code
            if given is None and code.co_name == "compile_wrapper":
                candidate = given = _compiled_object(local(outer, "fn"))
            elif code.co_argcount and code.co_varnames[0] == "self":
                candidate = local(outer, "self")
                if module is None or not isinstance(candidate, module):
                    continue
            else:
                continue
            if candidate is not None and not any(candidate is seen for seen in chain):
                chain.append(candidate)
        self.owner = chain[0] if chain and module and isinstance(chain[0], module) else given
        self.chain = chain

    @property
    def name(self) -> str | None:
        """Class name of a module, qualified name of a function."""
        if self.owner is None:
            return None
        return getattr(self.owner, "__qualname__", None) or type(self.owner).__name__

    @property
    def class_names(self) -> Iterator[str]:
        """The class names that may tell an encoder, innermost first; functions have none."""
        return (type(each).__name__ for each in self.chain if not hasattr(each, "__code__"))


def code_attributes(code: CodeType) -> dict[str, AttributeValue]:
    """Return the span attributes of the code that is compiled."""
    return {
        semconv.CODE_FUNCTION_NAME: getattr(code, "co_qualname", code.co_name),
        semconv.CODE_FILE_PATH: code.co_filename,
        semconv.CODE_LINE_NUMBER: code.co_firstlineno,
    }


def backend_name(compiler: Any) -> str:
    """Return how a user would name this backend, under what Dynamo wrapped it in."""
    for _ in range(16):
        inner = getattr(compiler, "_torchdynamo_orig_backend", None)
        if inner is None:
            break
        compiler = inner
    for attribute in ("compiler_name", "__name__"):
        name = getattr(compiler, attribute, None)
        if isinstance(name, str):
            return name
    return type(compiler).__name__


def _compiled_object(function: Any) -> Any:
    """Return the module of a bound method, or of the function that torch wraps its own ones in."""
    wrapped = getattr(function, "__wrapped__", None)
    module = module_class()
    if module is not None and isinstance(wrapped, module):
        return wrapped
    return getattr(function, "__self__", function)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _outwards(frame: FrameType) -> Iterator[FrameType]:
    outer = frame.f_back
    for _ in range(_MAX_FRAMES):
        if outer is None:
            return
        yield outer
        outer = outer.f_back
