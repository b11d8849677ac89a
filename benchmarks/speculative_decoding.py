"""hf-speculative against transformers' generation, plain and assisted, and against lm-eval's hf.

    python benchmarks/speculative_decoding.py [--quick] [--rows 1 8 32] [--gammas 3 5]
    python benchmarks/speculative_decoding.py --target testbed:teacher --drafter testbed:student

All sides answer the same prompts with the same weights in one process, in turns of random order:

    plain       hf-speculative without a drafter
    default     hf-speculative with one, as far as it pays, which is the default
    no …        the default at the last γ without a part of it (--without)
    gumbel …    a fixed γ, each γ and, when sampling, each of two schemes
    generate    transformers' generate, a prompt at a time
    assisted    the same with assistant_model and γ assistant tokens, at each γ
    heuristic   the same with transformers' default of how many to draft
    hf          lm-eval's hf in batches, through generate_until

Printed is the median of tokens a second over the repeats, and of the ratio to a named peer over
pairs of the same turn, with the lowest and the highest; then what theory expects: acceptance, the
tokens a pass of the target writes (E), in passes of the target over one token the price of a
drafter's pass (c) and of one over γ + 1 tokens (v), and the ceilings E/(γ c + 1), as if a wide pass
cost what a narrow one does, and with the prices as they are. Greedy answers are compared.

Without --target a pair is made: a Llama of random weights in fp32 (16 blocks, hidden 1024, 189 M
parameters; one token at a time is bound by memory), and its first block as the drafter. What the
upper blocks add is scaled by --scale, so that the drafter is right most of the time. --quick takes
a smaller target and fewer prompts. Answers have --tokens tokens each, as no end is ever drawn. On a
machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from harness_specdecode.couplings.theory import speed_up, speed_up_here
from harness_specdecode.decoding import slots
from harness_specdecode.decoding.course import Course
from harness_specdecode.decoding.rounds import Answer
from harness_specdecode.measuring.comparing import Decoding
from harness_specdecode.measuring.costs import Shape, costs_of, measure
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness import compose
from harness.testbed import resolve
from harness.testbed.english import corpus

SpeculativeHF = compose("hf-speculative")

Answers = list[Any]  # tokens of each, or hf's texts
Side = Callable[[], Answers]

WORDS = 40
QUICK = {"hidden": 512, "blocks": 12, "tokens": 24, "prompts": 4, "repeats": 2, "scale": 0.07}
FULL = {"hidden": 1024, "blocks": 16, "tokens": 48, "prompts": 4, "repeats": 5, "scale": 0.04}


@dataclass(frozen=True)
class Bench:
    """``hf-speculative``, lm-eval's ``hf`` with the same target by batch size, and what is asked.

    ``made`` has the last answers of each way to decode.
    """

    model: Any
    stock: dict[int, Any]
    drafter: str
    options: argparse.Namespace
    temperature: float
    made: dict[Decoding, list[Answer]] = field(default_factory=dict)

    def requests(self, rows: int) -> list[Instance]:
        """As many prompts as rows, and at least ``--prompts``."""
        sampled = self.temperature > 0
        asked: dict[str, Any] = {
            "until": [],
            "max_gen_toks": self.options.tokens,
            "do_sample": sampled,
            "suppress_tokens": sorted(self.model.ends()),
        }
        if sampled:
            asked |= {"temperature": self.temperature, "top_k": 0}
        return [
            Instance("generate_until", {}, (text, asked), k)
            for k, text in enumerate(texts(max(rows, self.options.prompts)))
        ]

    def without(self, part: str, decoding: Decoding) -> Side:
        """As ``ours``, without guesses beside the draft, or with torch's own products."""
        left_out = {
            "beside": patch.object(Course, "beside", lambda course: []),
            "oneDNN": patch.object(slots, "quick_layers", lambda model: []),
        }[part]
        prices: dict[Any, Any] = {}
        alone = replace(self, made={})

        def side() -> Answers:
            with left_out, patch.object(self.model, "_paces", prices):
                return alone.ours(decoding)()

        return side

    def ours(self, decoding: Decoding) -> Side:
        """Answers of hf-speculative, by the parts of its ``generate_until``; they are kept."""

        def side() -> Answers:
            requests = self.requests(decoding.batch_size)
            settings = self.model.settings(requests[0].args[1])
            asked = self.model.asked(requests, settings.length)
            longest = max(len(request.prompt) for request in asked)
            found = dict(self.model.decoder(decoding, settings, longest).run(asked))
            self.made[decoding] = [found[k] for k in range(len(asked))]
            return [answer.tokens for answer in self.made[decoding]]

        return side

    def generate(self, assistant: Any = None, gamma: int = 0) -> Side:
        """Answers of transformers' generate, a prompt at a time; γ = 0 is its own schedule."""

        def side() -> Answers:
            found = []
            for request in self.requests(1):
                ids = torch.tensor([self.model.tok_encode(request.args[0])]).to(self.model.device)
                asked = dict(request.args[1])
                asked |= {"max_new_tokens": asked.pop("max_gen_toks"), "pad_token_id": 0}
                asked.pop("until")
                if assistant is not None:
                    scheduled(assistant.generation_config, gamma)
                    asked["assistant_model"] = assistant
                made = self.model.model.generate(ids, attention_mask=torch.ones_like(ids), **asked)
                found.append(made[0, ids.shape[1] :].tolist())
            return found

        return side

    def hf(self, rows: int) -> Side:
        """Answers of lm-eval's hf."""
        return lambda: self.stock[rows].generate_until(self.requests(rows), disable_tqdm=True)


