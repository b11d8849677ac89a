"""Orders of rows as torch's own DataLoader draws them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader


def loader_orders(rows: int, epochs: int, seed: int) -> list[list[int]]:
    """The numbers of the rows in each epoch."""
    source = torch.Generator()
    source.manual_seed(seed)
    numbers: Any = list(range(rows))
    loader: Any = DataLoader(numbers, batch_size=4, shuffle=True, generator=source)
    return [[int(row) for batch in loader for row in batch] for _ in range(epochs)]
