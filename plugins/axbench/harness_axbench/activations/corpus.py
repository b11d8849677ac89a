"""Training texts as outputs of one block, kept in memory and shared by all methods.

Every unique text goes once through the blocks up to the layer. Means, principal components and
probes need nothing else; methods that learn through the model go on from here and run only the
blocks above (``blocks.UpperBlocks``). The shared negatives are read once, the positives of some
concepts (a shard) at a time, so that memory is bounded by

    (tokens of the shared negatives + tokens of a shard's positives) · hidden size · bytes a value

which is logged. Gemma-2-2B in bf16 with 16 concepts a shard: about 0.8 GB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness import DataError, HarnessError, Row
from harness_axbench.activations.blocks import UpperBlocks, block_output
from harness_axbench.activations.normalising import NONE, UNSCALED, Moments, Scaling
from harness_axbench.activations.reader import Reader, shown
from harness_axbench.data.concepts import Concept, ConceptData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Text:
    """One exchange, encoded and read.

    Attributes:
        ids: Token ids. [tokens]
        response: Number of tokens before the response.
        hidden: The block's output, in the model's dtype. [tokens, hidden]
    """

    ids: Tensor
    response: int
    hidden: Tensor


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right to one length.

    Attributes:
        ids: Token ids, 0 where padded. [batch, tokens]
        mask: Which tokens are real. [batch, tokens]
        counted: Which tokens are real and behind the prefix. [batch, tokens]
        response: Which tokens belong to the response. [batch, tokens]
        hidden: The block's output, 0 where padded. [batch, tokens, hidden]
    """

    ids: Tensor
    mask: Tensor
    counted: Tensor
    response: Tensor
    hidden: Tensor

    @property
    def predicts(self) -> Tensor:
        """Which positions predict a token of the response: [batch, tokens]."""
        return torch.nn.functional.pad(self.response[:, 1:], (0, 1))

    @property
    def targets(self) -> Tensor:
        """The tokens predicted there, row by row: [chosen]."""
        return self.ids[:, 1:][self.response[:, 1:]]


Key = tuple[str, str]
"""A text's identity: input and output."""


def _key(row: Row) -> Key:
    return str(row["input"]), str(row["output"])


@dataclass(frozen=True)
class Corpus:
    """Unique texts, read, and for each concept the places of its positives and negatives.

    Attributes:
        reader: What read them; has model, tokenizer, layer and prefix.
        texts: The texts.
        positive: For each concept the places of its positives, as often as they occur.
        negative: For each concept the places of the negatives of its genre, where they were read.
    """

    reader: Reader
    texts: Sequence[Text]
    positive: Sequence[Sequence[int]]
    negative: Sequence[Sequence[int]]

    @property
    def device(self) -> torch.device:
        """Where the outputs lie."""
        return self.texts[0].hidden.device

    def states(self, place: int) -> Tensor:
        """Activations of a text's tokens that count, in the model's dtype: [tokens, hidden]."""
        return self.texts[place].hidden[self.reader.prefix :]

    def tokens(self, places: Sequence[int]) -> Tensor:
        """Activations of all tokens of these texts that count, in fp32: [tokens, hidden]."""
        return torch.cat([self.states(place) for place in places]).float()

    @cached_property
    def moments(self) -> Moments:
        """Of each text's tokens that count."""
        return Moments.of([self.states(place) for place in range(len(self.texts))])

    def scalings(self, kind: str) -> list[Scaling]:
        """For each concept how the states of its texts are put on one scale."""
        if kind == NONE:
            return [UNSCALED] * len(self.positive)
        found = []
        for places, norms in zip(self.both, self.norms_of_concepts, strict=True):
            mean, spread = self.moments.together(places)
            found.append(Scaling(kind, mean, spread, float(norms.double().mean())).to(self.device))
        return found

    @property
    def both(self) -> list[list[int]]:
        """For each concept the places of its positives, then of its negatives."""
        return [[*p, *n] for p, n in zip(self.positive, self.negative, strict=True)]

    @cached_property
    def norms_of_concepts(self) -> list[Tensor]:
        """For each concept ‖h‖ of all tokens of its texts that count: [tokens]."""
        own = [self.states(place).float().norm(dim=1) for place in range(len(self.texts))]
        return [torch.cat([own[place] for place in places]) for places in self.both]

    def of(self, concepts: Sequence[int]) -> Corpus:
        """The same texts for some of the concepts."""
        return replace(
            self,
            positive=[self.positive[at] for at in concepts],
            negative=[self.negative[at] for at in concepts],
        )

    def batch(self, places: Sequence[int]) -> Batch:
        """These texts, padded on the right."""
        own = [self.texts[place] for place in places]
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([text.ids for text in own], batch_first=True)
        hidden = pad([text.hidden for text in own], batch_first=True)
        position = torch.arange(ids.shape[1], device=ids.device)
        ends = torch.tensor([len(text.ids) for text in own], device=ids.device)
        starts = torch.tensor([text.response for text in own], device=ids.device)
        mask = position < ends.unsqueeze(1)
        return Batch(
            ids=ids,
            mask=mask,
            counted=mask & (position >= self.reader.prefix),
            response=mask & (position >= starts.unsqueeze(1)),
            hidden=hidden,
        )

    @cached_property
    def shared(self) -> dict[Any, Any]:
        """What several methods make of these texts and need once, by a key of theirs."""
        return {}

    @cached_property
    def upper(self) -> UpperBlocks:
        """The blocks above the layer."""
        return UpperBlocks(self.reader.model, self.reader.layer)


