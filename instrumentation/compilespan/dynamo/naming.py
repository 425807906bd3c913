"""What a person calls the thing that compiles, found without running any code of the program.

A module's ``__getattr__`` is the program's code and may raise, so attributes are looked up
statically: in the dictionaries of the object and of its classes.
"""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.marks import attributes_of, is_module, unwrapped
from compilespan.dynamo import frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

    from opentelemetry.util.types import AttributeValue

_MAX_WRAPPERS = 32
# Classes that torch derives from the program's: the original is the last base.
_DERIVED = ("torch.distributed.", "torch.nn.utils.parametrize")


def given_object(value: Any) -> Any:
    """Return what the program handed to torch, below what torch wrapped around it.

    Torch's own wrapper functions (``torch.no_grad()(f)``, those around callable objects) are
    looked through, the program's decorators are not.
    """
    return unwrapped(value, is_torchs)


def is_torchs(value: Any) -> bool:
    """Whether this is a function of torch itself."""
    return type(value) is FunctionType and frames.is_torch(value.__code__)


def of_class(cls: type, name: str) -> Any:
    """Return an attribute of a class or its bases, as it is written there."""
    return next((vars(each)[name] for each in cls.__mro__ if name in vars(each)), None)


def name_of(value: Any) -> str:
    """Return the class name of an object, the qualified name of a function or class."""
    kind = type(value)
    if kind is FunctionType:
        return str(value.__qualname__)
    if issubclass(kind, type):
        return class_name(value)
    return class_name(kind)


def class_name(cls: type) -> str:
    """Return the name that the class had before torch derived its own from it."""
    while cls.__module__.startswith(_DERIVED) and _is_derived(cls):
        cls = cls.__bases__[-1]
    # The classes of graph modules are made one by one, under one qualified name.
    name = cls.__qualname__ if "GraphModuleImpl" not in cls.__qualname__ else cls.__name__
    return name.rpartition("<locals>.")[2]


def _is_derived(cls: type) -> bool:
    """FSDP2 makes ``FSDPLinear`` of ``Linear``, ``replicate`` and parametrizations likewise."""
    base = cls.__bases__[-1].__name__
    return cls.__name__ != base and cls.__name__.endswith(base)


def source_of(owner: Any, code: CodeType, module_name: str) -> tuple[str, str, int]:
    """Return function name, file and first line of what a person would look up.

    Dynamo may compile a decorator's wrapper, or torch's, in place of the ``forward`` that the
    class defines; then that ``forward`` is meant.

    Args:
        owner: The module or function that compiles.
        code: What Dynamo compiles.
        module_name: Where that code was defined.
    """
    function = _forward_of(owner) if is_module(owner) else owner
    around: list[CodeType] = []
    while type(function) is FunctionType and len(around) < _MAX_WRAPPERS:
        around.append(function.__code__)
        inner = function.__dict__.get("__wrapped__")
        if inner is None:
            break
        function = _function_of(inner)
    is_wrapper = frames.is_torch(code) or code in around[:-1]
    qualified = getattr(code, "co_qualname", code.co_name)
    if type(function) is FunctionType and (is_wrapper or code == function.__code__):
        code, qualified = function.__code__, function.__qualname__
        module_name = str(function.__module__)
    prefix = f"{module_name}." if module_name else ""
    return semconv.name(prefix + qualified), semconv.text(code.co_filename), code.co_firstlineno


def instance_of(code: CodeType, values: Mapping[str, Any]) -> Any:
    """Return the object whose method this code is, from the values of its variables.

    ``None`` if it is a function, even one whose first argument is a module.
    """
    first = code.co_varnames[0] if code.co_argcount else ""
    value = values.get(first)
    if value is None or first == "self":
        return value
    method = _function_of(of_class(type(value), code.co_name))
    return value if type(method) is FunctionType and method.__code__ == code else None


def code_attributes(function: str, file: str, line: int) -> dict[str, AttributeValue]:
    """Return the span attributes of the code that is compiled."""
    return {
        semconv.CODE_FUNCTION_NAME: function,
        semconv.CODE_FILE_PATH: file,
        semconv.CODE_LINE_NUMBER: line,
    }


def backend_name(compiler: Any) -> str:
    """Return how a user would name this backend, below what torch wrapped it in."""
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


def _forward_of(module: Any) -> Any:
    own = attributes_of(module).get("forward")
    return _function_of(own if own is not None else of_class(type(module), "forward"))


def _function_of(value: Any) -> Any:
    """Return the function of a bound, static or class method."""
    return value.__func__ if isinstance(value, (MethodType, staticmethod, classmethod)) else value
