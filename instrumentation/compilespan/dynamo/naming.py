"""Names and sources of what is compiled, found without running any code of the program.

A module's ``__getattr__`` is the program's code and may raise, so attributes are looked up
statically: in the dictionaries of the object and of its classes.
"""

from __future__ import annotations

from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from compilespan import semconv
from compilespan.components.marks import LRU_CACHE, WRAPT, attributes_of, is_module, unwrapped
from compilespan.dynamo import frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

    from opentelemetry.util.types import AttributeValue

_MAX_WRAPPERS = 32
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodDescriptorType)
# Modules of classes that torch derives from the program's; the original is the last base.
_DERIVED = ("torch.distributed.", "torch.nn.utils.parametrize")


def given_object(value: Any) -> Any:
    """Return the object that the program passed to torch, without torch's wrappers.

    Torch's own wrapper functions (``torch.no_grad()(f)``, those around callable objects) are
    removed, the program's decorators are not.
    """
    return unwrapped(value, is_torchs)


def bound_object(value: Any) -> Any:
    """Return the object that a method is bound to; ``None`` for anything else."""
    for _ in range(_MAX_WRAPPERS):
        if type(value) is MethodType:
            return None if issubclass(type(value.__self__), type) else value.__self__
        if not is_torchs(value):
            return None
        value = value.__dict__.get("__wrapped__")
    return None


def is_torchs(value: Any) -> bool:
    """Whether this is a function of torch itself."""
    return type(value) is FunctionType and frames.is_torch(value.__code__)


def of_class(cls: type, name: str) -> Any:
    """Return an attribute of a class or its bases, without binding it; ``None`` if missing."""
    return next((vars(each)[name] for each in cls.__mro__ if name in vars(each)), None)


def name_of(value: Any) -> str:
    """Return the class name of an object, the qualified name of a function or class."""
    value = _function_of(value)
    kind = type(value)
    if kind in _FUNCTIONS:
        return str(value.__qualname__).removeprefix("_VariableFunctionsClass.")
    if issubclass(kind, type):
        return class_name(value)
    return class_name(kind)


def class_name(cls: type) -> str:
    """Return the name of a class; for one that torch derived, the name of the original."""
    while cls.__module__.startswith(_DERIVED) and _is_derived(cls):
        cls = cls.__bases__[-1]
    # Each graph module has a class of its own, and all of these have the same qualified name.
    name = cls.__qualname__ if "GraphModuleImpl" not in cls.__qualname__ else cls.__name__
    return name.rpartition("<locals>.")[2]


def _is_derived(cls: type) -> bool:
    """FSDP2 derives ``FSDPLinear`` from ``Linear``; ``replicate``, parametrizations do the same."""
    base = cls.__bases__[-1].__name__
    return cls.__name__ != base and cls.__name__.endswith(base)


class Source(NamedTuple):
    """The source that a user would look up: the function, its file and first line."""

    function: str
    file: str
    line: int

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """The source as span attributes."""
        return {
            semconv.CODE_FUNCTION_NAME: self.function,
            semconv.CODE_FILE_PATH: self.file,
            semconv.CODE_LINE_NUMBER: self.line,
        }


def source_of(owner: Any, code: CodeType | None = None, module_name: str = "") -> Source | None:
    """Return the source that a user would look up for a compile; ``None`` if unknown.

    Dynamo may compile a wrapper (a decorator's or torch's) instead of the ``forward`` that the
    class defines; then the source is that of ``forward``.

    Args:
        owner: The module, function or other callable that is compiled.
        code: The code that Dynamo compiles; ``None`` if unknown.
        module_name: Name of the module that defines that code; empty if unknown.
    """
    function = _function_of(_called(_function_of(owner)))
    around: list[CodeType] = []
    while type(function) is FunctionType and len(around) < _MAX_WRAPPERS:
        around.append(function.__code__)
        inner = _wrapped_by(function)
        if inner is None:
            break
        function = _function_of(inner)
    found = function if type(function) is FunctionType else None
    is_wrapper = code is None or frames.is_torch(code) or code in around[:-1]
    is_wrapper = is_wrapper or issubclass(type(owner), WRAPT)  # Dynamo compiles the decorator
    if found is not None and (is_wrapper or code == found.__code__):
        return _source(found.__code__, found.__qualname__, found.__module__)
    is_builtin = type(_function_of(owner)) in (BuiltinFunctionType, MethodDescriptorType)
    if code is None or (is_builtin and frames.is_torch(code)):
        return None
    return _source(code, getattr(code, "co_qualname", code.co_name), module_name)


def _source(code: CodeType, qualified: str, module_name: object) -> Source:
    prefix = f"{module_name}." if isinstance(module_name, str) and module_name else ""
    file = semconv.text(code.co_filename)
    return Source(semconv.name(prefix + qualified), file, code.co_firstlineno)


def _called(owner: Any) -> Any:
    """Return what runs when ``owner`` is called: a module's forward, an object's ``__call__``."""
    if is_module(owner):
        own = attributes_of(owner).get("forward")
        return own if own is not None else of_class(type(owner), "forward")
    if type(owner) in (FunctionType, MethodType) or issubclass(type(owner), type):
        return owner
    return of_class(type(owner), "__call__") or owner


def _wrapped_by(function: Any) -> Any:
    """Return the function that a decorator wrapped, from ``__wrapped__``, else its closure."""
    marked = function.__dict__.get("__wrapped__")
    if marked is not None or function.__name__ == "forward":
        return marked
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            held = _function_of(cell.cell_contents)
            if type(held) is FunctionType and held.__name__ == "forward":
                return held
    return None


def instance_of(code: CodeType, values: Mapping[str, Any]) -> Any:
    """Return the object whose method this code is, from the values of its variables.

    ``None`` for a function, even if its first argument is a module.
    """
    first = code.co_varnames[0] if code.co_argcount else ""
    value = values.get(first)
    if value is None or first == "self":
        return value
    method = _function_of(of_class(type(value), code.co_name))
    return value if type(method) is FunctionType and method.__code__ == code else None


def backend_name(compiler: Any) -> str:
    """Return the name by which a user knows this backend, without torch's wrappers."""
    for _ in range(_MAX_WRAPPERS):
        inner = attributes_of(compiler).get("_torchdynamo_orig_backend")
        if type(compiler) is MethodType and type(compiler.__self__).__name__ == "DDPOptimizer":
            inner = attributes_of(compiler.__self__).get("backend_compile_fn")
        if inner is None:
            break
        compiler = inner
    name = attributes_of(compiler).get("compiler_name")
    if not isinstance(name, str):
        kind = type(compiler)
        is_function = kind in (FunctionType, MethodType)
        name = compiler.__name__ if is_function else of_class(kind, "compiler_name")
    return semconv.name(name if isinstance(name, str) else name_of(compiler))


def _function_of(value: Any) -> Any:
    """Return the function inside a bound, static or class method, a wrapt or a cache wrapper."""
    for _ in range(_MAX_WRAPPERS):
        kind = type(value)
        if kind in (MethodType, staticmethod, classmethod):
            value = value.__func__
        elif issubclass(kind, WRAPT) or kind is LRU_CACHE:
            value = value.__wrapped__
        else:
            break
    return value
