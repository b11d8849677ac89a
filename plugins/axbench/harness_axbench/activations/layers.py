"""Which blocks are edited by methods that edit several (LoRA, LoReFT).

Wu et al. 2025 (arXiv 2501.17148) take 5, 10, 15, 20 of Gemma-2-2B's 26 blocks and 12, 20, 31, 39 of
Gemma-2-9B's 42. Models too shallow for these get the fractions 1/5, 2/5, 3/5 and 4/5 of their
depth, rounded down, which for 26 blocks is the paper's choice; a block named twice is taken once.
Worked example: 12 blocks give 2, 4, 7, 9; 3 blocks give 0, 1, 2.
"""

from __future__ import annotations

from harness import HarnessError

SHALLOW, DEEP = (5, 10, 15, 20), (12, 20, 31, 39)
AUTO = "auto"


def default_layers(n_blocks: int) -> tuple[int, ...]:
    """The blocks edited in a model of so many, 0-indexed, in order."""
    if n_blocks > max(DEEP):
        return DEEP
    if n_blocks > max(SHALLOW):
        return SHALLOW
    return tuple(dict.fromkeys(part * n_blocks // 5 for part in range(1, 5)))


def chosen_layers(setting: str, n_blocks: int) -> tuple[int, ...]:
    """The blocks a method's setting asks for: ``auto``, or numbers such as ``5,10,15,20``.

    Raises:
        HarnessError: It is neither, or the model has no such block.
    """
    if setting == AUTO:
        return default_layers(n_blocks)
    try:
        layers = tuple(sorted({int(part) for part in setting.replace("+", ",").split(",")}))
    except ValueError as cause:
        raise HarnessError(f"layers={setting}: write {AUTO}, or blocks such as 5,10,15") from cause
    for layer in layers:
        if not 0 <= layer < n_blocks:
            raise HarnessError(f"layers={setting}: the model has the blocks 0 … {n_blocks - 1}")
    return layers
