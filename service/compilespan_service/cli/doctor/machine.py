"""Python, compiler, CPUs, GPU: what torch.compile needs of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage, which
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.process.limits import compile_threads, cpus
from compilespan_service.cli.doctor.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_TORCH = (2, 9)
_LITTLE = 2 * 10**9
"""Bytes below which a disk is too full for a compile cache."""
_CALL_S = 20.0


def python() -> Check:
    """Python and its headers, which inductor's C++ includes."""
    said = f"{platform.python_version()} on {platform.machine()}"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.exists():
        return Check("Python", "good", said)
    return Check(
        "Python",
        "bad",
        f"{said}; {header} is missing, which inductor's C++ includes",
        "install the development package, e.g. apt install python3-dev",
    )


def torch() -> Check:
    """The version of torch."""
    found = installed("torch")
    if found is None:
        return Check("torch", "bad", "not installed", "pip install torch")
    numbers = tuple(int(each) for each in found.split("+")[0].split(".")[:2] if each.isdigit())
    if numbers < _LEAST_TORCH:
        return Check("torch", "bad", found, "compilespan records torch 2.9 and newer: update it")
    return Check("torch", "good", found)


def compiler() -> Check:
    """The C++ compiler that inductor calls."""
    named = os.environ.get("CXX")
    found = next(
        (path for each in ([named] if named else ["g++", "clang++"]) if (path := which(each))),
        None,
    )
    if found is None:
        what = f"CXX={named} is not a program" if named else "neither g++ nor clang++ is in PATH"
        return Check("C++ compiler", "bad", what, "install one, e.g. apt install g++")
    try:
        said = subprocess.run(  # noqa: S603  # the compiler that inductor would call
            [found, "--version"], capture_output=True, text=True, timeout=_CALL_S, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Check("C++ compiler", "bad", f"{found}: {error}", "install another one")
    return Check("C++ compiler", "good", f"{found}: {said.partition(chr(10))[0]}")


def headers() -> Check | None:
    """The precompiled headers of inductor's C++, which each new container builds again."""
    directory = _found(private.HEADER_DIRECTORY)
    if directory is None:
        return None
    built = [each for each in Path(directory).rglob("*.gch") if each.is_file()]
    if built:
        size = sum(each.stat().st_size for each in built)
        return Check("headers", "good", f"precompiled in {directory} ({size / 1e6:.0f} MB)")
    return Check(
        "headers",
        "note",
        f"none are precompiled in {directory}: the first compile of this container builds them",
        "share them with --cache-url, or keep the temporary directory (TMPDIR)",
    )


def cache(given: str | None) -> Check | None:
    """The directory of inductor's cache; ``given`` by the user, or torch's own."""
    directory = Path(given) if given else _cache_directory()
    if directory is None:
        return None
    if not _is_writable(directory):
        return Check(
            "compile cache",
            "bad",
            f"{directory} cannot be written: each start compiles everything",
            "set TORCHINDUCTOR_CACHE_DIR to a directory of this user",
        )
    parent = next(each for each in (directory, *directory.parents) if each.exists())
    size = sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()) / 1e6
    free = disk_usage(parent).free
    said = f"{directory}: {size:.0f} MB, {free / 1e9:.0f} GB free"
    if free < _LITTLE:
        return Check("compile cache", "bad", said, "make room, or move it to a larger disk")
    if given is None:
        remedy = "in a container, set TORCHINDUCTOR_CACHE_DIR to a volume that outlives it"
        return Check("compile cache", "note", said, remedy)
    return Check("compile cache", "good", said)


def threads() -> Check:
    """CPUs, and how many of them kernels are built on and run on."""
    allowed, builders = cpus(), compile_threads()
    omp = os.environ.get("OMP_NUM_THREADS")
    said = f"{allowed:g} CPUs, kernels are built by {builders} threads, OMP_NUM_THREADS={omp}"
    if omp is None:
        return Check(
            "threads",
            "note",
            said,
            "set OMP_NUM_THREADS: on the CPU the number of threads is part of the cache's key",
        )
    if builders < min(allowed, 8):
        remedy = "unset TORCHINDUCTOR_COMPILE_THREADS, or set it to the number of CPUs"
        return Check("threads", "note", said, remedy)
    return Check("threads", "good", said)


def gpu() -> Check:
    """The GPU, and Triton, which builds its kernels."""
    module = import_module("torch") if find_spec("torch") is not None else None
    triton = installed("triton")
    is_there = Path("/proc/driver/nvidia/version").exists()
    if module is not None and module.cuda.is_available():
        name = module.cuda.get_device_name(0)
        if triton is None:
            return Check("GPU", "bad", f"{name}; Triton is not installed", "pip install triton")
        return Check("GPU", "good", f"{name}, Triton {triton}")
    if is_there:
        return Check(
            "GPU",
            "bad",
            "there is an NVIDIA driver, and torch does not use the GPU",
            "install a build of torch for CUDA; give the container the GPU",
        )
    return Check("GPU", "good", f"none; Triton {triton or 'is not installed, nor needed'}")


def installed(package: str) -> str | None:
    """Return the version of a package; ``None`` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def checks(cache_directory: str | None) -> Iterator[Check]:
    """Yield all of them.

    Args:
        cache_directory: ``TORCHINDUCTOR_CACHE_DIR`` before torch was imported.
    """
    yield python()
    yield torch()
    yield compiler()
    for each in (headers(), cache(cache_directory)):
        if each is not None:
            yield each
    yield threads()
    yield gpu()


def _found(name: private.Private) -> Any:
    """Return a private object of torch; ``None`` if there is none."""
    try:
        import_module(name.module)
    except ImportError:
        return None
    return name.found()


def _cache_directory() -> Path | None:
    find = _found(private.CACHE_DIRECTORY)
    return Path(find()) if find is not None else None


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
