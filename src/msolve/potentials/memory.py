# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
"""What a program may ask of the C library before it evaluates large models.

Nothing is done on import, and the library itself never calls it.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Make freed memory available again without giving it back to the system first.

    A message-passing model frees and asks for hundreds of megabytes in each evaluation, and by
    default the kernel hands them out anew, cleared, page by page: half of the time of a MACE
    evaluation of 3000 atoms (glibc 2.41). The process keeps its largest size in return.

    Returns:
        Whether the C library could be asked; False where it is not glibc.

    Note:
        Changes the whole process: for programs to call once at their start, not for libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30) and mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
