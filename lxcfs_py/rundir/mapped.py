"""Files that several processes map: what one stores, the others see, and SIGKILL at any instant loses nothing stored.

Words are stored with one machine instruction each (`memoryview.cast("Q")`), so that none is ever seen half written.
"""

from __future__ import annotations

import mmap
import os


def map_file(path: str, size: int) -> tuple[int, mmap.mmap]:
    """A file, made where it is missing and grown to `size`, and its mapping. The descriptor is the caller's."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < size:
            os.posix_fallocate(descriptor, 0, size)  # a hole in a full tmpfs would be SIGBUS
        return descriptor, mmap.mmap(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise


def map_words(path: str, count: int) -> memoryview:
    """A file as `count` unsigned 64-bit words."""
    descriptor, mapping = map_file(path, count * 8)
    os.close(descriptor)
    return memoryview(mapping)[: count * 8].cast("Q")


def replace(path: str, *parts: bytes, making: str | None = None) -> None:
    """Write a file whole: readers see the old text or the new one. `making` is the name it has until then."""
    making = making or f"{path}.making"
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.writev(descriptor, parts)
        finally:
            os.close(descriptor)
        os.rename(making, path)
    except BaseException:
        os.unlink(making)
        raise
