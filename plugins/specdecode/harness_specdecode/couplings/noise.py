r"""A counter-based noise field: shared randomness without communication and without state.

Salmon, Moraes, Dror and Shaw 2011, *Parallel Random Numbers: As Easy as 1, 2, 3* (Philox4x32-10);
the use as a coupling is Daliri, Musco and Suresh 2024 (arXiv 2408.07978).

The field is a pure function of a request key k, an output position t and a vocabulary id v:

    w(k, t, v) = word v mod 4 of Philox4x32-10(key = seed, counter = (⌊v/4⌋, t, k mod 2³², ⌊k/2³²⌋))
    U = (w + ½) / 2³²          uniform on (0, 1), never 0 or 1
    E = −ln U                  exponential of mean 1
    G = −ln E                  standard Gumbel, from −3.13 to 22.87

One round of Philox on (c₀, c₁, c₂, c₃) with the key (κ₀, κ₁), of which there are ten:

    (h₀, l₀) = 0xD2511F53 · c₀,   (h₁, l₁) = 0xCD9E8D57 · c₂        high and low 32 bits
    c ← (h₁ ⊕ c₁ ⊕ κ₀, l₁, h₀ ⊕ c₃ ⊕ κ₁, l₀),   κ ← κ + (0x9E3779B9, 0xBB67AE85)

Neither draft step, batch row nor an order of calls enters. Whoever asks for the noise of a token,
in a batch of any shape or for a few ids only, gets the same numbers:

    >>> field, key = Noise(seed=0), request_key(0, [5, 17, 42])
    >>> field.gumbel([key], 3, 8)[0, 6] == field.gumbel([1, key], 3, torch.tensor([6]))[1, 0]
    tensor(True)

The words are integers and equal on every device. Logarithms are taken in float64, which holds U
exactly, and rounded to float32 once. Where two devices' logarithms differ in the last place, the
rounding removes the difference in all but about one number in 10⁸, and there it is one unit in the
last place of a float32.

Deliberate choices: the top four bits of the first counter word tell streams apart (``GUMBEL``,
``DARTS``, ``CONSISTENT``, ``PRIVATE``), so that the couplings of one token are independent of one
another; this leaves 2³⁰ ids. U has 32 bits, so a law sampled by G differs from p by at most 2⁻³²
an id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from harness import HarnessError

GUMBEL, DARTS, CONSISTENT, PRIVATE = range(4)

Words = tuple[Tensor, Tensor, Tensor, Tensor]
Keys = Sequence[int] | Tensor
Positions = int | Sequence[int] | Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_COUNTERS = 1 << 28
_CHUNK = {"cpu": 1 << 14}  # blocks at a time: what a core's cache holds
_LARGE_CHUNK = 1 << 20  # elsewhere: some 100 MB of intermediate results


def request_key(seed: int, prompt_ids: Sequence[int], repeat: int = 0, treatment: str = "") -> int:
    """The key of a request: 64 bits of a SHA-256, the same in every run and on every machine.

    Args:
        seed: The run's seed.
        prompt_ids: The prompt's tokens, without padding.
        repeat: Which of several answers to the same prompt.
        treatment: What is done to the model for this request, if anything is.
    """
    numbers = (seed, repeat, *prompt_ids)
    text = b"".join(int(number).to_bytes(16, "little", signed=True) for number in numbers)
    return int.from_bytes(hashlib.sha256(text + treatment.encode()).digest()[:8], "little")


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10.

    Args:
        counter: Four int64 tensors of values below 2³², of shapes that broadcast.
        key: Two integers below 2³².

    Returns:
        Four int64 tensors of values below 2³², of the common shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]  # wraps: only 64 bits matter
        c0, c2 = _mixed(second, c1, k0), _mixed(first, c3, k1)
        c1, c3 = second, first  # their high halves are masked when they are read
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1 & _MASK, c2, c3 & _MASK


def _mixed(product: Tensor, other: Tensor, key: int) -> Tensor:
    """The low 32 bits of (product >> 32) ⊕ other ⊕ key."""
    high = product >> 32
    mixed = high.bitwise_xor_(other) if high.shape == other.shape else high ^ other
    return mixed.bitwise_xor_(key).bitwise_and_(_MASK)


class Noise:
    """The field of one seed.

    Args:
        seed: 0 to 2⁶⁴ − 1.
        device: Where the numbers are made.

    Raises:
        HarnessError: The seed is out of range.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        if not 0 <= seed < 1 << 64:
            raise HarnessError(f"seed={seed} is out of range: give one from 0 to 2**64 - 1")
        self.seed = seed
        self.device = torch.device(device)
        self._key = seed & _MASK, seed >> 32

    def uniform(self, keys: Keys, positions: Positions, vocabulary: int | Tensor) -> Tensor:
        """Uniform numbers on (0, 1): float64, because float32 would round the largest to 1.

        Args:
            keys: Request keys [B].
            positions: Output positions: one for all, [B], or [B, T].
            vocabulary: Number of ids V, or the ids wanted: [n], or positions' shape + [n].

        Returns:
            [B, V], or [B, T, V]; with ids, n in the place of V.
        """
        return self._field(keys, positions, vocabulary, as_uniform, torch.float64)

    def exponential(self, keys: Keys, positions: Positions, vocabulary: int | Tensor) -> Tensor:
        """Exponential numbers of mean 1, float32; arguments and shape as for ``uniform``."""
        return self._field(keys, positions, vocabulary, _exponential, torch.float32)

    def gumbel(self, keys: Keys, positions: Positions, vocabulary: int | Tensor) -> Tensor:
        """Standard Gumbel numbers, float32; arguments and shape as for ``uniform``."""
        return self._field(keys, positions, vocabulary, _gumbel, torch.float32)

    def words(self, stream: int, keys: Keys, positions: Positions, counters: Tensor) -> Words:
        """The four words of each block of a stream, for couplings that need other numbers.

        Args:
            stream: ``DARTS``, ``CONSISTENT``, …
            keys: Request keys [B].
            positions: Output positions: one for all, or [B].
            counters: Numbers of blocks, [n] or [B, n], below 2²⁸.

        Returns:
            Four int64 tensors [B, n].
        """
        k, t = self.rows(keys, positions)
        blocks = counters.to(self.device)
        return self._blocks(stream, k.reshape(-1, 1), t.reshape(-1, 1), blocks)

    def _field(
        self,
        keys: Keys,
        positions: Positions,
        vocabulary: int | Tensor,
        transform: Callable[[Tensor], Tensor],
        dtype: torch.dtype,
    ) -> Tensor:
        k, t = self.rows(keys, positions)
        shape, k, t = t.shape, k.reshape(-1, 1), t.reshape(-1, 1)
        if isinstance(vocabulary, int):
            n = vocabulary
            blocks = torch.arange((n + 3) // 4, device=self.device).unsqueeze(0)
            found = torch.empty(len(t), blocks.shape[1], 4, dtype=dtype, device=self.device)
            for rows, columns in self._parts(len(t), blocks.shape[1]):
                words = self._blocks(GUMBEL, k[rows], t[rows], blocks[:, columns])
                found[rows, columns] = transform(torch.stack(words, dim=-1))
            return found.flatten(1)[:, :n].reshape(*shape, n)
        n = vocabulary.shape[-1]
        ids = vocabulary.to(self.device, torch.int64)
        ids = (ids.flatten(0, -2) if ids.dim() > 1 else ids).expand(len(t), n)
        found = torch.empty(len(t), n, dtype=dtype, device=self.device)
        for rows, columns in self._parts(len(t), n):
            some = ids[rows, columns]
            four = torch.stack(self._blocks(GUMBEL, k[rows], t[rows], some >> 2), dim=-1)
            found[rows, columns] = transform(four.gather(-1, (some & 3).unsqueeze(-1)).squeeze(-1))
        return found.reshape(*shape, n)

    def rows(self, keys: Keys, positions: Positions) -> tuple[Tensor, Tensor]:
        """Keys (64 bits in an int64) and positions, of one shape: [B] or [B, T]."""
        k = keys if isinstance(keys, Tensor) else torch.tensor([_signed(key) for key in keys])
        t = torch.as_tensor(positions, dtype=torch.int64).to(self.device)
        t = t if t.dim() else t.expand(len(k))
        return k.to(self.device).reshape(-1, *[1] * (t.dim() - 1)).expand(t.shape), t

    def _blocks(self, stream: int, keys: Tensor, positions: Tensor, blocks: Tensor) -> Words:
        """Blocks [1 or R, n] of keys and positions [R, 1]."""
        first = blocks | (stream * _COUNTERS)
        return philox((first, positions & _MASK, keys & _MASK, (keys >> 32) & _MASK), self._key)

    def _parts(self, rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
        """Rectangles that cover [rows, columns], each small enough for the cache."""
        size = _CHUNK.get(self.device.type, _LARGE_CHUNK)
        high = max(1, size // max(1, columns))
        for top in range(0, rows, high):
            for left in range(0, columns, size):
                yield slice(top, top + high), slice(left, left + size)


def as_uniform(words: Tensor) -> Tensor:
    """Words as numbers on (0, 1), float64."""
    return words.double().add_(0.5).mul_(2.0**-32)


def _exponential(words: Tensor) -> Tensor:
    return as_uniform(words).log_().neg_()


def _gumbel(words: Tensor) -> Tensor:
    return _exponential(words).log_().neg_()


def _signed(key: int) -> int:
    """The int64 with the bits of a key."""
    return key - (1 << 64) if key >= 1 << 63 else key
