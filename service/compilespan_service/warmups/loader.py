"""From ``MODULE:FACTORY`` to loaded models, with errors that name the operator's mistake."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from compilespan import get_ledger, semconv
from compilespan.warmup.call import load
from compilespan_service.door.text import described
from compilespan_service.warmups.spec import LoadError, SpecError, check_spec
from compilespan_service.warmups.targets import TargetsError, checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan import WarmupTarget
    from compilespan_service.warmups.targets import Factory


def find_factory(spec: str) -> Factory:
    """Import ``MODULE:FACTORY``, also from the current directory, as uvicorn does.

    Raises:
        SpecError: There is no such module, or no such function in it.
        LoadError: The module itself fails when it is imported.
    """
    module_name, name = check_spec(spec)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except BaseException as error:  # a module's SystemExit must not end the server
        _raise_of_import(spec, module_name, error)
    for attribute in name.split("."):
        found = getattr(found, attribute, None)  # type: ignore[assignment]
    if not callable(found):
        msg = f"module {module_name!r} has no function {name!r}; {spec!r} must name one"
        raise SpecError(msg)
    return found


def load_models(
    find: Callable[[], Factory],
    known: Callable[[list[WarmupTarget]], object],
) -> None:
    """Call the factory, then load its targets; all but imports counts as the part ``load``.

    Args:
        find: Returns the factory.
        known: Called with the targets before their weights are loaded.

    Raises:
        LoadError: The factory cannot be found or fails, or what it returns cannot be loaded.
    """
    readiness = get_ledger().readiness
    with readiness.doing("load", "factory"):
        targets = _made(find)
    known(targets)
    for target in targets:
        try:
            with readiness.doing("load", semconv.name(target.name)):
                load(target)
        except BaseException as error:
            msg = f"target {target.name!r} cannot be loaded: {described(error)}"
            raise LoadError(msg, error) from error


def _made(find: Callable[[], Factory]) -> list[WarmupTarget]:
    try:
        factory = find()
    except LoadError:
        raise
    except BaseException as error:
        msg = f"the factory cannot be imported: {described(error)}"
        raise LoadError(msg, error) from error
    try:
        return checked(factory())
    except TargetsError as error:
        raise LoadError(str(error)) from error
    except BaseException as error:
        msg = f"the factory raised {described(error)}"
        raise LoadError(msg, error) from error


def _raise_of_import(spec: str, module_name: str, error: BaseException) -> NoReturn:
    if isinstance(error, ModuleNotFoundError) and _names(module_name, error.name or ""):
        msg = (
            f"there is no module {error.name!r}, which {spec!r} names; "
            "start the service in the folder of the module, or install it"
        )
        raise SpecError(msg) from error
    if isinstance(error, SyntaxError) and _is_file_of(module_name, error.filename or ""):
        msg = f"module {module_name!r} is not valid Python: line {error.lineno}: {error.msg}"
        raise SpecError(msg) from error
    msg = f"module {module_name!r} fails when it is imported: {described(error)}"
    raise LoadError(msg, error) from error


def _names(module_name: str, missing: str) -> bool:
    return module_name == missing or module_name.startswith(f"{missing}.")


def _is_file_of(module_name: str, file: str) -> bool:
    try:
        found = importlib.util.find_spec(module_name)
    except Exception:  # the import of a parent package fails
        return False
    return found is not None and found.origin == file
