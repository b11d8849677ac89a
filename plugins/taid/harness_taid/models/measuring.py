"""Student and teacher compared along texts, for ``taid_fidelity``.

Along the reference both models read prompt and response; along their own samples the student or the
teacher first writes an answer (``own_samples``) to the prompt. Then each model reads the text once,
and what it predicts for the answer's tokens, its end among them, is compared (``fidelity``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from harness import Completion, HarnessError, Prompt
from harness.models.responses import pieces
from harness_taid.metrics.fidelity import logits_behind, token_figures
from harness_taid.models.own_samples import own_samples
from harness_taid.requests import ALONG, FIDELITY, PIECES, REFERENCE, SEED, STUDENT

_CELLS = 1 << 28
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "until": ([], None),
    "do_sample": (True,),
    "temperature": (1, None),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A student and its teacher.

    Args:
        student: The student.
        teacher: The teacher.
        width: Ids that they share.
        room: Tokens of a text that both can read.
        ends: Tokens that end an answer.
        edited: Entered with prompts and their numbers of tokens around the student's passes.
    """

    student: Any
    teacher: Any
    width: int
    room: int
    ends: frozenset[int]
    edited: Callable[[Sequence[Prompt], Sequence[int]], AbstractContextManager[None]]


@dataclass(frozen=True)
class Asked:
    """One request in tokens.

    Args:
        prompt: Token ids, at least one.
        response: Those of the reference, its end token included; none where it is not read.
        along: The texts to compare along.
        length: Tokens of a sample, at most.
        seed: Seed of the samples.
        text: The prompt, with what other parts of the model say of it.
    """

    prompt: list[int]
    response: list[int]
    along: tuple[str, ...]
    length: int
    seed: int
    text: Prompt

    @property
    def tokens(self) -> int:
        """Tokens of prompt and reference."""
        return len(self.prompt) + len(self.response)


def asked(model: Any, request: Any) -> Asked:
    """Read a request.

    Args:
        model: The ``hf-distilled`` model.
        request: What is asked.

    Raises:
        HarnessError: It asks for what is not measured.
    """
    options = dict(request.args[1])
    length = int(options.pop("max_gen_toks", model.max_gen_toks))
    for name, value in options.items():
        if name not in _PLAIN or value not in _PLAIN[name]:
            raise HarnessError(
                f"{name}={value} in --gen_kwargs: fidelity is of the whole distributions at "
                f"temperature 1; max_gen_toks alone can be set"
            )
    if length < 1:
        raise HarnessError(f"max_gen_toks={length}: give at least 1")
    along, seed = tuple(request.doc[ALONG]), int(request.doc[SEED])
    reference = request.doc["response"] if REFERENCE in along else None
    prompt, response = model.encoded(request.args[0], reference)
    return Asked(prompt, response, along, length, seed, request.args[0])


def measured(
    pair: Pair,
    rows: Sequence[Asked],
    *,
    batch: int,
    autocast: AbstractContextManager[Any],
    decode: Any,
    quiet: bool,
) -> list[Completion]:
    """Compare the two models along the texts of each row.

    Args:
        pair: Student and teacher.
        rows: What is asked; those alike in options are read together, the longest first.
        batch: Rows at a time, at most.
        autocast: In which the models run; entered once.
        decode: Token ids → text.
        quiet: Whether to show no progress.

    Returns:
        For each row the first text's answer, with the figures of all texts in its trace.
    """
    found: dict[int, Completion] = {}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda k: -rows[k].tokens):
        row = rows[place]
        groups.setdefault((row.along, row.length, row.seed), []).append(place)
    with autocast, tqdm(total=len(rows), disable=quiet, desc="Fidelity") as bar:
        for places in groups.values():
            for start in range(0, len(places), batch):
                part = places[start : start + batch]
                made = _batch(pair, [rows[k] for k in part], decode)
                found |= zip(part, made, strict=True)
                bar.update(len(part))
    return [found[k] for k in range(len(rows))]


