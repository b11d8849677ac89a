r"""A teacher's distributions on disk: the k most likely ids of each counted token, and the rest.

    capture/
        capture.json                 teacher, data, k, vocabulary, shards
        shard-00000.safetensors      ids [n, k] int32, log_probs [n, k], log_rest [n] float32,
                                     and of each exchange its key and its first row

With S the k ids, p_S their probabilities and r = 1 − Σ p_S the rest, the teacher's distribution is
not known on the other ids. It is taken to be the one nearest to the student's own, q:

    p̃(v) = p(v) for v in S,      p̃(v) = r · q(v) / q(not S) elsewhere, a constant for gradients.

For every f-divergence, forward and reverse KL, JS, TVD and the skewed ones among them, that is
exactly the divergence of the two distributions over k + 1 outcomes, the k ids and "another": the
ratio p̃/q is one number on the rest, so value and gradient fall together with those of the coarser
pair. It is a lower bound of the divergence from the whole teacher (data processing) and asks
nothing of the student beyond what was stored; spreading r evenly would teach it a tail that no
teacher had. With k = V there is no rest and p̃ = p.

Worked example: k = 1, V = 3, p = (0.7, 0.2, 0.1), q = (0.5, 0.4, 0.1): p̃ = (0.7, 0.24, 0.06), and
KL(p̃ ‖ q) = 0.7 ln 1.4 + 0.3 ln 0.6 = 0.0823, while KL(p ‖ q) = 0.0969.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from harness import ArtefactError
from harness.artefacts import recipes
from harness.artefacts.reading import fitting, loads
from harness.errors import one_line
from harness_taid.data.exchanges import Item
from harness_taid.network.batching import Pass
from harness_taid.network.captures import read_capture
from harness_taid.network.head import Head
from harness_taid.network.network import TeacherOf

_TENSORS = {"ids": ("I32", 2), "log_probs": ("F32", 2), "log_rest": ("F32", 1)}
"""Of a shard: their types, and their dimensions."""
_ROUNDING = 1e-3
_WORDS = recipes.Words(
    missing="is missing: capture again", changed="was changed since it was written: capture again"
)


def reduced(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k most likely ids of rows of logits [n, V], and what is left.

    Returns:
        Ids [n, k] int32, their log-probabilities [n, k], and the log-probability of all other ids
        [n], −∞ where there are none; float32.
    """
    scores = logits.float().log_softmax(-1)
    top = scores.topk(k, dim=-1)
    rest = scores.scatter(-1, top.indices, -torch.inf).logsumexp(-1)
    return top.indices.int(), top.values, rest


def completed(ids: Tensor, log_probs: Tensor, log_rest: Tensor, student: Tensor) -> Tensor:
    """Log p̃ [n, V] of the module's text.

    Args:
        ids: [n, k].
        log_probs: [n, k].
        log_rest: [n].
        student: The student's logits [n, V].
    """
    log_q = student.float().log_softmax(-1)
    log_q = log_q.scatter(-1, ids.long(), -torch.inf)
    left = log_q.logsumexp(-1, keepdim=True)  # of the student, −∞ where nothing is left
    scaled = log_q + torch.where(left.isfinite(), log_rest[:, None] - left, -torch.inf)
    return scaled.scatter(-1, ids.long(), log_probs.float())


@dataclass(frozen=True)
class StoredRows:
    """A pass's stored tokens, made whole by the student's own hidden states."""

    ids: Tensor
    log_probs: Tensor
    log_rest: Tensor
    hidden: Tensor
    head: Head

    @torch.no_grad()
    def rows(self, start: int, stop: int) -> Tensor:
        """Log p̃ [stop − start, V]."""
        part = slice(start, stop)
        student = self.head.logits(self.hidden[part])
        return completed(self.ids[part], self.log_probs[part], self.log_rest[part], student)