class Library:
    """Reads the corpora of one data set, the shared negatives once.

    Args:
        reader: Has model, tokenizer, layer and prefix.
        data: The concept data.
    """

    def __init__(self, reader: Reader, data: ConceptData) -> None:
        self.reader, self.data = reader, data
        self._shared: dict[Key, Text] = {}

    def corpus(self, concepts: Sequence[Concept], *, negatives: bool = True) -> Corpus:
        """The texts of some concepts.

        Args:
            concepts: The concepts.
            negatives: Whether negatives are wanted; without them none is read.

        Raises:
            DataError: A text has no token behind the prefix.
            HarnessError: An activation is not a number, or the tokenizer is a slow one.
        """
        genres = dict.fromkeys(concept.genre for concept in concepts)
        shared = {genre: self.data.negatives(genre) if negatives else [] for genre in genres}
        self._read([r for rows in shared.values() for r in rows], self._shared, "negatives")
        known = dict(self._shared)
        positives = [self.data.positives(concept) for concept in concepts]
        self._read([r for rows in positives for r in rows], known, "positives")
        place = {key: at for at, key in enumerate(known)}
        texts = list(known.values())
        size = sum(text.hidden.numel() * text.hidden.element_size() for text in texts)
        log.info("%d texts, %.2f GB of block outputs in memory", len(texts), size / 1e9)
        of_genre = {g: [place[_key(row)] for row in rows] for g, rows in shared.items()}
        return Corpus(
            reader=self.reader,
            texts=texts,
            positive=[[place[_key(row)] for row in rows] for rows in positives],
            negative=[of_genre[concept.genre] for concept in concepts],
        )

    def _read(self, rows: Sequence[Row], known: dict[Key, Text], title: str) -> None:
        """Read the texts that are not known yet, in batches of like length."""
        from tqdm import tqdm

        missing: dict[Key, Row] = {_key(row): row for row in rows if _key(row) not in known}
        if not missing:
            return
        encoded = self._encoded(missing)
        known |= dict.fromkeys(missing)  # type: ignore[arg-type]  # keeps the rows' order
        order = sorted(missing, key=lambda key: -len(encoded[key][0]))
        with tqdm(total=len(order), desc=title, unit="text") as bar:
            for keys in _chunks(order, self.reader.batch_size):
                for key, text in zip(keys, self._outputs(keys, encoded, missing), strict=True):
                    known[key] = text
                bar.update(len(keys))

    def _encoded(self, rows: Mapping[Key, Row]) -> dict[Key, tuple[list[int], int]]:
        """Token ids of each text, within the model's length, and how many precede the response."""
        pairs = [self.reader.encode_exchange(row) for row in rows.values()]
        cut = self.reader.cut([ids for ids, _ in pairs])
        for row, ids in zip(rows.values(), cut, strict=True):
            if len(ids) <= self.reader.prefix:
                raise DataError(
                    f"no token behind the prefix of {self.reader.prefix} in {shown(row)}"
                )
        found = zip(cut, (response for _, response in pairs), strict=True)
        return dict(zip(rows, found, strict=True))

    def _outputs(
        self,
        keys: Sequence[Key],
        encoded: Mapping[Key, tuple[list[int], int]],
        rows: Mapping[Key, Row],
    ) -> Iterator[Text]:
        device = next(self.reader.model.parameters()).device
        ids = [torch.tensor(encoded[key][0], device=device) for key in keys]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        lengths = torch.tensor([len(own) for own in ids], device=device)
        mask = (torch.arange(padded.shape[1], device=device) < lengths.unsqueeze(1)).long()
        hidden = block_output(self.reader.model, self.reader.layer, padded, mask)
        for key, own, output in zip(keys, ids, hidden, strict=True):
            kept = output[: len(own)].clone()
            if not bool(torch.isfinite(kept[self.reader.prefix :]).all()):
                raise HarnessError(
                    f"activations of layer {self.reader.layer} are not finite for "
                    f"{shown(rows[key])}; try another dtype"
                )
            yield Text(own, encoded[key][1], kept)


def _chunks(keys: Sequence[Key], size: int) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
