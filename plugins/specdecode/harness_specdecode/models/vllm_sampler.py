r"""The drafter-invariant sampler of ``vllm-speculative``, without vLLM.

Daliri, Musco and Suresh 2024 (arXiv 2408.07978), §5. A step of vLLM's engine gives request i the
target's scores ℓ at its next c_i positions t_i … t_i + c_i − 1, of which c_i − 1 follow a drafted
token y. The target picks its own token at each,

    x̂_s = argmax_v ℓ_s(v) + G(k_i, s, v),      temperature 0: argmax_v ℓ_s(v),

and of these the first n + 1 are written, n the longest prefix with x̂ = y. No pick depends on y, so
that a text is a function of target, seed and prompt. A step without drafts is c_i = 1. The drafting
model, where there is one, picks in the same way from its own scores, at the positions behind.

Scores, noise and keys are those of ``hf-speculative`` (``sampling``, ``noise``), and so are its
answers, up to rounding.

Worked example: with 7 tokens written and the draft (5, 8, 2), the target picks (5, 9, 4, 1) at
positions 7 to 10; 5 is right, 9 corrects, and the step writes (5, 9, −1, −1), −1 meaning nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness_specdecode.couplings.noise import Noise
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.rounds import of_width
from harness_specdecode.decoding.sampling import Sampling, along
from harness_specdecode.decoding.schemes import Gumbel, Match

KEY = "speculation"  # of SamplingParams.extra_args
NOTHING = -1


def sent(values: np.ndarray[Any, np.dtype[Any]], device: torch.device) -> Tensor:
    """An array on a device, without waiting for what runs there."""
    made = torch.from_numpy(values)
    return made if device.type == "cpu" else made.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class Drawn:
    """What travels with a request to vLLM's workers.

    Args:
        key: Its key in the noise field.
        sampling: How its scores are made of logits.
    """

    key: int
    sampling: Sampling

    def message(self) -> tuple[str, dict[str, Any]]:
        """Key and value in ``SamplingParams.extra_args``."""
        return KEY, {"key": self.key, "sampling": asdict(self.sampling)}

    @classmethod
    def of(cls, extra_args: Mapping[str, Any] | None) -> Drawn | None:
        """From a request's ``SamplingParams.extra_args``; None where vLLM is to sample."""
        found = (extra_args or {}).get(KEY)
        if found is None or "key" not in found:
            return None
        sampling = dict(found["sampling"])
        return cls(
            found["key"], Sampling(**sampling | {"suppressed": tuple(sampling["suppressed"])})
        )


@dataclass
class _Group:
    """Requests whose scores are made alike.

    Args:
        sampling: How.
        scheme: How tokens are picked.
        places: Which requests of the step.
        rows: The same, on the device.
        drafted: Positions that the drafter has picked at, the first of them next, where the noise
            made for it there serves the target as well: on a CPU; elsewhere memory is dearer.
    """

    sampling: Sampling
    scheme: Match
    places: list[int]
    rows: Tensor
    drafted: list[Spot] = field(default_factory=list)


