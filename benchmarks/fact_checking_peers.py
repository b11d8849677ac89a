"""Pairs a second of hf-fact-checker against MiniCheck's own inference and transformers' pipeline.

    pip install --no-deps git+https://github.com/Liyan06/MiniCheck    # and nltk
    python benchmarks/fact_checking_peers.py --data DATA/aggrefact/dev.jsonl --rows 3

(PyPI's package of the name minicheck is another program.) One classifier of full size, 768 × 12 in
the shape of DeBERTa-v3-base or RoBERTa-base, with random weights, is asked by all three in one
process, in float32, on the CPU, with MiniCheck's template and its chunks of 400 tokens:

- MiniCheck's ``Inferencer``, its code as it is but for the checkpoint and for NLTK's sentence
  splitter, whose data has to be downloaded: it gets hf-fact-checker's, so that both read the same;
- ``pipeline("text-classification")`` on the same prompts, one at a time (on a CPU its fastest: a
  batch is padded to its longest) and in batches of 16; that they are cut into chunks and put
  together is not counted;
- hf-fact-checker, chunking included.

The order alternates; printed are median rates, the median over rounds of the ratio to each, and the
largest difference between scores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from fact_checking import deberta_shaped, read_rows
from harness_factcg.checking.checker import Checker
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from tokenizers import ByteLevelBPETokenizer, processors
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

HINT = (
    "MiniCheck's code is not installed (PyPI's minicheck is another program): "
    "pip install --no-deps git+https://github.com/Liyan06/MiniCheck; pip install nltk"
)


def roberta_shaped(folder: Path, texts: Sequence[str], *, width: int, layers: int) -> str:
    """Save a classifier of RoBERTa's shape with random weights, and give its folder."""
    core = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    core.train_from_iterator(texts, 8000, special_tokens=special, show_progress=False)
    core._tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core._tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=512,
    )
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=514,
        type_vocab_size=1,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def with_minicheck(
    path: str, name: str, checker: Checker
) -> Callable[[Sequence[Pair]], list[float]]:
    """MiniCheck's inference with a checkpoint of ours."""
    try:
        from minicheck import inference
    except ImportError:
        sys.exit(HINT)
    inference.sent_tokenize = split_sentences
    inference.tqdm = lambda items, **_: items
    own = object.__new__(inference.Inferencer)  # its __init__ downloads the published weights
    own.model_name, own.batch_size, own.chunk_size = name, 16, 400
    own.max_model_len = checker.max_length
    own.model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    own.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    own.softmax = torch.nn.Softmax(dim=-1)

    def scores(pairs: Sequence[Pair]) -> list[float]:
        found: list[float] = own.fact_check([p.document for p in pairs], [p.claim for p in pairs])[
            0
        ]
        return found

    return scores


def with_pipeline(
    path: str, checker: Checker, pairs: Sequence[Pair], batch_size: int
) -> Callable[[Sequence[Pair]], list[float]]:
    """The pipeline of transformers on the prompts that hf-fact-checker reads."""
    asked = pipeline("text-classification", model=path, top_k=None, device="cpu")
    joint = checker.family.resolved(checker.checkpoint.tokenizer)
    prompts = {
        pair: [joint.prompt(chunk, pair.claim) for chunk in checker.chunks(pair.document)]
        for pair in pairs
    }

    def scores(pairs: Sequence[Pair]) -> list[float]:
        texts = [text for pair in pairs for text in prompts[pair]]
        found = iter(
            [
                next(label["score"] for label in labels if label["label"] == "LABEL_1")
                for labels in asked(texts, batch_size=batch_size, truncation=True)
            ]
        )
        return [max(next(found) for _ in prompts[pair]) for pair in pairs]

    return scores


def report(times: dict[str, list[float]], scores: dict[str, list[float]], pairs: int) -> None:
    """Rates, ratios and how far the scores are apart."""
    ours = "hf-fact-checker"
    for name, spent in times.items():
        line = f"{name:24} {pairs / statistics.median(spent):7.3f} pairs/s"
        if name != ours:
            ratio = statistics.median(a / b for a, b in zip(spent, times[ours], strict=True))
            apart = max(abs(a - b) for a, b in zip(scores[name], scores[ours], strict=True))
            line += f"   ratio {ratio:5.2f}   scores differ by at most {apart:.1e}"
        print(line, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, help="JSON lines with doc and claim; default: testbed")
    parser.add_argument("--shape", choices=("deberta", "roberta"), default="deberta")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    pairs = read_rows(options.data, options.rows)
    make = {"deberta": deberta_shaped, "roberta": roberta_shaped}[options.shape]
    with tempfile.TemporaryDirectory() as place:
        texts = [text for pair in pairs for text in pair]
        path = make(Path(place), texts, width=options.width, layers=options.layers)
        checker = open_checker(path, family="minicheck", dtype="float32", device="cpu")
        ways: dict[str, Callable[[Sequence[Pair]], Any]] = {
            "MiniCheck": with_minicheck(path, f"{options.shape}-large", checker),
            "pipeline, 1 at a time": with_pipeline(path, checker, pairs, 1),
            "pipeline, batches of 16": with_pipeline(path, checker, pairs, 16),
            "hf-fact-checker": lambda own: [v.score for v in checker.verdicts(own).values()],
        }
    tokens = sum(len(ids) for ids in checker._planner.plan(pairs).ids)
    print(
        f"{options.shape} {options.width} × {options.layers}, {len(pairs)} pairs, {tokens} tokens; "
        + ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers")
        )
    )
    times: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[float]] = {}
    for turn in range(options.rounds):
        for name, way in list(ways.items())[:: 1 - 2 * (turn % 2)]:
            started = clock()
            scores[name] = way(pairs)
            times[name].append(clock() - started)
        print(f"after round {turn + 1} of {options.rounds}:")
        report(times, scores, len(pairs))


if __name__ == "__main__":
    main()
