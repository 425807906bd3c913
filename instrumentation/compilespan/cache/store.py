"""The store: files in a directory of this machine, or at any URL of fsspec."""

from __future__ import annotations

import functools
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.cache.errors import CacheError
from compilespan.cache.trust import OTHERS

if TYPE_CHECKING:
    import datetime as dt

_CREATES_ONCE = frozenset(
    {"file", "local", "memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
)
"""Kinds of URL whose file system creates a file exclusively; the base class looks and writes."""


class Store(Protocol):
    """Files by name; an operation may take any time and raise anything."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files below a folder, sorted."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's content, or its first ``max_bytes`` bytes and one more."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that others see all of it or nothing."""

    def create(self, name: str) -> bool:
        """Create an empty file; ``False`` if it exists, or somebody else creates it now.

        Raises:
            CacheError: This kind of store cannot tell.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def age_s(self, name: str) -> float | None:
        """Return the seconds since a file was written; ``None`` if the store does not tell."""


class LocalStore:
    """A directory of this machine, whose files are read only if no other user can write them."""

    def __init__(self, directory: Path, *, is_checked: bool) -> None:
        """Read nothing yet.

        Args:
            directory: Without links in it, so that what was checked is what is read.
            is_checked: Whether to refuse files and folders that others can write.
        """
        self.directory = directory
        self._is_checked = is_checked

    def names(self, folder: str) -> list[str]:
        """Return the names of the files below a folder, sorted."""
        found = []
        for parent, _, files in os.walk(self._path(folder)):
            self._check(Path(parent).lstat(), parent)
            found += [str((Path(parent) / name).relative_to(self.directory)) for name in files]
        return sorted(found)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's content; a link is no file.

        Raises:
            CacheError: Another user can write it.
            OSError: It cannot be read.
        """
        # Another kind of file, such as a pipe, might never answer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path(name), flags)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            self._check(status, name)
            if not stat.S_ISREG(status.st_mode):
                msg = f"{name} is no file"
                raise CacheError(msg)
            return file.read(max_bytes + 1)

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that others see all of it or nothing."""
        path = self._folder_of(name)
        part = path / f"{secrets.token_hex(8)}.part"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            part.replace(self.directory / name)
        finally:
            part.unlink(missing_ok=True)

    def create(self, name: str) -> bool:
        """Create an empty file; ``False`` if it exists."""
        self._folder_of(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            os.close(os.open(self.directory / name, flags, 0o600))
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        self._path(name).unlink(missing_ok=True)

    def age_s(self, name: str) -> float | None:
        """Return the seconds since a file was written; ``None`` if it does not exist."""
        try:
            return time.time() - self._path(name).lstat().st_mtime
        except (OSError, CacheError):
            return None

    def _folder_of(self, name: str) -> Path:
        """Return the folder of a file, which is created."""
        path = self._path(name).parent
        for each in reversed([path, *path.parents]):
            if each.is_relative_to(self.directory):
                each.mkdir(mode=0o700, exist_ok=True)
        return path

    def _path(self, name: str) -> Path:
        """Return the path of a name.

        Raises:
            CacheError: It leaves the directory, or a folder on the way is a link.
        """
        path = self.directory
        for each in filter(None, name.split("/")):
            if path.is_symlink() or each in (".", ".."):
                msg = f"{name} leaves the store"
                raise CacheError(msg)
            path /= each
        if name.endswith("/") and path.is_symlink():
            msg = f"{name} leaves the store"
            raise CacheError(msg)
        return path

    def _check(self, status: os.stat_result, what: object) -> None:
        is_own = status.st_uid in (os.geteuid(), 0)
        if self._is_checked and (not is_own or status.st_mode & OTHERS):
            msg = f"other users can write {what}"
            raise CacheError(msg)


class RemoteStore:
    """A URL of fsspec; object stores show a file when it is whole."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Raises:
            CacheError: fsspec, or the package for this kind of URL, is not installed.
        """
        self._url = url
        try:
            from fsspec import get_filesystem_class  # noqa: PLC0415  # an extra
        except ImportError as error:
            msg = "fsspec is not installed: pip install 'compilespan[cache]'"
            raise CacheError(msg) from error
        try:
            get_filesystem_class(url.partition("://")[0])
        except Exception as error:  # a package for a kind of URL may raise anything
            raise CacheError(str(error)) from error

    @functools.cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system and the path in it; some kinds connect."""
        from fsspec.core import url_to_fs  # noqa: PLC0415  # an extra

        files, base = url_to_fs(self._url)
        return files, f"{base}/"

    def names(self, folder: str) -> list[str]:
        """Return the names of the files below a folder, sorted."""
        files, base = self._place
        try:
            found = files.find(base + folder)
        except FileNotFoundError:
            return []
        return sorted(path[path.index(base) + len(base) :] for path in found if base in path)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file's content, or its first ``max_bytes`` bytes and one more."""
        files, base = self._place
        data: bytes = files.cat_file(base + name, start=0, end=max_bytes + 1)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""
        files, base = self._place
        files.makedirs((base + name).rpartition("/")[0], exist_ok=True)
        files.pipe_file(base + name, data)

    def create(self, name: str) -> bool:
        """Create an empty file; ``False`` if it exists.

        Raises:
            CacheError: This kind of store only looks and then writes.
        """
        files, base = self._place
        if self._url.partition("://")[0] not in _CREATES_ONCE:
            msg = "this kind of store cannot create a file exclusively"
            raise CacheError(msg)
        files.makedirs((base + name).rpartition("/")[0], exist_ok=True)
        try:
            files.pipe_file(base + name, b"", mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        files, base = self._place
        with suppress(FileNotFoundError):
            files.rm_file(base + name)

    def age_s(self, name: str) -> float | None:
        """Return the seconds since a file was written; ``None`` if the store does not tell."""
        files, base = self._place
        try:
            written: dt.datetime = files.modified(base + name)
            return time.time() - written.timestamp()
        except Exception:  # not all kinds can tell
            return None


def directory_of(url: str) -> Path | None:
    """Return the directory of this machine that a URL names; ``None`` for another kind.

    Raises:
        CacheError: The URL is a chain of URLs.
    """
    if "::" in url:
        msg = "a chain of URLs (::) is no store"
        raise CacheError(msg)
    scheme, separator, path = url.partition("://")
    if not separator:
        path = url.removeprefix("file:")
    elif scheme not in ("file", "local"):
        return None
    return Path(path).expanduser().absolute()
