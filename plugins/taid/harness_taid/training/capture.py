"""A teacher's distributions, written once: ``harness taid capture``.

Exchanges are read longest first, a shard of them at a time; a shard appears by one rename, and a
rerun makes the missing ones. The folder appears when all are there.

    harness taid capture --teacher T --data D --top-k 64 --out teacher-logits
    harness taid distill --teacher-logits teacher-logits --student S --data D --out student
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from harness import ArtefactError, HarnessError
from harness.artefacts import recipes
from harness.artefacts.trainings import alone, without_bars
from harness.artefacts.writing import move, replacing
from harness.asking.special import lacks_bos
from harness.asking.store import key_of
from harness.models.checkpoints import content_of, open_causal
from harness_taid.data.exchanges import Encoded, Encoder, Item, bos_in, content_hash
from harness_taid.data.sources import Source
from harness_taid.network.batching import Layout, collate, shares
from harness_taid.network.captures import FORM, MANIFEST
from harness_taid.network.head import Head
from harness_taid.network.network import LiveTeacher
from harness_taid.network.offline_teacher import reduced
from harness_taid.training.options import CAPTURES, CaptureOptions, check_capture

SHARD = 256
"""Exchanges a shard."""
_LIBRARIES = ("torch", "transformers", "safetensors")
_CELLS = 1 << 24


@dataclass(frozen=True)
class Captured:
    """A finished capture; ``present`` tells whether it was there before."""

    folder: Path
    manifest: dict[str, Any]
    present: bool
    told: str | None = None


def capture(options: CaptureOptions) -> Captured:
    """Write the folder, or return the equal one that is already there.

    Raises:
        HarnessError: An option is wrong, teacher or data cannot be used, the disk is full, or the
            folder holds something else.
    """
    out = options.out.expanduser().absolute()
    sources = check_capture(options)
    recipe = _recipe(options, sources)
    work = out.with_name(f".{out.name}.capturing-{key_of(**recipe)[:12]}")
    present = recipes.kept(out, recipe, name=MANIFEST, words=CAPTURES)
    if present is not None:
        return Captured(out, present, True)
    with alone(out, "capture", lambda: _told(work)):
        told = _captured(options, sources, recipe, work)
    manifest = recipes.kept(out, recipe, name=MANIFEST, words=CAPTURES)
    assert manifest is not None
    return Captured(out, manifest, False, told)


def _captured(
    options: CaptureOptions, sources: Sequence[Source], recipe: dict[str, Any], work: Path
) -> str | None:
    """Write the folder; returns what is to be told of the data."""
    out = options.out.expanduser().absolute()
    device = "cuda" if options.device == "auto" and torch.cuda.is_available() else "cpu"
    dtype = "bfloat16" if device == "cuda" else "float32"
    with without_bars():
        model, tokenizer = open_causal(
            "teacher",
            options.teacher,
            revision=options.revision,
            dtype=dtype,
            device=device,
            add_bos_token=options.add_bos_token,
        )
    encoded = _encoded(options, sources, tokenizer)
    items = list({item.key: item for item in encoded.items}.values())
    items.sort(key=lambda item: (-len(item.ids), item.key))
    rows = model.get_output_embeddings().weight.shape[0]
    vocabulary = min(1 + max(tokenizer.get_vocab().values()), rows)
    reader = _Reader(LiveTeacher(model, vocabulary), options, tokenizer, device)
    with without_bars():
        _shards(work, items, reader)
        facts = {
            "vocabulary": vocabulary,
            "top_k": min(options.top_k or vocabulary, vocabulary),
            "exchanges": len(items),
            "tokens": sum(item.counted(options.loss_on) for item in items),
            "data_sha256": content_hash(items),
            "bos": bos_in(encoded.items, tokenizer),
        }
        model.config.save_pretrained(work)
        tokenizer.save_pretrained(work)
        recipes.write_manifest(work, FORM, recipe, facts, _LIBRARIES, name=MANIFEST)
        try:
            move(work, out)
        except OSError as cause:
            raise ArtefactError(f"{out} cannot be written: {cause}") from cause
    lacking = lacks_bos(model.config, tokenizer, [bos_in(encoded.items, tokenizer)])
    told = (encoded.told("data"), lacking and f"{lacking}: --add-bos-token")
    return "; ".join(filter(None, told)) or None


def _told(work: Path) -> str:
    """What of an interrupted capture is kept, as a part of a sentence."""
    count = len(list(work.glob("shard-*.safetensors")))
    if not count:
        return "no shard was finished, and nothing is kept"
    return f"{count} shards are kept in {work}: the same command makes only the rest"


def summary(made: Captured) -> str:
    """What was captured, in a line."""
    facts = made.manifest
    return (
        f"{facts['exchanges']} exchanges, {facts['tokens']} tokens, top {facts['top_k']} of "
        f"{facts['vocabulary']} ids"
    )


def _recipe(options: CaptureOptions, sources: Sequence[Source]) -> dict[str, Any]:
    own = asdict(options)
    for name in ("out", "data", "dev", "split", "device", "device_batch_size"):
        del own[name]
    if options.add_bos_token is None:
        del own["add_bos_token"]
    own["teacher_sha256"] = content_of(options.teacher)
    return {**own, "data": [source.as_dict() for source in sources]}


def _encoded(options: CaptureOptions, sources: Sequence[Source], tokenizer: Any) -> Encoded:
    """All rows, those to train on and those held out."""
    encoder = Encoder(
        tokenizer,
        tokenizer.chat_template or "",
        options.limits,
        add_bos_token=options.add_bos_token,
    )
    rows = [row for source in sources for row in source.rows(options.rows)]
    rows += sources[0].dev_rows(options.dev_rows)
    return encoder.encode(rows, options.data, progress=True)


class _Reader:
    """Reads exchanges with a teacher."""

    def __init__(
        self, teacher: LiveTeacher, options: CaptureOptions, tokenizer: Any, device: str
    ) -> None:
        self._teacher = teacher
        self._k = min(options.top_k or teacher.vocabulary, teacher.vocabulary)
        self._layout = Layout(device_batch=options.device_batch_size, loss_on=options.loss_on)
        self._pad = tokenizer.pad_token_id or 0
        self._device = torch.device(device)

    @torch.no_grad()
    def read(self, items: Sequence[Item]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """A shard: its tensors, and the exchanges' keys and first rows."""
        parts: list[tuple[Tensor, ...]] = []
        keys: list[str] = []
        firsts: list[int] = []
        count = 0
        for group in shares(items, self._layout)[0]:
            read = collate(group, self._layout, group[0], self._pad).to(self._device)
            head = Head.of(self._teacher.model, vocabulary=self._teacher.vocabulary)
            rows = self._teacher.of(read)(torch.empty(0), head)
            size = max(1, _CELLS // head.vocabulary)
            for start in range(0, len(read.labels), size):
                logits = rows.rows(start, min(start + size, len(read.labels)))
                parts.append(tuple(part.cpu() for part in reduced(logits, self._k)))
            for item, own in zip(read.items, read.counts, strict=True):
                keys.append(item.key)
                firsts.append(count)
                count += own
        names = ("ids", "log_probs", "log_rest")
        tensors = {
            name: torch.cat(tensors).contiguous()
            for name, tensors in zip(names, zip(*parts, strict=True), strict=True)
        }
        return tensors, {"keys": " ".join(keys), "firsts": json.dumps(firsts)}


def _shards(work: Path, items: Sequence[Item], reader: _Reader) -> None:
    """Write the shards that are missing."""
    starts = range(0, len(items), SHARD)
    for number, start in enumerate(tqdm(starts, desc="Reading with the teacher")):
        place = work / f"shard-{number:05d}.safetensors"
        if place.is_file():
            continue
        tensors, metadata = reader.read(items[start : start + SHARD])
        try:
            with replacing(place) as draft:
                save_file(tensors, draft, metadata)
        except (HarnessError, SafetensorError) as cause:
            raise HarnessError(
                f"{place} cannot be written ({cause.__cause__ or cause}); the {number} shards "
                "before it are kept: make room and run the same command again"
            ) from cause
    for draft in (*work.glob(".*"), *work.glob("*.part")):  # what a kill has left
        draft.unlink()
