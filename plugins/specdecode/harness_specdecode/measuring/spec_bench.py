r"""A model with and without its drafter on the same conversations, for ``spec_bench``.

Xia et al. 2024, *Unlocking Efficiency in Large Language Model Inference* (arXiv 2401.07851).

A question has one turn or several. Each turn's prompt is the conversation so far, with the model's
own answers in it, in the chat template if the run has one, else as paragraphs. Up to ``batch_size``
questions of one group are asked together, and each of their turns is decoded twice, in the model's
own way and plainly, on the same prompts, with the same noise and one right after the other; which
goes first alternates, so that a machine that warms up or is shared does not favour one. Before the
first batch (each batch on a GPU) a few tokens are decoded outside of the time. The answers that go
into the conversation are those of the model's own way.

**Seconds.** The wall time of a batch's turn, the reading of its prompts included, is shared out
among the rows by the target's passes that each took part in: a row with c_i passes of Σc has
S c_i / Σc of S seconds. Sums over a batch, and so over a group, are what the clock said.

The trace of an answer, which any model may give:

    {"spec_bench": {"batch": "0-3", "turns": [{"answer": "…", "identical": true,
        "speculative": {"tokens": 61, "seconds": 0.4, "target_calls": 17, "accepted": 44,
                        "proposed": 85},
        "plain": {"tokens": 61, "seconds": 1.1, "target_calls": 61, "accepted": 0,
                  "proposed": 0}}]}}

where questions of one ``batch`` had their time measured together.

Deviations: the answer ends where the context does; a prompt is cut at its start only where it
leaves less than ``max_gen_toks`` and less than half of the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm import tqdm

from harness import Completion, HarnessError, Prompt, trace_of
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.rounds import Request
from harness_specdecode.decoding.settings import Settings
from harness_specdecode.measuring.comparing import Decoding, Run, alike, decode
from harness_specdecode.requests import CHAT, GROUP, SPEC_BENCH, TURNS

_GAP = "\n\n"


@dataclass
class _Talk:
    """A question while it is asked.

    Args:
        request: lm-eval's request.
        turns: What was measured at each turn so far.
    """

    request: Any
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def questions(self) -> Sequence[str]:
        return self.request.doc[TURNS]  # type: ignore[no-any-return]


def measured(model: Any, requests: Sequence[Any], quiet: bool) -> list[Completion]:
    """The last turn's answers, with what was measured at each turn.

    Args:
        model: The ``hf-speculative`` model.
        requests: One request a question; their prompts are ``Prompt``.
        quiet: Whether to show no progress.

    Raises:
        HarnessError: The model has no drafter, or an option is not supported.
    """
    if model.decoding.drafter == NONE:
        raise HarnessError(
            "spec_bench compares a drafter with plain decoding, and there is none: give "
            "--model_args drafter=MODEL, drafter=ngram or drafter=early:N"
        )
    talks = [_Talk(request) for request in requests]
    answers: dict[int, Completion] = {}
    total = 2 * sum(len(talk.questions) for talk in talks)
    with tqdm(total=total, disable=quiet, desc="Spec-Bench") as bar:
        clock = _Clock(model, bar)
        for number, places in enumerate(_batches(requests, model.decoding.batch_size)):
            _hold(model, [talks[i] for i in places], clock)
            for i in places:
                found = {"batch": f"{model.rank}-{number}", "turns": talks[i].turns}
                answers[i] = Completion(talks[i].turns[-1]["answer"], {SPEC_BENCH: found})
    return [answers[i] for i in range(len(requests))]


def _batches(requests: Sequence[Any], size: int) -> Iterator[list[int]]:
    """Places of the questions that are asked together: of one group and with equal options."""
    for places in alike((request.doc[GROUP], request.args[1]) for request in requests):
        for start in range(0, len(places), size):
            yield places[start : start + size]


def _hold(model: Any, talks: Sequence[_Talk], clock: _Clock) -> None:
    """Ask all turns of some questions."""
    settings = model.settings(talks[0].request.args[1])
    for turn in range(max(len(talk.questions) for talk in talks)):
        asked = [talk for talk in talks if len(talk.questions) > turn]
        requests = [_request(model, talk, settings.length) for talk in asked]
        own, plain = clock.both(requests, settings)
        figures = [_figures(run) for run in (own, plain)]
        for k, talk in enumerate(asked):
            answer = model.completion(own.answers[k], settings)
            talk.turns.append(
                {
                    "answer": str(answer),
                    "marks": trace_of(answer)["speculation"].get("marks", []),
                    "identical": own.answers[k].tokens == plain.answers[k].tokens,
                    "speculative": figures[0][k],
                    "plain": figures[1][k],
                }
            )


def _request(model: Any, talk: _Talk, length: int) -> Request:
    """The conversation so far as a prompt."""
    kept = min(length, model.max_length // 2)
    request: Request = model.request(_prompt(model, talk), kept)
    return replace(request, limit=min(length, model.max_length - len(request.prompt)))


def _prompt(model: Any, talk: _Talk) -> Prompt:
    """The same request with more words."""
    first: Prompt = talk.request.args[0]
    return first.saying(_words(model, talk))


def _words(model: Any, talk: _Talk) -> str:
    first, chat = talk.request.args[0], talk.request.doc[CHAT]
    answers = [turn["answer"] for turn in talk.turns]
    if not answers:
        return str(first)
    later = list(zip(answers, talk.questions[1:], strict=False))  # one question more in hand
    if chat is None:
        return _GAP.join([first, *(text for pair in later for text in pair)])
    messages = [{"role": "system", "content": chat["system"]}] if chat["system"] else []
    messages.append({"role": "user", "content": talk.questions[0]})
    for answer, question in later:
        messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": question})
    return str(model.apply_chat_template(messages))


class _Clock:
    """Decodes in the model's own way and plainly, taking turns in going first."""

    def __init__(self, model: Any, bar: tqdm[Any]) -> None:
        self._model, self._bar = model, bar
        self._always_warm = model.device.type != "cpu"
        self._times = 0

    def both(self, requests: Sequence[Request], settings: Settings) -> tuple[Run, Run]:
        """The own run and the plain one."""
        own: Decoding = self._model.decoding
        ways = [own, own.plain]
        longest = replace(settings, length=max(request.limit for request in requests))
        found = {
            way: decode(
                self._model, way, requests, longest,
                warm_up=self._always_warm or not self._times, on_answer=self._bar.update,
            )
            for way in (ways[::-1] if self._times % 2 else ways)
        }  # fmt: skip
        self._times += 1
        return found[own], found[own.plain]


def _figures(run: Run) -> list[dict[str, Any]]:
    """What each row took; the seconds shared out by the target's passes."""
    passes = sum(answer.target_calls for answer in run.answers)
    return [
        {
            "tokens": len(answer.tokens),
            "seconds": run.seconds * answer.target_calls / passes,
            "target_calls": answer.target_calls,
            "accepted": answer.accepted,
            "proposed": answer.proposed,
        }
        for answer in run.answers
    ]
