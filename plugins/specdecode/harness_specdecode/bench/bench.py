"""``harness specdecode bench``: ways to decode, each against plain decoding in the same run.

Units of work are: the target's answers, agreement along them for a drafting model, prices of
passes at a batch size, and each way to decode. A finished unit is kept in a file beside the folder
to come, under the hash of all that it depends on, so that the same command again does only what is
missing; the file goes when the folder is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from tqdm import tqdm

from harness import HarnessError, compose
from harness.artefacts.making import making
from harness.artefacts.recipes import kept
from harness.asking.store import Store, key_of
from harness_specdecode.bench.options import WORDS, Options
from harness_specdecode.data.prompts import coupling_prompts
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.rounds import Request
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.settings import Settings
from harness_specdecode.measuring.along import Position, agreements
from harness_specdecode.measuring.comparing import Decoding, Run, decode
from harness_specdecode.measuring.costs import Seconds, Shape, costs_of, machine, measure
from harness_specdecode.report import MANIFEST, write_report
from harness_specdecode.report.table import Line, Result, line_of

SAMPLED = 200
"""Positions at which couplings are sampled, for each drafting model."""


def run(options: Options) -> Result:
    """Measure what is missing, and write the folder.

    Raises:
        HarnessError: An option is out of range, a model cannot be loaded or decoded this way, there
            are no prompts, or the folder holds something else.
    """
    rows = coupling_prompts(specbench_data=options.prompts).rows[: options.limit]
    prompts = [row["prompt"] for row in rows]
    recipe = options.recipe(prompts)
    place = options.out.absolute()
    store = Store(place.with_name(f".{place.name}.units.jsonl"))
    manifest = kept(options.out, recipe, name=MANIFEST, words=WORDS)
    if manifest is not None:
        store.path.unlink(missing_ok=True)  # a kill may have left it
        lines = [Line(**line) for line in manifest["lines"]]
        return Result(lines, dict(manifest), {}, present=True)
    with making(options.out, "bench", lambda: _told(store)):
        result = _Bench(options, prompts, recipe, store).measured()
        write_report(options.out, recipe, result)
        store.path.unlink(missing_ok=True)
    return result


def _told(store: Store) -> str:
    """What of an interrupted bench is kept, as a part of a sentence."""
    if not store:
        return "no unit was finished, and nothing is kept"
    return f"{len(store)} units are kept in {store.path}: the same command does only the rest"


class _Bench:
    """The models, the requests, and the units that are done."""

    def __init__(
        self, options: Options, prompts: Sequence[str], recipe: Mapping[str, Any], store: Store
    ) -> None:
        self.store = store
        self.options = options
        arguments: dict[str, Any] = {}
        if options.dtype != "auto":
            arguments["drafter_dtype"] = options.dtype
        self.model: Any = compose("hf-speculative")(
            options.target,
            batch_size=1,
            seed=options.seed,
            device=_device(options.device),
            dtype=_dtype(options.dtype),
            revision=options.revision,
            **arguments,
        )
        self.sources = {name: self.model.source(name) for name in options.drafters}
        self.chat = options.chat_template
        if self.chat is None:
            self.chat = bool(getattr(self.model.tokenizer, "chat_template", None))
        self.requests = self._requests(prompts)
        self.settings = Settings(Sampling(temperature=options.temperature), options.tokens, ())
        self._machine = machine(self.model)
        left_out = ("drafters", "gammas", "schemes", "batch_sizes", "repeats", "draws")
        self._of_all = {k: v for k, v in recipe.items() if k not in left_out} | self._machine
        self._shas = recipe["drafters"]

    def _requests(self, prompts: Sequence[str]) -> list[Request]:
        texts = list(prompts)
        if self.chat:
            if not self.model.tokenizer.chat_template:
                raise HarnessError(
                    f"{self.options.target} has no chat template: give --no-chat-template"
                )
            turns = ([{"role": "user", "content": text}] for text in prompts)
            texts = [self.model.apply_chat_template(turn) for turn in turns]
        return [self.model.request(text, self.options.tokens) for text in texts]

    def measured(self) -> Result:
        """All units, from the file or done now."""
        options = self.options
        ways = [one for size in options.batch_sizes for one in options.decodings(size)]
        models = [name for name, source in self.sources.items() if source.model is not None]
        lines, prices = [], {}
        with tqdm(
            total=1 + len(models) + len(options.batch_sizes) + len(ways),
            desc="Bench",
            unit="unit",
        ) as self._bar:
            answers = self._unit({"unit": "answers"}, self._answers)
            along = {name: self._agreements(name, answers) for name in models}
            for size in options.batch_sizes:
                found = {}
                for way in options.decodings(size):
                    found[way] = self._way(way)
                    if len(found) == len(options.schemes):  # plain decoding is done
                        shape, seconds = self._prices(size, next(iter(found.values())), models)
                        prices[str(size)] = {**asdict(shape), "seconds": seconds}
                lines += [self._line(way, one, along, shape, seconds) for way, one in found.items()]
        return Result(lines, self._facts(prices), along)

    def _unit(self, unit: Mapping[str, Any], work: Any, name: str = "") -> Any:
        """A unit's value, from the file or worked out and kept."""
        self._bar.set_postfix_str(name or str(unit["unit"]))
        key = key_of(**self._of_all, **unit)
        if key not in self.store:
            self.store.put(key, work())
        self._bar.update()
        return self.store[key]

    def _way(self, way: Decoding) -> dict[str, Any]:
        repeats = self.options.repeats
        unit = {"unit": "way", **asdict(way), "repeats": repeats}
        unit["drafter_sha256"] = self._shas.get(way.drafter)

        def work() -> dict[str, Any]:
            return measure_cell(self.model, way, self.requests, self.settings, repeats)

        found: dict[str, Any] = self._unit(unit, work, way.name)
        return found

    def _answers(self) -> list[list[int]]:
        """Tokens of the target's answers."""
        plain = Decoding(scheme=self.options.schemes[0], batch_size=max(self.options.batch_sizes))
        return [
            one.tokens for one in decode(self.model, plain, self.requests, self.settings).answers
        ]

    def _agreements(self, name: str, answers: Sequence[Sequence[int]]) -> list[list[Position]]:
        def work() -> list[list[Position]]:
            return agreements(
                self.model.model,
                self.sources[name].model,
                self.requests,
                answers,
                self.settings.sampling,
                noise=self.model.noise,
                draws=self.options.draws,
                sampled=SAMPLED,
            )

        unit = {
            "unit": "agreement", "drafter": name, "draws": self.options.draws,
            "drafter_sha256": self._shas[name],
        }  # fmt: skip
        found: list[list[Position]] = self._unit(unit, work, f"agreement with {name}")
        return found

    def _prices(
        self, size: int, plain: Mapping[str, Any], models: Sequence[str]
    ) -> tuple[Shape, Seconds]:
        """What passes cost, with as many rows as plain decoding had on average."""
        counts = plain["counts"]
        prompts = sum(len(request.prompt) for request in self.requests)
        shape = Shape(
            batch_size=max(1, round(counts["target_calls"] / counts["target_passes"])),
            prompt=round(prompts / len(self.requests)),
            answer=max(1, round(counts["tokens"] / counts["answers"])),
        )
        options = self.options
        unit = {
            "unit": "prices", **asdict(shape), "drafters": list(models),
            "schemes": list(options.schemes), "gammas": list(options.gammas),
        }  # fmt: skip

        def work() -> Seconds:
            return measure(
                self.model, models, shape, self.settings.sampling, schemes=options.schemes,
                gammas=options.gammas,
            )  # fmt: skip

        return shape, self._unit(unit, work, f"prices of passes, batch {size}")

    def _line(
        self,
        way: Decoding,
        measured: Mapping[str, Any],
        along: Mapping[str, list[list[Position]]],
        shape: Shape,
        seconds: Seconds,
    ) -> Line:
        gamma = 0 if way.drafter == NONE else way.gamma
        costs = costs_of(seconds, shape, drafter=way.drafter, scheme=way.scheme, gamma=gamma)
        return line_of(
            way,
            measured,
            along.get(way.drafter),
            costs,
            limit=self.options.tokens,
            greedy=self.options.greedy,
        )

    def _facts(self, prices: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "machine": self._machine,
            "chat_template": self.chat,
            "parameters": {
                self.options.target: self.model.model.num_parameters(),
                **{
                    name: source.model.num_parameters()
                    for name, source in self.sources.items()
                    if source.model is not None
                },
            },
            "prices": dict(prices),
        }


