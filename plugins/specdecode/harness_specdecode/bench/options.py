"""What a bench is asked for, checked before anything is loaded, and the recipe it follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness.artefacts.checksums import fingerprint
from harness.artefacts.recipes import Words
from harness.errors import meant
from harness.testbed import resolve
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.schemes import NAMES
from harness_specdecode.measuring.comparing import Decoding

WORDS = Words(other="another bench (it differs in: {unlike})", flags={})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
        target: Model id or path, or ``testbed:NAME``.
        drafters: ``ngram``, ``early:N``, model ids or paths, ``testbed:NAME``.
        gammas: Tokens drafted a round.
        schemes: ``gumbel``, ``leviathan``, ``minhash``.
        batch_sizes: Rows decoded together.
        prompts: ``hub``, ``testbed``, or a file in the form of Spec-Bench's.
        limit: Prompts to use.
        tokens: Tokens of an answer, at most.
        temperature: 0 is greedy, where all schemes are one.
        repeats: Pairs of runs of a way to decode and of plain decoding.
        draws: How often each coupling is sampled at a position; 0 samples none.
        out: Folder of the table and the report.
        device: As for ``hf``; None chooses.
        dtype: The target's; ``auto`` is the checkpoint's. Drafters have the same.
        revision: The target's revision on the hub.
        seed: Seed of the noise.
        chat_template: Whether prompts are turns of a chat; None: if there is a template.
    """

    target: str
    drafters: tuple[str, ...]
    gammas: tuple[int, ...]
    schemes: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    prompts: str
    limit: int
    tokens: int
    temperature: float
    repeats: int
    draws: int
    out: Path
    device: str | None = None
    dtype: str = "auto"
    revision: str = "main"
    seed: int = 0
    chat_template: bool | None = None

    def __post_init__(self) -> None:
        for name in ("drafters", "gammas", "schemes", "batch_sizes"):
            given = tuple(dict.fromkeys(getattr(self, name)))
            if not given:
                raise HarnessError(f"{_option(name)} is empty: give at least one")
            object.__setattr__(self, name, given)
        if NONE in self.drafters:
            raise HarnessError("--drafters none: plain decoding is measured anyway; leave it out")
        least = {"gammas": 1, "batch_sizes": 1, "limit": 1, "repeats": 1, "tokens": 2}
        for name, smallest in least.items():
            value = getattr(self, name)
            low = min(value) if isinstance(value, tuple) else value
            if low < smallest:
                raise HarnessError(f"{_option(name)} {low}: give at least {smallest}")
        if self.draws < 0 or self.draws == 1:
            raise HarnessError(f"--draws {self.draws}: give 2 or more, or 0 to sample nothing")
        if not 0 <= self.temperature < float("inf"):
            raise HarnessError(f"--temperature {self.temperature}: give 0 or more; 0 is greedy")
        unknown = [scheme for scheme in self.schemes if scheme not in NAMES]
        if unknown:
            raise HarnessError(f"--schemes {unknown[0]}: {meant(unknown[0], NAMES)}")
        if self.prompts not in ("hub", "testbed") and not Path(self.prompts).expanduser().exists():
            raise HarnessError(
                f"--prompts {self.prompts}: no such file or folder; give hub (Spec-Bench), "
                f"testbed, or a file in the form of Spec-Bench's question.jsonl"
            )
        if self.greedy:
            object.__setattr__(self, "schemes", self.schemes[:1])

    @property
    def greedy(self) -> bool:
        """Whether the best token is taken."""
        return self.temperature == 0

    def decodings(self, batch_size: int) -> Iterator[Decoding]:
        """All ways to decode at a batch size, plain decoding first."""
        for scheme in self.schemes:
            yield Decoding(scheme=scheme, batch_size=batch_size)
        for scheme in self.schemes:
            for drafter in self.drafters:
                for gamma in self.gammas:
                    yield Decoding(
                        drafter=drafter, gamma=gamma, scheme=scheme, batch_size=batch_size
                    )

    def recipe(self, prompts: Sequence[str]) -> dict[str, Any]:
        """What the table follows from, but for the machine.

        Args:
            prompts: The prompts' texts.

        Raises:
            HarnessError: A model of the testbed is named that is none.
        """
        text = "\0".join(prompts).encode(errors="surrogatepass")
        return {
            "target": self.target,
            "target_sha256": fingerprint(resolve(self.target)),
            "revision": self.revision,
            "drafters": {name: fingerprint(resolve(name)) for name in self.drafters},
            "gammas": list(self.gammas),
            "schemes": list(self.schemes),
            "batch_sizes": list(self.batch_sizes),
            "prompts": self.prompts,
            "prompts_sha256": hashlib.sha256(text).hexdigest(),
            "n_prompts": len(prompts),
            "tokens": self.tokens,
            "temperature": self.temperature,
            "repeats": self.repeats,
            "draws": self.draws,
            "device": self.device,
            "dtype": self.dtype,
            "seed": self.seed,
            "chat_template": self.chat_template,
        }


def words(given: str) -> tuple[str, ...]:
    """The parts of a comma-separated list.

    >>> words("ngram, early:2,")
    ('ngram', 'early:2')
    """
    return tuple(part.strip() for part in given.split(",") if part.strip())


def numbers(given: str, option: str) -> tuple[int, ...]:
    """The whole numbers of a comma-separated list.

    Raises:
        HarnessError: One is none.
    """
    try:
        return tuple(int(part) for part in words(given))
    except ValueError as cause:
        raise HarnessError(f"{option} {given}: give whole numbers, as in 1,2,5") from cause


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
