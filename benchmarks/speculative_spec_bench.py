"""A pretrained target on Spec-Bench's questions: hf-speculative against transformers' own code.

    pip install 'paperharness[real]'
    python benchmarks/speculative_spec_bench.py --questions question.jsonl --each 2 --out FILE
    python benchmarks/speculative_spec_bench.py … --drafters ngram early:4 FOLDER --temperatures 0 1

For each question (the first turn, --each of every category) and temperature, one side after the
other, their order turning, in one process with the same weights:

    plain          hf-speculative without a drafter
    NAME           with that drafter, as far as it pays, which is the default
    generate       transformers' generate
    generate NAME  the same drafter in transformers: assistant_model, assistant_early_exit, or
                   prompt_lookup_num_tokens; --gamma tokens a round, or 0 for its own schedule

Answers have --tokens tokens, as no end is drawn. --out keeps a line for each answer, and a stopped
run goes on from it. Printed are, by group of categories and over all: tokens a pass of the target,
accepted of drafted tokens, and the ratio of tokens a second to plain, to generate, and to generate
with the same drafter, each with the 95 % interval over questions; then how many greedy answers are
those of generate. In bfloat16 two tokens are often within rounding of each other, and a pass of
another width may take the other: compare answers with --dtype float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_specdecode.data.prompts import MT_BENCH, MULTI_TURN
from harness_specdecode.decoding.drafter_sources import EARLY
from harness_specdecode.measuring.comparing import Decoding, decode

from harness import compose

Line = dict[str, Any]
Side = Callable[[str, float, int], Line]
WARM_UP = 12
PLAIN, GENERATE = "plain", "generate"


class Bench:
    """A model, its drafters, and how each side answers a question."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        wrapper = compose("hf-speculative")
        self.model = wrapper(options.target, dtype=options.dtype, device="cpu")
        self.ends = sorted(self.model.ends())

    def sides(self) -> dict[str, Side]:
        """Ways to answer."""
        found = {PLAIN: self._ours(Decoding()), GENERATE: self._theirs(None)}
        for name in self.options.drafters:
            way = Decoding(drafter=name, gamma=self.options.gamma or 5, adaptive=True)
            found |= {name: self._ours(way), f"{GENERATE} {name}": self._theirs(name)}
        return found

    def prompt(self, question: str) -> str:
        """A question as a turn of a chat."""
        return str(self.model.apply_chat_template([{"role": "user", "content": question}]))

    def _asked(self, temperature: float) -> dict[str, Any]:
        asked = {"do_sample": temperature > 0, "suppress_tokens": self.ends}
        return asked | ({"temperature": temperature, "top_k": 0} if temperature else {})

    def _ours(self, way: Decoding) -> Side:
        def answer(prompt: str, temperature: float, tokens: int) -> Line:
            length = {"max_gen_toks": tokens, "until": []}
            settings = self.model.settings(self._asked(temperature) | length)
            request = self.model.request(prompt, settings.length)
            started = time.process_time()
            (made,) = decode(self.model, way, [request], settings).answers
            figures = ("accepted", "proposed", "beside", "target_calls", "near_ties")
            seconds = time.process_time() - started
            return {"tokens": made.tokens, "seconds": seconds} | {
                name: getattr(made, name) for name in figures
            }

        return answer

    def _theirs(self, drafter: str | None) -> Side:
        def answer(prompt: str, temperature: float, tokens: int) -> Line:
            request = self.model.request(prompt, tokens)
            asked = self._asked(temperature) | {"max_new_tokens": tokens}
            if drafter == "ngram":
                asked["prompt_lookup_num_tokens"] = self.options.gamma or 10
            elif drafter is not None and drafter.startswith(EARLY):
                asked["assistant_early_exit"] = int(drafter.removeprefix(EARLY))
                self._schedule(self.model.model.generation_config)
            elif drafter is not None:
                asked["assistant_model"] = self.model.source(drafter).model
                self._schedule(asked["assistant_model"].generation_config)
            ids = torch.tensor([request.prompt])
            started = time.process_time()
            made = self.model.model.generate(
                ids, attention_mask=torch.ones_like(ids), pad_token_id=self.ends[0], **asked
            )
            seconds = time.process_time() - started
            return {"tokens": made[0, ids.shape[1] :].tolist(), "seconds": seconds}

        return answer

    def _schedule(self, config: Any) -> None:
        gamma = self.options.gamma
        config.num_assistant_tokens = gamma or 20
        config.num_assistant_tokens_schedule = "constant"
        config.assistant_confidence_threshold = 0.0 if gamma else 0.4


def questions(path: Path, each: int, longest: int) -> Iterator[Line]:
    """The first of each category that are no longer than so many characters."""
    counts: dict[str, int] = defaultdict(int)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if counts[row["category"]] < each and len(row["turns"][0]) <= longest:
            counts[row["category"]] += 1
            yield row


