"""repeng's ControlVector.train against ``harness axbench train``; part of ``steering_peers.py``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from axbench_pyvene import chosen_data
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData
from harness_axbench.dictionary.folder import Dictionary, read
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from torch.nn.functional import cosine_similarity

METHODS = ("lat", "diffmean")
TARGET = 2.0


def peer() -> Any:
    """The package repeng."""
    np.float_ = np.float64  # repeng 0.4 names a type that NumPy 2 no longer has
    return import_module("repeng")


def against_repeng(
    lm: Any,
    data: ConceptData,
    found: Dictionary,
    options: argparse.Namespace,
    home: Path,
    clock: Callable[[], float],
) -> None:
    """Train on the same texts with both; print times, their ratio and cosines.

    Args:
        lm: lm-eval's ``hf``, already loaded, for repeng.
        data: The concept data.
        found: A dictionary with the layer and the concepts to take.
        options: ``concepts``, ``pairs``, ``dtype``.
        home: Where ours is written.
        clock: Seconds.
    """
    numbers = [concept.id for concept in found.concepts][: options.concepts]
    own = chosen_data(data, numbers, home / "texts", most=options.pairs)
    start = clock()
    made = train(
        Options(
            methods=METHODS,
            out=home / "learnt",
            model=lm.pretrained,
            layer=found.layer,
            run=run_options({"axbench_data": str(home / "texts")}),
            max_act_from="train",
            dtype=options.dtype,
            device="cpu",
            batch_size=16,
        )
    )
    ours = clock() - start
    reader = Reader(lm.model, lm.tokenizer, layer=found.layer)
    start = clock()
    vectors = [_by_repeng(reader, own, concept) for concept in own.concepts]
    theirs = clock() - start
    theirs_all = torch.stack(vectors)
    for name in METHODS:
        cosines = cosine_similarity(theirs_all, read(made.folder).weight(name))
        print(f"cosines of repeng's to {name}: {', '.join(f'{c:.2f}' for c in cosines.tolist())}")
    verdict = "reached" if theirs / ours >= TARGET else "missed"
    print(
        f"training {len(own.concepts)} concepts on {options.pairs} pairs each: repeng {theirs:.1f} "
        f"s, {' and '.join(METHODS)} {ours:.1f} s with loading; ratio {theirs / ours:.2f}; target "
        f"{TARGET}: {verdict}"
    )


def _by_repeng(reader: Reader, data: ConceptData, concept: Any) -> torch.Tensor:
    """The direction of one concept at the layer, with repeng's defaults but for the layer."""
    repeng = peer()
    decode = reader.tokenizer.decode
    sides = [data.positives(concept), data.negatives(concept.genre)]
    texts = [[decode(reader.encode(row)) for row in rows] for rows in sides]
    pairs = [repeng.DatasetEntry(positive=a, negative=b) for a, b in zip(*texts, strict=False)]
    learnt = repeng.ControlVector.train(
        reader.model, reader.tokenizer, pairs, hidden_layers=[reader.layer], batch_size=16
    )
    return torch.from_numpy(learnt.directions[reader.layer])
