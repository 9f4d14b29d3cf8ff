# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""Files that are whole at any moment: written under another name, brought to the disk, then renamed.

A reader, or a run that was killed and goes on, sees the old file or the new one, never half of one. What the
file system refuses becomes an ``OutputError`` that says what, where and what would do.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from msolve.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "choose a folder that can be written, by output.directory",
    errno.EACCES: "choose a folder that can be written, by output.directory",
    errno.ENOENT: "choose a folder that can be made, by output.directory",
    errno.ENOTDIR: "choose a folder, by output.directory",
    errno.EEXIST: "choose a folder, by output.directory",
}


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file appears as ``path`` when the block ends, and not at all if it fails.

    The folder is made if it is missing. The name has the ending of ``path`` and is hidden, so that neither
    programs nor patterns such as ``step_*.h5`` find it. One writer at a time.

    Args:
        path: File to write or to replace.

    Raises:
        OutputError: The file system refused something.

    Note:
        Rank-local.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _to_disk(unfinished)
        os.replace(unfinished, path)
        _to_disk(path.parent)
    except OSError as error:
        _drop(unfinished)
        raise output_error(path, error) from error
    except BaseException:
        _drop(unfinished)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once, see ``whole``."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content)


def hdf5(arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any] | None = None) -> bytes:
    """An HDF5 file in memory, so that only one plain write can fail; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        file.attrs.update(attributes or {})
    return buffer.getvalue()


def output_error(path: Path, error: OSError) -> OutputError:
    """What the file system refused, as one message."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "make it possible to write there")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return OutputError(
        f"{path}: cannot be written: {reason}{_free(path) if full else ''}; {remedy}"
    )


def _free(path: Path) -> str:
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if there is None:
        return ""
    return f" ({shutil.disk_usage(there).free / 1e6:.0f} MB free there)"


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the first error is the one to tell
