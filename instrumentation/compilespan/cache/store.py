"""The store: files at any URL of fsspec. Each operation is bounded in time."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from compilespan.cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_THREADS = 8


class Store:
    """A directory at a URL; errors and timeouts are `CacheError`."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: Any URL of fsspec; a path is a ``file://`` URL.

        Raises:
            CacheError: fsspec, or the package for this kind of URL, is not installed.
        """
        try:
            from fsspec import get_filesystem_class  # noqa: PLC0415  # an extra
            from fsspec.core import split_protocol  # noqa: PLC0415
        except ImportError as error:
            msg = "fsspec is not installed: pip install 'compilespan[cache]'"
            raise CacheError(msg) from error
        self._url = url
        protocol = split_protocol(url)[0] or "file"
        self.is_local = protocol in ("file", "local")
        try:
            get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:
            raise CacheError(str(error)) from error

    @property
    def local_path(self) -> str:
        """The directory, if the store is one of this machine."""
        return str(self._place[1])

    @functools.cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system and the path in it; some kinds connect."""
        from fsspec.core import url_to_fs  # noqa: PLC0415  # an extra

        files, base = url_to_fs(self._url)
        return files, str(base)

    def names(self, folder: str) -> list[str]:
        """Return the paths of the files below a folder."""
        files, base = self._place
        base = f"{base}/"
        try:
            found = files.find(base + folder)
        except FileNotFoundError:
            return []
        return sorted(path[path.index(base) + len(base) :] for path in found if base in path)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's content, or its first ``max_bytes`` bytes and one more."""
        files, base = self._place
        data: bytes = files.cat_file(f"{base}/{name}", start=0, end=max_bytes + 1)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that others see all of it or nothing."""
        files, base = self._place
        path = f"{base}/{name}"
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if self.is_local:  # object stores show a file when it is whole
            part = f"{path}.{secrets.token_hex(8)}.part"
            files.pipe_file(part, data)
            files.mv(part, path)
        else:
            files.pipe_file(path, data)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        files, base = self._place
        return bool(files.exists(f"{base}/{name}"))


def within(timeout_s: float, call: Callable[[], T]) -> T:
    """Return the result of a call in a thread of its own.

    Raises:
        CacheError: It raised, or took longer than ``timeout_s``; then it is left behind.
    """
    return next(each_within(timeout_s, [call]))


def each_within(timeout_s: float, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of calls in a few threads, as they come.

    Raises:
        CacheError: A call raised, or all together took longer than ``timeout_s``.
    """
    todo: SimpleQueue[Callable[[], T]] = SimpleQueue()
    done: SimpleQueue[tuple[T, None] | tuple[None, Exception]] = SimpleQueue()
    for call in calls:
        todo.put(call)
    count = todo.qsize()
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                call = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((call(), None))
            except Exception as error:  # reported to who waits
                done.put((None, error))

    # Threads of an executor would be joined when the process ends.
    for _ in range(min(_THREADS, count)):
        threading.Thread(target=work, name="compilespan-cache", daemon=True).start()
    deadline_s = time.monotonic() + timeout_s
    try:
        for _ in range(count):
            try:
                result, error = done.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except Empty:
                msg = f"it did not answer within {timeout_s:.3g} s"
                raise CacheError(msg) from None
            if error is not None:
                raise CacheError(f"{type(error).__name__}: {error}") from error
            yield result  # type: ignore[misc]  # there is no error
    finally:
        is_over.set()