def measured(options: argparse.Namespace) -> list[Line]:
    """All lines, those of a run before among them."""
    done: list[Line] = []
    if options.out.exists():
        done = [json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]
    known = {(line["id"], line["side"], line["temperature"]) for line in done}
    bench = Bench(options)
    sides = bench.sides()
    names, rows = list(sides), list(questions(options.questions, options.each, options.longest))
    todo = [
        (row, temperature, side)
        for number, row in enumerate(rows)
        for temperature in options.temperatures
        for side in names[number % len(names) :] + names[: number % len(names)]
        if (row["question_id"], side, temperature) not in known
    ]
    for answer in sides.values() if todo else ():  # what is set up at first, and first prices
        answer(bench.prompt("Why is the sky blue?"), todo[0][1], WARM_UP)
    with options.out.open("a", encoding="utf-8") as file:
        for row, temperature, side in todo:
            line = {
                "id": row["question_id"], "category": row["category"], "side": side,
                "temperature": temperature,
            }  # fmt: skip
            prompt = bench.prompt(row["turns"][0])
            done.append(line | sides[side](prompt, temperature, options.tokens))
            file.write(json.dumps(done[-1]) + "\n")
            file.flush()
    return done


def ratio(ours: Sequence[Line], theirs: Sequence[Line]) -> str:
    """Tokens a second over those of others on the same questions, with its interval."""
    peers = {line["id"]: line for line in theirs}
    pairs = [(line, peers[line["id"]]) for line in ours if line["id"] in peers]
    if not pairs:
        return "—"
    figures = np.array(
        [[len(a["tokens"]), a["seconds"], len(b["tokens"]), b["seconds"]] for a, b in pairs]
    )
    draws = np.random.default_rng(0).integers(0, len(pairs), (2000, len(pairs)))
    sums = np.stack([figures.sum(0), *figures[draws].sum(1)])
    found = sums[:, 0] / sums[:, 1] / (sums[:, 2] / sums[:, 3])
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return f"{found[0]:.2f}" + (f" [{low:.2f}, {high:.2f}]" if len(pairs) > 2 else "")


def report(lines: Sequence[Line], options: argparse.Namespace) -> None:
    """Print a table for each temperature."""
    for temperature in options.temperatures:
        print(f"\ntemperature {temperature:g}")
        print("| group | n | drafter | tokens a pass | accepted | × plain | × generate | × same |")
        print("|---|---|---|---|---|---|---|---|")
        here = [line for line in lines if line["temperature"] == temperature]
        groups = list(dict.fromkeys(map(group_of, here)))
        for group in [*groups, "all"]:
            table = [line for line in here if group in ("all", group_of(line))]
            by_side: dict[str, list[Line]] = defaultdict(list)
            for line in table:
                by_side[line["side"]].append(line)
            for name in options.drafters:
                print(f"| {group} | {row_of(name, by_side)} |")
            if group == "all":
                print(f"| all | plain: {ratio(by_side[PLAIN], by_side[GENERATE])} × generate |")
        if not temperature:
            same(here)


def row_of(name: str, by_side: dict[str, list[Line]]) -> str:
    """Figures of a drafter."""
    own = by_side[name]
    tokens, passes = (
        sum(len(line["tokens"]) for line in own), sum(line["target_calls"] for line in own)
    )  # fmt: skip
    share = sum(line["accepted"] for line in own) / max(1, sum(line["proposed"] for line in own))
    label = name if Path(name).name == name else Path(name).name
    ratios = [ratio(own, by_side[s]) for s in (PLAIN, GENERATE, f"{GENERATE} {name}")]
    return " | ".join([str(len(own)), label, f"{tokens / passes:.2f}", f"{share:.2f}", *ratios])


def group_of(line: Line) -> str:
    """Spec-Bench's group of a category."""
    return MULTI_TURN if line["category"] in MT_BENCH else str(line["category"])


def same(lines: Sequence[Line]) -> None:
    """Print how many greedy answers of each side are those of generate, and near-ties."""
    peers = {line["id"]: line["tokens"] for line in lines if line["side"] == GENERATE}
    for side in dict.fromkeys(line["side"] for line in lines):
        own = [line for line in lines if line["side"] == side and line["id"] in peers]
        equal = sum(line["tokens"] == peers[line["id"]] for line in own)
        ties = sum(line.get("near_ties", 0) for line in own)
        print(f"{side}: {equal} of {len(own)} answers as generate's; near-ties: {ties} tokens")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="testbed:smollm2")
    parser.add_argument("--questions", type=Path, help="Spec-Bench's question.jsonl")
    parser.add_argument("--drafters", nargs="+", default=["ngram", "early:4"])
    parser.add_argument("--each", type=int, default=1, help="questions of each category")
    parser.add_argument("--longest", type=int, default=3000, help="characters of a question")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--gamma", type=int, default=5, help="0: the default of either side")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument(
        "--out", type=Path, default=Path("out/spec_bench.jsonl"), help="answers, kept"
    )
    options = parser.parse_args()
    if options.questions is None:
        print("no questions are named, so none are answered")
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("transformers", "torch"))
    print(f"{options.target}, {options.dtype}, γ {options.gamma}; {versions}")
    report(measured(options), options)


if __name__ == "__main__":
    main()