def _batch(pair: Pair, rows: Sequence[Asked], decode: Any) -> list[Completion]:
    """Rows that are alike in all but their texts."""
    traces: list[dict[str, Any]] = [{"cut": False} for _ in rows]
    read: list[dict[str, list[str]]] = [{} for _ in rows]
    answers: list[list[int]] = []
    for kind in rows[0].along:
        texts = _texts(pair, rows, kind)
        answers = answers or [answer for _, answer in texts]
        for row, trace, words, (prompt, answer), figures in zip(
            rows, traces, read, texts, _compared(pair, rows, texts), strict=True
        ):
            trace[kind] = figures
            words[kind] = pieces(answer, decode)
            trace["cut"] |= len(prompt) < len(row.prompt)
            trace["cut"] |= kind == REFERENCE and len(answer) < len(row.response)
    cut = sum(trace["cut"] for trace in traces)
    if cut:
        log.warning("%d texts are cut: both models can read %d tokens", cut, pair.room)
    return [
        Completion(decode(answer), {FIDELITY: trace, PIECES: words})
        for answer, trace, words in zip(answers, traces, read, strict=True)
    ]


def _texts(pair: Pair, rows: Sequence[Asked], kind: str) -> list[tuple[list[int], list[int]]]:
    """Prompt and answer of each row; of what is too long, the prompt's beginning is cut first."""
    if kind == REFERENCE:
        return [_fitted(pair.room, row.prompt, row.response) for row in rows]
    length, seed = rows[0].length, rows[0].seed
    if length >= pair.room:
        raise HarnessError(
            f"max_gen_toks={length} leaves no room for a prompt: student and teacher can read "
            f"{pair.room} tokens"
        )
    prompts = [row.prompt[-(pair.room - length) :] for row in rows]
    by_student = kind == STUDENT
    with _edited(pair, rows, prompts) if by_student else nullcontext():
        answers = own_samples(
            pair.student if by_student else pair.teacher,
            prompts,
            length=length,
            ends=pair.ends,
            width=pair.width,
            seed=seed,
        )
    return list(zip(prompts, answers, strict=True))


def _fitted(room: int, prompt: list[int], answer: list[int]) -> tuple[list[int], list[int]]:
    answer = answer[: room - 1]
    return prompt[-(room - len(answer)) :], answer


def _edited(
    pair: Pair, rows: Sequence[Asked], prompts: Sequence[Sequence[int]]
) -> AbstractContextManager[None]:
    return pair.edited([row.text for row in rows], [len(prompt) for prompt in prompts])


def _compared(
    pair: Pair, rows: Sequence[Asked], texts: Sequence[tuple[list[int], list[int]]]
) -> list[dict[str, list[float]]]:
    found: list[dict[str, list[float]]] = []
    for part in _parts(texts, pair.width):
        whole, starts = [p + a for p, a in part], [len(p) for p, _ in part]
        asked = rows[len(found) : len(found) + len(part)]
        p = logits_behind(pair.teacher, whole, starts, pair.width)
        with _edited(pair, asked, [prompt for prompt, _ in part]):
            q = logits_behind(pair.student, whole, starts, pair.width)
        tokens = [torch.tensor(answer, device=p[0].device) for _, answer in part]
        for one, other, following in zip(p, q, tokens, strict=True):
            figures = token_figures(one, other, following)
            found.append({name: [_short(x) for x in values] for name, values in figures.items()})
    return found


def _parts(
    texts: Sequence[tuple[list[int], list[int]]], width: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Texts whose logits are held at a time: a bounded number, but at least one text."""
    part: list[tuple[list[int], list[int]]] = []
    for text in texts:
        part.append(text)
        if sum(len(answer) for _, answer in part) * width > _CELLS:
            yield part
            part = []
    if part:
        yield part


def _short(value: float) -> float:
    """Nine digits: what lies behind is rounding of the models."""
    return float(f"{value:.9g}")