class InvariantSampler:
    """Picks the tokens of a step.

    What it works with stays on the device, so that an engine which lays out its next step meanwhile
    (asynchronous scheduling) need not know what was written.

    Args:
        noise: The shared field.
        precision: Rounding of the model's numbers, relative, by which near-ties are told.
    """

    def __init__(self, noise: Noise, precision: float) -> None:
        self._noise, self._precision = noise, precision
        self._asked: list[Drawn] = []
        self._keys = torch.zeros(0, dtype=torch.int64)
        self._groups: list[_Group] = []
        self._next = torch.zeros(0, dtype=torch.int64)
        self._ahead = 0
        self._vocabulary = 0
        self._counted = torch.zeros(2, dtype=torch.int64, device=noise.device)

    def take_counts(self) -> dict[str, int]:
        """What was counted since this was last asked.

        Returns:
            ``target_calls``, passes of the target, each counted once for each request in it that
            wrote; ``near_ties``, tokens written whose choice was within rounding.
        """
        calls, near = self._counted.tolist()
        self._counted.zero_()
        return {"target_calls": calls, "near_ties": near}

    def verify(
        self,
        logits: Tensor,
        asked: Sequence[Drawn],
        positions: Tensor,
        counts: Sequence[int],
        drafted: Tensor,
        *,
        writes: Tensor,
        seen: Tensor | None = None,
    ) -> Tensor:
        """What a step writes.

        Args:
            logits: The target's, those of a request one after the other [Σ counts, V].
            asked: The requests [n].
            positions: Output position of each request's next token [n]; that of a request that does
                not write is of no account.
            counts: Positions scored for each request, at least one [n].
            drafted: The drafted tokens, those of a request one after the other [Σ counts − n].
            writes: Whether a request writes in this step; one that still reads its prompt does not
                [n].
            seen: Which ids occur in each request's text, bool [n, V], if a request penalises them.

        Returns:
            Ids [n, max counts], ``NOTHING`` where none is written.
        """
        device = self._noise.device
        self._note(asked, positions.to(device))
        self._vocabulary = logits.shape[-1]
        held = np.asarray(counts)
        lengths, starts = sent(held, device), sent(held.cumsum() - held, device)
        width = int(held.max())
        ahead = torch.arange(width, device=device)
        drafts = torch.full((len(held), width - 1), NOTHING, device=device)
        drafts.masked_scatter_(ahead[1:] < lengths.unsqueeze(1), drafted.to(drafts))
        history = None if seen is None else _histories(seen.to(device), drafts)
        picks = torch.full((len(held), width), NOTHING, device=device)
        near = torch.zeros_like(picks, dtype=torch.bool)
        for group in self._groups:
            for j in range(width):
                some = [place for place in group.places if held[place] > j]
                if not some:
                    break
                whole = len(some) == len(group.places)
                rows = group.rows if whole else sent(np.array(some), device)
                known = whole and j < len(group.drafted)
                spot = group.drafted[j] if known else self._spot(rows, self._next[rows] + j)
                of_penalty = history[rows, j] if history is not None else None
                scores = group.sampling.scores(logits[starts[rows] + j].to(device), of_penalty)
                picks[rows, j], near[rows, j] = group.scheme.pick(scores, spot, self._precision)
            group.drafted.clear()
        accepted = (picks[:, :-1] == drafts).int().cumprod(-1).sum(-1, keepdim=True)
        written = ahead <= accepted
        self._next = self._next + accepted.squeeze(1) + 1
        self._ahead = 0
        wrote = writes.to(device)
        self._counted += torch.stack([wrote.sum(), (near & written & wrote.unsqueeze(1)).sum()])
        return picks.where(written, NOTHING)

    def draw(self, logits: Tensor) -> Tensor:
        """A drafter's tokens, one for each request of the last step.

        The first call after ``verify`` is for the positions next, the second for those behind, …

        Args:
            logits: The drafter's [n, V'].

        Returns:
            Ids [n].
        """
        tokens = torch.zeros_like(self._next)
        logits = of_width(logits, self._vocabulary)
        for group in self._groups:
            spot = self._spot(group.rows, self._next[group.rows] + self._ahead)
            freely = replace(group.sampling, repetition_penalty=1.0)  # it costs acceptance alone
            scores = freely.scores(logits[group.rows].to(tokens.device))
            tokens[group.rows] = group.scheme.pick(scores, spot, 0.0)[0]
            if tokens.device.type == "cpu":
                group.drafted.append(spot)
        self._ahead += 1
        return tokens

    def _note(self, asked: Sequence[Drawn], positions: Tensor) -> None:
        """Sort requests by how their scores are made; what was drafted for others is forgotten."""
        if list(asked) != self._asked:
            self._asked = list(asked)
            self._keys = self._noise.rows([one.key for one in asked], 0)[0]
            self._groups = []
            for sampling in dict.fromkeys(one.sampling for one in asked):
                rows = [row for row, one in enumerate(asked) if one.sampling == sampling]
                scheme = Match(self._noise) if sampling.greedy else Gumbel(self._noise)
                at = sent(np.array(rows), self._noise.device)
                self._groups.append(_Group(sampling, scheme, rows, at))
        elif positions.device.type == "cpu" and not torch.equal(positions, self._next):
            for group in self._groups:
                group.drafted.clear()
        self._next = positions

    def _spot(self, rows: Tensor, positions: Tensor) -> Spot:
        return Spot(self._keys[rows], positions)


def _histories(seen: Tensor, drafts: Tensor) -> Tensor:
    """Which ids are there before each position, bool [n, m + 1, V], with drafts [n, m]."""
    first = seen.unsqueeze(1)
    if not drafts.shape[1]:
        return first
    return torch.cat([first, along(seen, drafts.clamp(min=0))], dim=1)