class Capture:
    """A folder that ``harness taid capture`` wrote; read as it is needed.

    Args:
        folder: The folder.

    Raises:
        ArtefactError: It is none, or is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        record = read_capture(folder)
        self.vocabulary, self._k = record.vocabulary, record.top_k
        for name, expected in record.files.items():
            recipes.check(folder / name, expected, _WORDS)
        self._open: dict[str, Any] = {}
        self._places: dict[str, tuple[str, int]] = {}
        for name in sorted(name for name in record.files if name.startswith("shard-")):
            self._places |= {key: (name, first) for key, first in self._firsts(name)}

    def _firsts(self, name: str) -> list[tuple[str, int]]:
        """The exchanges of a shard and their first rows, its tensors' shapes checked.

        Raises:
            ArtefactError: It is no shard of this capture.
        """
        path = self.folder / name
        file = self._opened(name)
        said = file.metadata() or {}
        shapes = {}
        for key in file.keys():  # noqa: SIM118  # no mapping
            part = file.get_slice(key)
            shapes[key] = (part.get_dtype(), tuple(part.get_shape()))
        rows = shapes.get("log_rest", ("", (0,)))[1][0]
        wanted = {
            key: (dtype, (rows, self._k)[:dimensions])
            for key, (dtype, dimensions) in _TENSORS.items()
        }
        try:
            keys, firsts = said["keys"].split(), fitting(list[int], loads(said["firsts"]), path)
        except (KeyError, ValueError) as cause:
            raise ArtefactError(f"{path} is damaged: it does not say its exchanges") from cause
        if shapes != wanted or len(keys) != len(firsts):
            raise ArtefactError(
                f"{path} is damaged: {len(keys)} exchanges with {len(firsts)} first rows, and "
                f"{_words(shapes)}; of the manifest follow {_words(wanted)}"
            )
        if firsts != sorted(set(firsts)) or (firsts and not 0 <= firsts[0] <= firsts[-1] < rows):
            raise ArtefactError(f"{path} is damaged: its exchanges begin at no rows of it")
        return list(zip(keys, firsts, strict=True))

    def check(self, items: Sequence[Item], what: str) -> None:
        """See that all exchanges were captured.

        Raises:
            ArtefactError: Some were not.
        """
        missing = sum(item.key not in self._places for item in items)
        if missing:
            raise ArtefactError(
                f"--teacher-logits {self.folder} lacks {missing} of the {len(items)} exchanges of "
                f"{what}: capture with the same data, lengths and tokenizer"
            )

    def of(self, read: Pass) -> TeacherOf:
        """The stored tokens of a pass."""
        parts = [self._rows(*found) for found in zip(read.items, read.counts, strict=True)]
        device = read.labels.device
        if parts:
            ids, log_probs, log_rest = (
                torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True)
            )
        else:
            ids = torch.zeros(0, 1, dtype=torch.int32, device=device)
            log_probs, log_rest = ids.float(), ids[:, 0].float()
        return lambda hidden, head: StoredRows(
            ids, log_probs, log_rest, hidden.detach(), head.prepared()
        )

    def _rows(self, item: Item, count: int) -> list[Tensor]:
        name, first = self._places[item.key]
        file = self._opened(name)
        part = slice(first, first + count)
        ids, log_probs, log_rest = (file.get_slice(key)[part] for key in _TENSORS)
        if fault := self._fault(ids, log_probs, log_rest, count):
            raise ArtefactError(f"{self.folder / name} is damaged: {fault}")
        return [ids, log_probs, log_rest]

    def _fault(self, ids: Tensor, log_probs: Tensor, log_rest: Tensor, count: int) -> str | None:
        """What is wrong with the rows of an exchange."""
        if len(ids) != count:
            return "an exchange lacks rows"
        if count and not (int(ids.min()) >= 0 and int(ids.max()) < self.vocabulary):
            return f"it has ids beyond the {self.vocabulary} that there are"
        known = torch.cat([log_probs, log_rest[:, None]], -1)
        if not bool((known <= _ROUNDING).all()):  # NaN is not
            return "it has numbers that are no log-probabilities"
        return None

    def _opened(self, name: str) -> Any:
        if name not in self._open:
            try:
                self._open[name] = safe_open(self.folder / name, "pt")
            except (OSError, SafetensorError) as cause:
                raise ArtefactError(f"{self.folder / name} cannot be read: {cause}") from cause
        return self._open[name]


def _words(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    """Types and shapes for a message."""
    said = [
        f"{name} {dtype} {'x'.join(map(str, shape))}"
        for name, (dtype, shape) in sorted(shapes.items())
    ]
    return one_line(", ".join(said) or "no tensors", 200)
