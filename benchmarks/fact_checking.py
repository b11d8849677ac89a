"""Pairs per second of hf-fact-checker against a plain loop, as the paper's inference has it.

    python benchmarks/fact_checking.py [--data FILE.jsonl] [--model deberta-shaped] [--rows 100]

The loop takes the rows as they come: it chunks every row's document anew, puts one prompt a chunk
into batches of a fixed number (32, as the paper's code), pads each to its longest prompt, and runs
in float32. Both read the same prompts with the same model in one process, in pairs of alternating
order; printed are median rates, the median over pairs of their ratio, the largest difference
between scores, and the share of the time that hf-fact-checker spends on chunking and tokenising.
A chunk too long for the model is cut by both; the loop, as the paper's code, then loses the end of
the question, hf-fact-checker that of the chunk, so such pairs are left out of the difference.

--model is a folder or name, testbed:checker, or deberta-shaped: random weights in the shape of
DeBERTa-v3, narrower (--width) and shallower (--layers) so that a CPU is done in minutes. --data has
the columns doc and claim; without it, the rows are the testbed's claims, all data sets mixed.
--rows takes so many, at even distances. Documents are long: six of WiCE are 22 prompts and 18,700
tokens, which at full size (--width 768 --layers 12) take the loop some 55 s of one core a run, and
there are two kinds of runs and --repeats of each. On a machine shared with others, --threads 1
--clock cpu counts processor time instead of wall time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from harness_factcg.checking.checker import Checker, Tally
from harness_factcg.checking.chunking import CHUNK_SIZE, chunks
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair, Verdict, prompt
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Tokenizer

from harness.testbed.english import corpus

Result = TypeVar("Result")

TARGET = 2.0
MOST_PLANNING = 0.05
BATCH = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def deberta_shaped(folder: Path, texts: Sequence[str], *, width: int, layers: int) -> str:
    """Save a classifier of DeBERTa-v3's shape with random weights, and give its folder.

    Its tokenizer is DeBERTa's kind (unigrams behind white space), with a vocabulary from the texts.
    """
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=8000, special_tokens=list(SPECIAL), unk_token="[UNK]", show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    vocabulary = [tuple(entry) for entry in json.loads(core.to_str())["model"]["vocab"]]
    config = DebertaV2Config(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        layer_norm_eps=1e-7,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    DebertaV2Tokenizer(vocab=vocabulary).save_pretrained(folder)
    return str(folder)


def read_rows(data: Path | None, most: int) -> list[Pair]:
    """At most so many rows at even distances, in the order of the data."""
    if data is None:
        rows = list(corpus.claims("test"))
        random.Random(0).shuffle(rows)
    else:
        lines = data.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    step = max(1, len(rows) // most)
    return [Pair(row["doc"], row["claim"]) for row in rows[::step][:most]]


@torch.no_grad()
def plain_loop(plain: Checker, pairs: Sequence[Pair], batch_size: int) -> list[float]:
    """P(supported) of each pair as the paper's inference computes it."""
    model, tokenizer = plain.checkpoint.model, plain.checkpoint.tokenizer
    size = plain.family.chunk_size or CHUNK_SIZE
    cut = [[prompt(chunk, claim) for chunk in chunks(doc, size)] for doc, claim in pairs]
    prompts = [text for texts in cut for text in texts]
    encoded = [
        tokenizer(
            prompts[start : start + batch_size],
            padding="longest",
            truncation=True,
            max_length=plain.max_length,
            return_tensors="pt",
        )
        for start in range(0, len(prompts), batch_size)
    ]
    scores: list[float] = []
    for batch in encoded:
        ids, mask = (batch[name].to(model.device) for name in ("input_ids", "attention_mask"))
        logits = model(input_ids=ids, attention_mask=mask).logits
        scores += logits.float().softmax(-1)[:, 1].tolist()
    found = iter(scores)
    return [max(itertools.islice(found, len(texts))) for texts in cut]


def timed(run: Callable[[], Result], clock: Callable[[], float]) -> tuple[float, Result]:
    """Seconds of a run, and what it gives."""
    start = clock()
    found = run()
    return clock() - start, found


def arguments() -> argparse.Namespace:
    """What the command line gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="JSON lines with doc and claim")
    parser.add_argument("--model", default="deberta-shaped")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--width", type=int, default=256, help="of the deberta-shaped model")
    parser.add_argument("--layers", type=int, default=3, help="of the deberta-shaped model")
    parser.add_argument("--chunk-size", type=int, default=CHUNK_SIZE, help="word tokens a chunk")
    parser.add_argument("--batch-size", type=int, default=BATCH, help="of the loop")
    parser.add_argument("--batch-tokens", type=int, help="of hf-fact-checker")
    parser.add_argument("--dtype", default="float32", help="of hf-fact-checker")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    pairs = read_rows(options.data, options.rows)
    with tempfile.TemporaryDirectory() as place:
        path = options.model
        if path == "deberta-shaped":
            texts = [text for pair in pairs for text in pair]
            path = deberta_shaped(Path(place), texts, width=options.width, layers=options.layers)
        both = {"device": options.device, "batch_tokens": options.batch_tokens}
        both["chunk_size"] = options.chunk_size
        checker = open_checker(path, dtype=options.dtype, overlong="cut", **both)
        plain = open_checker(path, dtype="float32", **both)
    plain_loop(plain, pairs[:1], 1)
    checker.verdicts(pairs[:1])
    checker.tally = Tally()
    loop: list[float] = []
    ours: list[float] = []
    for repeat in range(options.repeats):
        for turn in (repeat, repeat + 1):
            if turn % 2 == 0:
                spent, scores = timed(lambda: plain_loop(plain, pairs, options.batch_size), clock)
                loop.append(spent)
            else:
                spent, verdicts = timed(lambda: checker.verdicts(pairs), clock)
                ours.append(spent)
    for name, times in (("plain loop", loop), ("hf-fact-checker", ours)):
        spread = ", ".join(f"{len(pairs) / spent:.2f}" for spent in times)
        print(f"{name:16} {len(pairs) / statistics.median(times):8.2f} pairs/s   (runs: {spread})")
    compare(pairs, scores, verdicts)
    ratio = statistics.median(a / b for a, b in zip(loop, ours, strict=True))
    print(f"ratio {ratio:.2f}; target {TARGET}: {'reached' if ratio >= TARGET else 'missed'}")
    share = checker.tally.planning / (checker.tally.planning + checker.tally.model)
    verdict = "reached" if share <= MOST_PLANNING else "missed"
    print(f"chunking and tokenising {share:.1%}; target at most {MOST_PLANNING:.0%}: {verdict}")


def compare(pairs: Sequence[Pair], scores: list[float], verdicts: dict[Pair, Verdict]) -> None:
    """Print what was read, and how far the scores are apart where nothing was cut."""
    found = [verdicts[pair] for pair in pairs]
    apart = [abs(s - v.score) for s, v in zip(scores, found, strict=True) if not v.truncated]
    print(
        f"{len(pairs)} pairs on {len({pair.document for pair in pairs})} documents, "
        f"{sum(verdict.chunks for verdict in found)} chunks; {len(pairs) - len(apart)} pairs cut, "
        f"scores of the others differ by at most {max(apart, default=math.nan):.1e}"
    )


if __name__ == "__main__":
    main()
