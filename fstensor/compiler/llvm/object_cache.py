"""Compiled code on disk, so that a second process starts warm.

An entry is a file named by the hash of all that decides what the code is. It carries a checksum:
what was cut off or changed counts as missing. Files appear whole, by renaming, so that any number
of processes may read and write at once. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path

MOST_BYTES = 512 << 20  # of all entries together; the ones unused for longest go first

_MAGIC = b"fstensor object 1\n"
_DIGEST_BYTES = 32
_SUFFIX = ".object"
# Entries written by this process between two looks at the size of the whole.
_WRITES_BETWEEN_TRIMS = 64

_writes = 0


def directory() -> Path | None:
    """The folder of the entries; None where the cache is off.

    The environment's FSTENSOR_CACHE_DIR names it, and "" or "0" switches the cache off. Without it
    a folder "fstensor" stands among the caches of the user, where the system keeps these.
    """
    named = os.environ.get("FSTENSOR_CACHE_DIR")
    if named is not None:
        return None if named in ("", "0") else Path(named)
    try:
        return _caches_of_user() / "fstensor"
    except RuntimeError:  # a user without a home
        return None


def _caches_of_user() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"


def load(key: str) -> bytes | None:
    """The entry of a key, or None where there is none that is whole."""
    folder = directory()
    if folder is None:
        return None
    path = folder / (key + _SUFFIX)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    data = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(data).digest():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the time of the last use, which `trim` goes by
    return data


def store(key: str, data: bytes) -> None:
    """Keep an entry, if that can be done."""
    global _writes
    folder = directory()
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_whole(folder / (key + _SUFFIX), _MAGIC + hashlib.sha256(data).digest() + data)
        if _writes % _WRITES_BETWEEN_TRIMS == 0:
            trim(folder, MOST_BYTES)
        _writes += 1
    except OSError:  # read-only, full, not a folder: it works without
        return


def _write_whole(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def trim(folder: Path, most_bytes: int) -> None:
    """Delete the entries unused for longest until the rest is no larger than three quarters.

    Nothing is done while all are within `most_bytes`. Another process may delete at the same time.
    """
    found: list[tuple[float, int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(_SUFFIX) and not entry.name.startswith("new-"):
                continue
            with contextlib.suppress(OSError):
                status = entry.stat()
                found.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    if total <= most_bytes:
        return
    for _, size, path in sorted(found):
        if total <= most_bytes * 3 // 4:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
