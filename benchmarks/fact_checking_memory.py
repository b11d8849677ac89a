"""Peak memory of hf-fact-checker's engine over the number of rows.

    python benchmarks/fact_checking_memory.py [--rows 1000 10000 100000] [--model FOLDER]

Each number of rows runs in a process of its own: synthetic documents of some forty words, two
claims each, all in memory before the measurement begins, as lm-eval has them. Measured is how far
the peak of the resident memory rises above where it stood then, on three ways through the engine:

    stream    verdicts are dropped as they come: what the engine itself needs
    verdicts  all are kept, as the model wrapper does
    at once   one window for all rows, as without windows (the largest number only)

Printed are the rises, and the ratio of the last to the first number of rows. The claim: between the
last two numbers the stream's memory rises by less than 512 bytes a row, which is less than a
verdict. Without --model the checker is a one-layer BERT with random weights.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from harness_factcg.checking import checker as engine
from harness_factcg.checking import planning
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair, prompt
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = ("sea", "sand", "tide", "reef", "gull", "wave", "salt", "wind", "shore", "shell")
WAYS = ("stream", "verdicts", "at once")
MOST = 512  # bytes a row


def tiny_checker(folder: Path) -> str:
    """Save a one-layer BERT classifier of words, and give its folder."""
    core = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    signs = dict.fromkeys(prompt(" ".join(WORDS), "").replace(".", " . ").split())
    core.model = models.WordLevel(
        {word: k for k, word in enumerate(["[PAD]", "[UNK]", *signs])}, unk_token="[UNK]"
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def synthetic(rows: int) -> list[Pair]:
    """So many pairs, two a document, in mixed order."""
    rng = random.Random(0)
    found = []
    for number in range((rows + 1) // 2):
        text = " ".join(" ".join(rng.choices(WORDS, k=9)) + f" {number}." for _ in range(4))
        found += [Pair(text, f"The {rng.choice(WORDS)} is {k}.") for k in range(2)]
    rng.shuffle(found)
    return found[:rows]


def peak() -> int:
    """The largest resident size that this process has had (bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(model: str, rows: int, way: str) -> int:
    """How far the peak rises (bytes)."""
    if way == "at once":
        planning_windows = planning.windows
        engine.windows = lambda pairs: planning_windows(pairs, most=rows, characters=10**12)
    checker = open_checker(model, device="cpu", batch_tokens=4096)
    checker.verdicts(synthetic(64))
    pairs = synthetic(rows)
    before = peak()
    if way == "stream":
        for _ in checker.stream(pairs):
            pass
    else:
        verdicts = checker.verdicts(pairs)
        assert len(verdicts) == len(pairs)
    return peak() - before


def main() -> int:
    """Measure in fresh processes and print; exit status 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--model", help="a small checkpoint")
    parser.add_argument("--measure", nargs=2, metavar=("ROWS", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        torch.set_num_threads(1)
        print(measure(options.model, int(options.measure[0]), options.measure[1]))
        return 0
    rises: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as place:
        model = options.model or tiny_checker(Path(place))
        for way in WAYS:
            numbers = options.rows[-1:] if way == "at once" else options.rows
            rises[way] = [apart(model, rows, way) for rows in numbers]
            pairs = zip(numbers, rises[way], strict=True)
            found = ", ".join(f"{rows:,} rows {rise / 2**20:.1f} MB" for rows, rise in pairs)
            print(f"{way:9} {found}; ratio {rises[way][-1] / max(1, rises[way][0]):.1f}")
    between = options.rows[-1] - options.rows[-2]
    grown = {way: (rises[way][-1] - rises[way][-2]) / between for way in WAYS[:2]}
    print(", ".join(f"{way} {more:.0f}" for way, more in grown.items()), "bytes a row between")
    verdict = "reached" if grown["stream"] <= MOST else "missed"
    print(f"target: stream at most {MOST} bytes a row: {verdict}")
    return int(grown["stream"] > MOST)


def apart(model: str, rows: int, way: str) -> int:
    """The measurement in a fresh process."""
    command = [sys.executable, __file__, "--model", model, "--measure", str(rows), way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