def scheduled(config: Any, gamma: int) -> None:
    """Let an assistant draft γ tokens each time, or as transformers would."""
    config.num_assistant_tokens = gamma or 20
    config.num_assistant_tokens_schedule = "constant"
    config.assistant_confidence_threshold = 0.0 if gamma else 0.4


def texts(count: int) -> list[str]:
    """Beginnings of the testbed's documents."""
    documents = list(dict.fromkeys(row["doc"] for row in corpus.claims("test")))[:count]
    return [" ".join(text.split()[: WORDS - k % 8]) for k, text in enumerate(documents)]


def made_pair(folder: Path, options: argparse.Namespace) -> tuple[str, str]:
    """Save a target and its first block as a drafter; both have the testbed's tokenizer."""
    hidden = options.hidden
    shape = {
        "vocab_size": options.vocabulary, "hidden_size": hidden, "initializer_range": 0.03,
        "intermediate_size": 11 * hidden // 4, "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 256, "max_position_embeddings": 1024,
    }  # fmt: skip
    torch.manual_seed(0)
    target = LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=options.blocks))
    with torch.no_grad():
        target.model.embed_tokens.weight.normal_()
        target.lm_head.weight.normal_(std=4 / hidden**0.5)
        for block in target.model.layers[1:]:
            for part in (block.self_attn.o_proj, block.mlp.down_proj):
                part.weight.mul_(options.scale)
    drafter = LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=1))
    drafter.load_state_dict({name: target.state_dict()[name] for name in drafter.state_dict()})
    tokenizer = AutoTokenizer.from_pretrained(resolve("testbed:teacher"))
    for name, model in (("target", target), ("drafter", drafter)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return str(folder / "target"), str(folder / "drafter")


def timed(sides: dict[str, Side], options: argparse.Namespace) -> dict[str, list[float]]:
    """Tokens a second of each side, turn by turn, after one turn that does not count."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in sides}
    order, shuffled = list(sides), random.Random(0)
    for turn in range(-1, options.repeats):
        shuffled.shuffle(order)
        for name in order:
            start = clock()
            answers = sides[name]()
            if turn >= 0:
                found[name].append(len(answers) * options.tokens / (clock() - start))
    return found


def measured(bench: Bench, rows: int) -> None:
    """Print one batch size at one temperature."""
    gammas, peer = bench.options.gammas, "hf" if rows > 1 else "generate"
    schemes = bench.options.schemes if bench.temperature else bench.options.schemes[:1]
    plain = Decoding(drafter=bench.drafter, batch_size=rows)
    ways = {f"{s} γ{g}": replace(plain, scheme=s, gamma=g) for s in schemes for g in gammas}
    ways = {f"default γ{g}": replace(plain, gamma=g, adaptive=True) for g in gammas} | ways
    sides = {"plain": bench.ours(plain.plain)}
    sides |= {name: bench.ours(way) for name, way in ways.items()}
    for part in bench.options.without:
        sides[f"no {part}"] = bench.without(part, ways[f"default γ{gammas[-1]}"])
    sides[peer] = bench.hf(rows) if rows > 1 else bench.generate()
    if rows == 1:
        assistant = bench.model.source(bench.drafter).model
        sides |= {f"assisted γ{gamma}": bench.generate(assistant, gamma) for gamma in gammas}
        sides["heuristic"] = bench.generate(assistant)
    speeds = timed(sides, bench.options)
    print(f"\nbatch {rows}, temperature {bench.temperature:g}")
    for name, found in speeds.items():
        peers = ["plain", peer]
        if name in ways:
            peers += [f"assisted γ{ways[name].gamma}", "heuristic"]
        ratios = [against(p, found, speeds[p]) for p in peers if p in speeds and p != name]
        print(f"  {name:12} {statistics.median(found):8.2f} tokens/s   {'   '.join(ratios)}")
    if not bench.temperature:
        compare(bench, {name: side() for name, side in sides.items()}, peer)
    if bench.options.theory:
        expected(bench, ways, rows)


def against(peer: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The ratio to a peer: median of pairs, lowest and highest."""
    found = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{statistics.median(found):.2f} × {peer} ({found[0]:.2f}–{found[-1]:.2f})"


def compare(bench: Bench, answers: dict[str, Answers], peer: str) -> None:
    """Print how many greedy answers are the peer's; hf gives texts."""
    decode, shares = bench.model.tok_decode, []
    for name, found in answers.items():
        rows = [decode(row) for row in found] if peer == "hf" and name != peer else found
        same = sum(a == b for a, b in zip(rows, answers[peer], strict=True))
        shares.append(f"{name} {same} of {len(rows)}")
    print(f"  answers as {peer}'s: {', '.join(shares)}")


def expected(bench: Bench, ways: dict[str, Decoding], rows: int) -> None:
    """Print acceptance, prices and ceilings of each way."""
    requests = bench.requests(rows)
    settings = bench.model.settings(requests[0].args[1])
    lengths = [len(request.prompt) for request in bench.model.asked(requests, settings.length)]
    shape = Shape(batch_size=rows, prompt=sum(lengths) // len(lengths), answer=settings.length)
    schemes, gammas = sorted({w.scheme for w in ways.values()}), bench.options.gammas
    seconds = measure(
        bench.model, [bench.drafter], shape, settings.sampling,
        schemes=schemes, gammas=gammas, times=3 if bench.options.quick else 7,
    )  # fmt: skip
    for name, way in ways.items():
        answers = bench.made[way]
        accepted = sum(answer.accepted for answer in answers)
        tokens = sum(len(a.tokens) for a in answers) / sum(a.target_calls for a in answers)
        share = accepted / sum(answer.proposed for answer in answers)
        right = sum(answer.accepted - answer.beside for answer in answers)
        alpha = right / sum(answer.accepted - answer.beside + answer.wrong for answer in answers)
        costs = costs_of(seconds, shape, drafter=bench.drafter, scheme=way.scheme, gamma=way.gamma)
        flat = speed_up(tokens, way.gamma, costs.draft)
        here = speed_up_here(tokens, way.gamma, costs)
        print(
            f"  {name}: α {alpha:.2f}, accepted {share:.2f}, E {tokens:.2f}, c {costs.draft:.3f}, "
            f"v {costs.verify:.2f}; ceiling {flat:.2f} × plain at v = 1, {here:.2f} × as it is"
        )


def arguments() -> argparse.Namespace:
    """What the command line gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", help="checkpoint or testbed:NAME; one is made without it")
    parser.add_argument("--drafter", help="with --target")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--gammas", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--vocabulary", type=int, default=8192, help="of the made pair")
    for name, value in FULL.items():
        parser.add_argument(
            f"--{name}", type=type(value), help=f"default {value}, quick {QUICK[name]}"
        )
    parser.add_argument("--schemes", nargs="*", default=["gumbel", "leviathan"])
    parser.add_argument("--without", nargs="*", choices=("beside", "oneDNN"), default=[])
    parser.add_argument("--theory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    if (options.target is None) != (options.drafter is None):
        parser.error("give both --target and --drafter, or neither")
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> None:
    """Measure and print."""
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        target, drafter = options.target, options.drafter
        if target is None:
            target, drafter = made_pair(Path(place), options)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = SpeculativeHF(target, drafter=drafter, dtype=options.dtype, device=device)
        theirs = {"tokenizer": model.tokenizer, "device": device}
        stock = {n: HFLM(model.model, batch_size=n, **theirs) for n in options.rows if n > 1}
        drafting = model.source(drafter).model
        sizes = [m.num_parameters() / 1e6 for m in (model.model, drafting)]
        print(f"target {sizes[0]:.1f} M parameters, drafter {sizes[1]:.1f} M, {model.device}")
        for temperature in options.temperatures:
            for rows in options.rows:
                measured(Bench(model, stock, drafter, options, temperature), rows)


if __name__ == "__main__":
    main()
