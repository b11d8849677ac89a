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

import torch
from torch import Tensor

from harness_specdecode.couplings.noise import Noise
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.rounds import of_width
from harness_specdecode.decoding.sampling import Sampling, along
from harness_specdecode.decoding.schemes import Gumbel, Match

KEY = "speculation"  # of SamplingParams.extra_args
NOTHING = -1


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
        rows: Which requests of the step.
        drafted: Positions that the drafter has picked at, the first of them next; the noise made
            for it there serves the target as well.
    """

    sampling: Sampling
    scheme: Match
    rows: Tensor
    drafted: list[Spot] = field(default_factory=list)


class InvariantSampler:
    """Picks the tokens of a step.

    Args:
        noise: The shared field.
        precision: Rounding of the model's numbers, relative, by which near-ties are told.

    Attributes:
        target_calls: Passes of the target, each counted once for each request in it that wrote.
        near_ties: Tokens written whose choice was within rounding.
    """

    def __init__(self, noise: Noise, precision: float) -> None:
        self._noise, self._precision = noise, precision
        self._asked: list[Drawn] = []
        self._keys = torch.zeros(0, dtype=torch.int64)
        self._groups: list[_Group] = []
        self._next = torch.zeros(0, dtype=torch.int64)
        self._vocabulary = 0
        self.target_calls = self.near_ties = 0

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
            positions: Output position of each request's next token [n].
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
        lengths = torch.tensor(counts, device=device)
        starts = lengths.cumsum(0) - lengths
        width = max(counts)
        ahead = torch.arange(width, device=device)
        drafts = torch.full((len(counts), width - 1), NOTHING, device=device)
        drafts[ahead[1:] < lengths.unsqueeze(1)] = drafted.to(drafts)
        history = None if seen is None else _histories(seen.to(device), drafts)
        picks = torch.full((len(counts), width), NOTHING, device=device)
        near = torch.zeros_like(picks, dtype=torch.bool)
        for group in self._groups:
            for j in range(width):
                rows = group.rows[lengths[group.rows] > j]
                if not len(rows):
                    break
                known = j < len(group.drafted) and len(rows) == len(group.rows)
                spot = group.drafted[j] if known else self._spot(rows, self._next[rows] + j)
                of_penalty = history[rows, j] if history is not None else None
                scores = group.sampling.scores(logits[starts[rows] + j].to(device), of_penalty)
                picks[rows, j], near[rows, j] = group.scheme.pick(scores, spot, self._precision)
            group.drafted.clear()
        accepted = (picks[:, :-1] == drafts).int().cumprod(-1).sum(-1, keepdim=True)
        written = ahead <= accepted
        self._next = self._next + accepted.squeeze(1) + 1
        self._count(near & written, writes.to(device))
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
            spot = self._spot(group.rows, self._next[group.rows] + len(group.drafted))
            freely = replace(group.sampling, repetition_penalty=1.0)  # it costs acceptance alone
            scores = freely.scores(logits[group.rows].to(tokens.device))
            tokens[group.rows] = group.scheme.pick(scores, spot, 0.0)[0]
            keeps = tokens.device.type == "cpu"  # elsewhere memory is dearer than noise
            group.drafted.append(spot if keeps else replace(spot, _gumbel=None))
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
                at = torch.tensor(rows, device=self._noise.device)
                self._groups.append(_Group(sampling, scheme, at))
        elif not torch.equal(positions, self._next):
            for group in self._groups:
                group.drafted.clear()
        self._next = positions

    def _spot(self, rows: Tensor, positions: Tensor) -> Spot:
        return Spot(self._keys[rows], positions)

    def _count(self, near: Tensor, writes: Tensor) -> None:
        self.target_calls += int(writes.sum())
        self.near_ties += int(near[writes].sum())


def _histories(seen: Tensor, drafts: Tensor) -> Tensor:
    """Which ids are there before each position, bool [n, m + 1, V], with drafts [n, m]."""
    first = seen.unsqueeze(1)
    if not drafts.shape[1]:
        return first
    return torch.cat([first, along(seen, drafts.clamp(min=0))], dim=1)
