r"""``hf-speculative``: lm-eval's ``hf``, its generation sped up by speculative decoding.

    lm_eval --model hf-speculative --model_args pretrained=M,drafter=D,gamma=5 --tasks …

Only ``generate_until`` is changed; log-likelihoods and chat templates are ``hf``'s own. Prompts are
encoded, cut and padded, and answers are cut at their stops, by lm-eval's code; what lies between is
``decoding``. Up to ``batch_size`` rows are decoded together, those with equal options at a time,
the longest prompts first; a row that ends makes room for the next. Greedy requests and the schemes
``gumbel`` and ``minhash`` give the same answers with any drafter, γ and batch. What another part of
the model does to a request (``hf-steered+speculative``) is done in each pass of the target; the
drafter is as it is.

The noise's key of a request is of the seed, the prompt's tokens, the number of times the same was
asked before it, and what other parts do to the model for it.

Deviations from ``hf``: a row ends at its first stop, also where ``hf`` writes on because of other
rows; and at the tokenizer's end token, even if the model's generation_config.json does not name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from lm_eval.models.utils import postprocess_generated_text
from tqdm import tqdm

from harness import Completion, HarnessError, HFWrapper, Prompt, traced
from harness.models.requests import in_groups, told
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.arguments import NO_USE_CACHE
from harness_specdecode.decoding.decoder import Decoder
from harness_specdecode.decoding.drafter_sources import NONE, Source, open_source
from harness_specdecode.decoding.drafters import CATCH_UP
from harness_specdecode.decoding.pace import Pace
from harness_specdecode.decoding.rounds import Answer, Request
from harness_specdecode.decoding.schemes import GUMBEL, LEVIATHAN, scheme_for
from harness_specdecode.decoding.settings import Settings, ended, settings_of, stop_test
from harness_specdecode.decoding.slots import SlotModel, supported
from harness_specdecode.measuring import coupling, invariance, spec_bench
from harness_specdecode.measuring.comparing import Decoding, alike
from harness_specdecode.models.marks import marks_of
from harness_specdecode.requests import DRAFTERS, DRAWS, TURNS

_AUTO_BATCH = 8
_EXACT_GAMMA = 8
_EXACT = (torch.float32, torch.float64)
_MEASURED = {  # by a column of the task's rows
    DRAWS: coupling.measured, TURNS: spec_bench.measured, DRAFTERS: invariance.measured,
}  # fmt: skip


class SpeculativeMixin(HFWrapper):
    """Speeds up an ``HFLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: The target: model id or path, ``testbed:NAME``, or a loaded model.
        drafter: Model id or path, ``testbed:NAME``, ``ngram``, ``early:N`` or ``none``.
        drafter_revision: The drafter's revision on the hub.
        drafter_dtype: Its weights' dtype; ``auto`` takes the checkpoint's.
        gamma: Tokens drafted a round, at most.
        scheme: ``gumbel``, ``minhash`` or ``leviathan``.
        adaptive: Whether fewer are drafted, or none, where that pays; by default with a drafter
            and a scheme whose answers do not depend on it.
        exact: Give every forward pass one shape (γ up to 8), so that rounding is the same for any
            drafter and γ; fp32 and fp64 only.
        seed: Seed of the noise.
        **kwargs: As for ``HFLM``, and ``response_cache``.

    Raises:
        HarnessError: A model cannot be loaded or decoded this way, or an argument is out of range.
    """

    no_use_cache = NO_USE_CACHE
    no_matter = frozenset(  # they are in the identity
        {"drafter", "gamma", "scheme", "adaptive", "exact", "seed"}
    )
    passes_by = ("_model_generate", "generate_until")

    def __init__(
        self,
        pretrained: Any,
        *,
        drafter: str | None = NONE,
        drafter_revision: str = "main",
        drafter_dtype: str = "auto",
        gamma: int = 5,
        scheme: str = GUMBEL,
        adaptive: bool | None = None,
        exact: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        drafter = drafter or NONE
        if adaptive is None:
            adaptive = drafter != NONE and scheme != LEVIATHAN
        given = Decoding(drafter=drafter, gamma=gamma, scheme=scheme, adaptive=adaptive)
        super().__init__(pretrained, **kwargs)
        if self.backend != "causal":
            raise HarnessError(f"model {pretrained} is no causal language model")
        supported(self.model)
        if exact and (self.model.dtype not in _EXACT or self.mixed_precision_dtype):
            raise HarnessError(
                f"exact=true needs dtype=float32 or float64, and the model is {self.model.dtype}: "
                f"in fewer bits equal shapes do not make equal tokens"
            )
        self.exact, self.noise = exact, Noise(int(seed), self.device)
        batch = self.batch_size if isinstance(self.batch_size, int) else _AUTO_BATCH
        self.decoding = replace(given, batch_size=batch)
        self._opened: dict[str, Source] = {}
        self._paces: dict[Any, Pace] = {}
        self._drafter_dtype = drafter_dtype
        self.drafts = self.source(given.drafter, drafter_revision)
        self._totals: Counter[str] = Counter()

    def source(self, name: str, revision: str = "main") -> Source:
        """A drafter by its name; what was opened once is kept.

        Raises:
            HarnessError: It cannot be opened.
        """
        if name not in self._opened:
            self._opened[name] = open_source(
                name, self.model, self.tokenizer, revision=revision, dtype=self._drafter_dtype
            )
        return self._opened[name]

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model and of the decoding."""
        drafting = self.drafts.model
        found = dict(super().get_model_info()) | {
            "drafter": self.drafts.name,
            "gamma": self.decoding.gamma,
            "scheme": self.decoding.scheme,
            "adaptive": self.decoding.adaptive,
            "exact": self.exact,
            "noise_seed": self.noise.seed,
            "speculation": dict(self._totals),
        }
        if drafting is not None:
            found["drafter_num_parameters"] = drafting.num_parameters()
            found["drafter_dtype"] = str(drafting.dtype)
        return found

    def identity(self) -> dict[str, Any]:
        return super().identity() | {
            "decoding": asdict(replace(self.decoding, batch_size=1)),
            "drafter": self.drafts.sha256,
            "exact": self.exact,
            "noise_seed": self.noise.seed,
        }

    def labels(self) -> dict[str, str | None]:
        drafting = f", γ {self.decoding.gamma}" if self.drafts.name != NONE else ""
        return super().labels() | {"speculative": f"{self.drafts.name}{drafting}"}

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Answers, each a ``Completion`` whose trace says how it was decoded."""
        answers: dict[int, Any] = {}
        for mark, measured in _MEASURED.items():
            places = [
                i for i, r in enumerate(requests) if isinstance(r.doc, dict) and mark in r.doc
            ]
            if places:
                rows = self.prompted([requests[i] for i in places])
                made = measured(self, rows, disable_tqdm or self.rank != 0)
                for place, row, answer in zip(places, rows, made, strict=True):
                    answers[place] = traced(answer, **told(row.args[0].notes))
        rest = [i for i in range(len(requests)) if i not in answers]
        if rest:
            made = super().generate_until([requests[i] for i in rest], disable_tqdm)
            answers |= zip(rest, made, strict=True)
        return [answers[i] for i in range(len(requests))]

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        quiet = disable_tqdm or self.rank != 0

        def decode(rows: list[Any]) -> list[Any]:
            made: dict[int, Any] = {}
            for group in alike(row.args[1] for row in rows):
                for place, answer in self._decoded(rows, group):
                    self.cache_hook.add_partial("generate_until", rows[place].args, answer)
                    made[place] = answer
                    bar.update()
            return [made[place] for place in range(len(rows))]

        with tqdm(total=len(requests), disable=quiet, desc="Speculative decoding") as bar:
            return in_groups(requests, decode) if self.uniform else decode(requests)

    def _decoded(
        self, requests: Sequence[Any], places: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        """Answers to requests of equal options, as they end."""
        settings = self.settings(requests[places[0]].args[1])
        asked = self.asked([requests[i] for i in places], settings.length)
        order = sorted(range(len(asked)), key=lambda k: -len(asked[k].prompt))
        rows = replace(self.decoding, batch_size=min(self.decoding.batch_size, len(asked)))
        decoder = self.decoder(rows, settings, len(asked[order[0]].prompt))
        for number, answer in decoder.run([asked[k] for k in order]):
            yield places[order[number]], self.completion(answer, settings)

    def settings(self, options: Mapping[str, Any]) -> Settings:
        """What a request's generation options mean to this model.

        Raises:
            HarnessError: An option is not supported, or its value is out of range.
        """
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        defaults = self.model.generation_config
        return ended(settings_of(options, defaults, self.max_gen_toks, end), defaults)

    def asked(self, requests: Sequence[Any], length: int) -> list[Request]:
        """lm-eval's requests, as the decoder takes them."""
        return [self.request(request.args[0], length) for request in requests]

    def request(self, text: str, length: int) -> Request:
        """A prompt as tokens, cut at its start where it and the answer exceed the context.

        Args:
            text: The prompt; a ``Prompt`` knows how often the same was asked before.
            length: Tokens of the answer at most.

        Raises:
            HarnessError: The answer alone fills the context.
        """
        room = self.max_length - length
        if room < 1:
            raise HarnessError(
                f"max_gen_toks={length} leaves no room for a prompt: the model's context is "
                f"{self.max_length} tokens"
            )
        ids, mask = self.tok_batch_encode(
            [text], left_truncate_len=room, truncation=self.truncation
        )
        prompt = ids[0][mask[0].bool()].tolist() or [self.prefix_token_id]
        asked = text if isinstance(text, Prompt) else None
        apart = (asked.repeat, asked.treatment) if asked is not None else ()
        return Request(prompt, request_key(self.noise.seed, prompt, *apart), length, asked)

    def decoder(self, decoding: Decoding, settings: Settings, longest: int) -> Decoder:
        """A decoder of ``decoding.batch_size`` rows.

        Args:
            decoding: The way to decode.
            settings: How tokens are drawn, and where answers end.
            longest: Tokens of the longest prompt.

        Raises:
            HarnessError: The drafter cannot be opened.
        """
        widest = max(decoding.gamma, _EXACT_GAMMA if self.exact else 0) + 1
        room = max(widest, CATCH_UP)

        def slots(model: Any, fixed_width: int = 0) -> SlotModel:
            return SlotModel(
                model, rows=decoding.batch_size, capacity=longest + settings.length + room,
                fixed_width=fixed_width, autocast=self.autocast,
            )  # fmt: skip

        return Decoder(
            slots(self.model, widest if self.exact else 0),
            self.source(decoding.drafter).drafter(slots),
            scheme_for(decoding.scheme, self.noise, greedy=settings.sampling.greedy),
            settings.sampling,
            gamma=decoding.gamma,
            adaptive=decoding.adaptive,
            pace=self._pace(decoding, settings),
            ends=self.ends(),
            stopped=stop_test(
                settings.until, lambda ids: self.tok_decode(ids, skip_special_tokens=False)
            ),
            passes=self.passes,
        )

    def _pace(self, decoding: Decoding, settings: Settings) -> Pace | None:
        """What is known of such rounds; nothing where answers would depend on a clock."""
        if decoding.scheme == LEVIATHAN and not settings.sampling.greedy:
            return None
        way = decoding.drafter, decoding.gamma, decoding.scheme, settings.sampling
        key = (id(self.model), *way)  # another model may stand in
        if key not in self._paces:
            self._paces[key] = Pace(decoding.gamma, self.source(decoding.drafter).cost)
        return self._paces[key]

    def completion(self, answer: Answer, settings: Settings) -> Completion:
        """The text with the trace of its making, which the run's totals count."""
        trace = {
            name: getattr(answer, name)
            for name in (
                "accepted", "proposed", "accepted_at", "target_calls", "drafter_calls", "near_ties"
            )
        }  # fmt: skip
        trace |= {"tokens": len(answer.tokens), "seconds": answer.seconds}
        self._totals.update({"answers": 1} | {k: v for k, v in trace.items() if isinstance(v, int)})
        text = self.text(answer, settings)
        if marks := marks_of(answer, text, self.tok_decode):
            trace["marks"] = marks
        return Completion(text, {"speculation": trace})

    def text(self, answer: Answer, settings: Settings) -> str:
        """An answer's text, cut as ``hf`` cuts it."""
        ids, mark = answer.tokens, self.think_end_token
        if isinstance(mark, int) and mark in ids:
            ids = ids[len(ids) - ids[::-1].index(mark) :]
        text = self.tok_decode(ids)
        found: str = postprocess_generated_text(
            generation=text.lstrip() if isinstance(mark, int) else text,
            stop=list(settings.until),
            think_end_token=mark if isinstance(mark, str) else None,
        )
        return found
