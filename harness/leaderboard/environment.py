"""Hardware and torch version, read off the report that lm-eval stores beside its results.

The report is ``torch.utils.collect_env``'s. The lines that matter::

    PyTorch version: 2.13.0+cpu
    GPU models and configuration:
    GPU 0: NVIDIA H200
    GPU 1: NVIDIA H200
    Model name:                              AMD EPYC
    CPU(s):                                  2
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

_TORCH = re.compile(r"^PyTorch version: *(\S+)", re.MULTILINE)
_GPU = re.compile(r"^(?:GPU models and configuration: *)?GPU \d+: *(.+?)\s*$", re.MULTILINE)
_CPU_NAME = re.compile(r"^(?:Model name: *|Name=)(.+?)\s*$", re.MULTILINE)
_CPU_COUNT = re.compile(r"^CPU\(s\): *(\d+)", re.MULTILINE)


@lru_cache(maxsize=4096)
def torch_version(report: str) -> str:
    """The torch version, or an empty text."""
    found = _TORCH.search(report)
    return found.group(1) if found and found.group(1) != "N/A" else ""


@lru_cache(maxsize=4096)
def hardware(report: str) -> str:
    r"""GPUs with their count, else the CPU with its number of logical cores.

    >>> hardware("GPU 0: NVIDIA H200\nGPU 1: NVIDIA H200")
    '2 × NVIDIA H200'
    >>> hardware("CPU(s):  2\nModel name:  AMD EPYC")
    'AMD EPYC (2 CPUs)'
    """
    gpus = Counter(re.sub(r"\s*\(UUID: [^)]*\)", "", name) for name in _GPU.findall(report))
    if gpus:
        return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in gpus.items())
    name = _CPU_NAME.search(report)
    if name is None:
        return ""
    count = _CPU_COUNT.search(report)
    return f"{name.group(1)} ({count.group(1)} CPUs)" if count else name.group(1)