def _device(asked: str | None) -> str:
    """The device asked for, else the first GPU, else the CPU.

    Raises:
        HarnessError: There is none of this name.
    """
    chosen = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as cause:
        raise HarnessError(
            f"--device {chosen}: there is none; give cpu, cuda, cuda:1, …"
        ) from cause
    return chosen


def _dtype(asked: str) -> str:
    """The dtype asked for.

    Raises:
        HarnessError: There is none of this name.
    """
    if asked != "auto" and not isinstance(getattr(torch, asked, None), torch.dtype):
        raise HarnessError(f"--dtype {asked}: give auto, float32, bfloat16, float16 or float64")
    return asked


_SUMMED = ("accepted", "wrong", "proposed", "target_calls", "near_ties")


def measure_cell(
    model: Any,
    way: Decoding,
    requests: Sequence[Request],
    settings: Settings,
    repeats: int,
) -> dict[str, Any]:
    """Run a way to decode and plain decoding in turn, each first by turns; a warm-up apart.

    Returns:
        ``speeds`` and ``plain``: tokens a second of each repeat; ``counts``: of the first one.
    """
    speeds: dict[bool, list[float]] = {True: [], False: []}
    first: dict[bool, Run] = {}
    for number in range(repeats):
        for own in (True, False) if number % 2 else (False, True):
            done = decode(model, way if own else way.plain, requests, settings, warm_up=not number)
            speeds[own].append(sum(len(one.tokens) for one in done.answers) / done.seconds)
            first.setdefault(own, done)
    pairs = zip(first[True].answers, first[False].answers, strict=True)
    counts = _counts(first[True]) | {"identical": sum(a.tokens == b.tokens for a, b in pairs)}
    return {"speeds": speeds[True], "plain": speeds[False], "counts": counts}


def _counts(done: Run) -> dict[str, int]:
    def total(name: str) -> int:
        return sum(int(getattr(answer, name)) for answer in done.answers)

    return {
        "answers": len(done.answers),
        "tokens": sum(len(answer.tokens) for answer in done.answers),
        **{n: total(n) for n in _SUMMED},
        "target_passes": done.target_passes,
        "drafter_passes": done.drafter_passes,
    }
