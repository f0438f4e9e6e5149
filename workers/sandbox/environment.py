"""Makes the environment of a child from an allow-list."""

from __future__ import annotations

import os
from collections.abc import Mapping

_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
)
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")
_ALWAYS = {
    # Two heaps a process, not eight a core: each maps 64 MiB, which counts against the job's address space.
    "MALLOC_ARENA_MAX": "2",
    # A process lives for one file: memory that it gave back would be faulted in again for its next picture.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(16 << 20),
    # Heaps in pages of 2 MiB where the kernel offers them (transparent huge pages): one fault in place of 512, in each
    # process anew. A C library that does not know it ignores it.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # onnxruntime's builds report to their maker otherwise, from a thread that no fork has, into the home folder.
    "ORT_DISABLE_TELEMETRY": "1",
}


def scrubbed(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process that a child needs, and ``extra``.

    An allow-list: a secret that is added to the agent's environment later stays out without a change here.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {**kept, **_ALWAYS, **extra}
