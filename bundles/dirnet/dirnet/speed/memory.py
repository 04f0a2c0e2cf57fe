"""What the process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
MAX_BLOCK_SIZES = 2**30, 2**25  # the second is all that glibc before 2.35 takes


def keep_freed_memory() -> bool:
    """Have the C library keep blocks of up to a gigabyte that are freed, for those that are wanted next.

    Without it glibc gives the large blocks of each training step back to the system, which hands them out again page
    by page, each cleared: on a CPU that takes as long as the step itself. The process keeps its largest size.

    Returns:
        whether the C library could be told; only glibc, Linux's usual one, can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return False
    return bool(mallopt(TRIM_THRESHOLD, MAX_BLOCK_SIZES[0])) and any(
        mallopt(MMAP_THRESHOLD, most) for most in MAX_BLOCK_SIZES
    )
