"""Files of a run directory: atomic writes, leftovers of killed writers, the lock."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from actsim.errors import ResumeError

LOCK_NAME = ".lock"
TEMPORARY_PREFIX = ".actsim-tmp-"

_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""What network file systems answer that cannot sync a directory; a rename there is as durable as they make it."""


def cannot(action: str, path: Path, error: OSError) -> ResumeError:
    """The one-line error for an operating system's refusal, such as a full disk or a missing permission."""
    reason = error.strerror or str(error)
    return ResumeError(f"cannot {action} {path}: {reason}. Make room or fix the permissions, then run the same again.")


def sync_directory(directory: Path) -> None:
    """Make renames and removals in ``directory`` durable, where the file system can."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new, whenever the process dies.

    A temporary file in the same directory is written, synced and moved into place; then the directory is synced.

    Raises:
        ResumeError: the operating system refuses; the old content is untouched.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise cannot("write", path, error) from error


def read_bytes(path: Path) -> bytes:
    """The content of ``path``; an operating system's refusal becomes a ResumeError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error


def remove(path: Path) -> None:
    """Remove the file ``path`` if it is there; a refusal becomes a ResumeError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot("remove", path, error) from error


def list_directory(directory: Path) -> list[Path]:
    """The entries of ``directory`` in the order of their names; none if it does not exist."""
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("list", directory, error) from error


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files that a killed writer left in ``directory``."""
    for path in list_directory(directory):
        if path.name.startswith(TEMPORARY_PREFIX):
            remove(path)


class DirectoryLock:
    """The exclusive right to write into a directory, given up when the process ends, however it ends.

    Raises:
        ResumeError: another process holds it, or the directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        try:
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot("write", path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if isinstance(error, BlockingIOError):
                raise ResumeError(
                    f"another process is writing into {directory}; wait until it ends, or give another --out."
                ) from None
            raise cannot("lock", path, error) from error

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
