"""One batch of questions to an lm-eval model, through whatever goes wrong.

lm-eval retries a request by itself (``max_retries`` among the model's arguments) and then gives up
the whole batch. Here every answer is kept the moment lm-eval has it, and what had not arrived is
asked again:

- in smaller batches, so that one question the model cannot take does not hold up the others;
- after an empty or unaccepted answer, in the next round, with another seed;
- a question at most ``1 + retries`` times by itself;
- until ``1 + retries`` rounds in a row brought no answer at all, with exponential back-off between
  rounds; four calls in a row without an answer end a round, eight that are refused mean that
  everything is: some models refuse every third question, and those may come first.

Wrong credentials, addresses and model names (HTTP 401, 403, 404, 405) fail at once.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.asking.spec import Question
from harness.asking.special import unmarked
from harness.errors import HarnessError, JudgeError, one_line
from harness.host.lm_eval_seams import no_answer
from harness.secrets import struck

if TYPE_CHECKING:
    from harness.asking.spec import AssistantSpec

log = logging.getLogger(__name__)
_FATAL = frozenset({401, 403, 404, 405})
_REFUSED = frozenset({400, 413, 422})
_PATIENCE = 4  # calls in a row without an answer
_REFUSALS = 8  # those where each was a refusal
_DELAY = 2.0  # seconds without a bar
_A_CALL = 32  # questions for each request that runs at once
_TOKENS = {"prompt_tokens": "prompt_tokens", "completion_tokens": "answer_tokens"}  # OpenAI's
_TOKENS |= {"input_tokens": "prompt_tokens", "output_tokens": "answer_tokens"}  # Anthropic's


class Inbox:
    """Takes each answer from lm-eval the moment it has it, in place of lm-eval's cache hook."""

    dbdict = None

    def __init__(self, settle: Callable[[str, object], None]) -> None:
        self._settle = settle
        self._waiting: dict[tuple[str, Any], list[str]] = {}
        self.arrived: set[str] = set()

    def expect(self, context: object, options: Mapping[str, Any], key: str) -> None:
        """Announce a request; equal ones are served in the order announced."""
        self._waiting.setdefault((str(context), options.get("seed")), []).append(key)

    def add_partial(self, attr: str, request: Sequence[Any], answer: object) -> None:
        """Called by lm-eval's models with (context, generation arguments) and the answer."""
        context, options = request[0], request[1]
        seed = options.get("seed") if isinstance(options, Mapping) else None
        waiting = self._waiting.get((str(context), seed))
        if waiting:
            self.take(waiting.pop(0), answer)

    def take(self, key: str, answer: object) -> None:
        """An answer has arrived for one question, whatever it is worth."""
        self.arrived.add(key)
        self._settle(key, answer)


class Unkept(BaseException):
    """An answer cannot be written down.

    No ``Exception``: clients ask again after any of those, and each time costs money.
    """


class Batch:
    """Questions by store key, asked until each is answered or given up.

    Args:
        model: The lm-eval model.
        spec: How to ask.
        questions: By key.
        accept: Whether an answer counts; a question's own ``check`` is asked besides.
        keep: Called at once with each key and accepted answer; returns the answer that stays,
            which another process may have got first.
        stored: Called with keys before the model is; the answers to them that another process has
            got meanwhile.
        usage: What asking costs is added here; the keys are those of ``Assistant.usage``.
        proven: Whether the model is known to answer: then what it refuses is the question.
    """

    def __init__(
        self,
        model: Any,
        spec: AssistantSpec,
        questions: Mapping[str, Question],
        *,
        accept: Callable[[str], bool],
        keep: Callable[[str, str], str],
        stored: Callable[[Sequence[str]], Mapping[str, str]],
        usage: Counter[str],
        proven: bool,
    ) -> None:
        self._model = model
        self._spec = spec
        self._questions = questions
        self._accept = accept
        self._keep = keep
        self._stored = stored
        self._usage = usage
        self._proven = proven
        self._nothing = {"", no_answer()}
        self._random = random.Random()  # another order in each process that shares a store
        self._quiet = {"disable_tqdm": True} if _has_bar(model) else {}
        self._tries: Counter[str] = Counter()
        self._arrivals = 0
        self.answers: dict[str, str] = {}
        self.trouble = ""

    def run(self) -> dict[str, str]:
        """Ask; returns the accepted answers by key.

        Raises:
            JudgeError: The model refuses credentials, address or every question.
        """
        from tqdm import tqdm

        with tqdm(
            total=len(self._questions), desc=self._spec.model, unit="answer", delay=_DELAY
        ) as self._bar:
            self._rounds()
        missing = len(self._questions) - len(self.answers)
        if missing:
            log.warning(
                "'%s' left %d of %d questions unanswered; %s",
                *(self._spec.model, missing, len(self._questions), self.trouble),
            )
        return self.answers

    def _rounds(self) -> None:
        from tenacity import Retrying, retry_if_result, wait_exponential

        stalled = 0

        def give_up(state: object) -> bool:
            return stalled > self._spec.retries

        def again() -> bool:
            nonlocal stalled
            before = self._arrivals
            self._round()
            stalled = 0 if self._arrivals > before else stalled + 1
            return bool(self._open())

        Retrying(
            stop=give_up,
            wait=wait_exponential(multiplier=self._spec.backoff, max=60),
            retry=retry_if_result(bool),
            retry_error_callback=lambda state: None,
        )(again)

    def _open(self) -> list[str]:
        """Questions that are neither answered nor given up."""
        return [
            key
            for key in self._questions
            if key not in self.answers and self._tries[key] <= self._spec.retries
        ]

    def _round(self) -> None:
        """Ask every open question once; on a fault go on in halves, with a single one first."""
        first = self._open()
        self._random.shuffle(first)
        size = _call_size(self._model) or len(first)
        waiting, idle, refused = [first[i : i + size] for i in range(0, len(first), size)], 0, False
        while waiting and idle < (_REFUSALS if refused else _PATIENCE):
            batch = self._unknown(waiting.pop())
            if not batch:
                continue
            arrived, error = self._call(batch)
            if error is None:
                idle = 0
                continue
            left = [key for key in batch if key not in arrived]
            refused = _status(error) in _REFUSED
            known = self._arrivals or self._proven
            idle = 0 if arrived or (refused and known) else idle + 1
            if len(batch) == 1:
                self._tries[batch[0]] += self._spec.retries + 1 if refused else 1
            else:
                probe = [] if arrived or len(left) < 3 else [left.pop()]
                middle = len(left) // 2
                waiting += [part for part in (left[middle:], left[:middle], probe) if part]
            enough = _REFUSALS if waiting else _PATIENCE
            self._note(error, everything_refused=refused and idle >= enough)

    def _unknown(self, keys: Sequence[str]) -> list[str]:
        """Those that no other process has got an answer to meanwhile."""
        found = self._stored(keys)
        for key, answer in found.items():
            self._take(key, answer)
        return [key for key in keys if key not in found]

    def _take(self, key: str, answer: str) -> None:
        self.answers[key] = answer
        self._bar.update()

    def _call(self, batch: list[str]) -> tuple[set[str], Exception | None]:
        """One call of the model; which questions got an answer, and what went wrong."""
        inbox = Inbox(self._settle)
        requests = [self._request(key, inbox) for key in batch]
        self._model.set_cache_hook(inbox)
        try:
            returned = list(self._model.generate_until(requests, **self._quiet))
            if len(returned) != len(batch):
                raise ValueError(f"{len(returned)} answers to {len(batch)} questions")
            if not inbox.arrived:  # a model without the hook; else its order is not relied upon
                for key, answer in zip(batch, returned, strict=True):
                    inbox.take(key, answer)
        except Unkept as stop:
            raise JudgeError(str(stop)) from stop.__cause__
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 -- a model's client raises what it likes
            return inbox.arrived, error
        for key in set(batch) - inbox.arrived:
            self._settle(key, None)
        return set(batch), None

    def _request(self, key: str, inbox: Inbox) -> Any:
        from lm_eval.api.instance import Instance

        question, spec = self._questions[key], self._spec
        options: dict[str, Any] = {
            "until": [],
            "max_gen_toks": spec.max_tokens,
            "temperature": float(spec.temperature),
            "do_sample": spec.temperature > 0,
        }
        if takes_seed(self._model):
            options["seed"] = spec.seed + question.vote + 1000 * self._tries[key]
        context = as_context(self._model, question.prompt, question.reply)
        inbox.expect(context, options, key)
        self._usage.update(requests=1, prompt_characters=_length(question))
        return Instance(
            request_type="generate_until",
            doc=dict(question.facts),
            arguments=(context, options),
            idx=0,
            metadata=("question", len(self._tries), 1),
        )

    def _settle(self, key: str, answer: object) -> None:
        """Keep an answer that counts; else the question stays open for another try."""
        self._arrivals += 1
        if isinstance(answer, str):
            self._usage.update(answers=1, answer_characters=len(answer))
        if isinstance(answer, str) and self._counts(key, answer):
            self._take(key, self._keep(key, answer))
            return
        self._tries[key] += 1
        self._usage["rejected"] += 1
        shown = "nothing" if not answer else repr(one_line(struck(str(answer)))[-80:])
        self.trouble = f"last answer that does not count: {shown}"

    def _counts(self, key: str, answer: str) -> bool:
        check = self._questions[key].check
        there = answer.strip() not in self._nothing
        return there and self._accept(answer) and (check is None or check(answer))

    def _note(self, error: Exception, *, everything_refused: bool) -> None:
        """Remember what went wrong; raise what asking again cannot mend."""
        text = one_line(struck(f"{type(error).__name__}: {error}"))[:300]
        self.trouble = f"last error: {text}"
        if everything_refused or _status(error) in _FATAL:
            raise JudgeError(f"model '{self._spec.model}' refuses to answer: {text}") from None
        if isinstance(error, (ImportError, NotImplementedError, AssertionError)):
            raise JudgeError(f"model '{self._spec.model}' cannot answer: {text}") from None


def count_tokens(model: Any, usage: Counter[str]) -> None:
    """Let an API model add up the tokens its replies report; other models have none to report."""
    stock: Any = getattr(model, "parse_generations", None)
    if stock is None:
        return

    def parse(outputs: Any, **options: Any) -> Any:
        for reply in outputs if isinstance(outputs, list) else [outputs]:
            reported = (reply.get("usage") if isinstance(reply, Mapping) else None) or {}
            for name, count in reported.items():
                if name in _TOKENS and isinstance(count, int):
                    usage[_TOKENS[name]] += count
        return stock(outputs=outputs, **options)

    model.parse_generations = parse


def _status(error: Exception) -> int | None:
    """The HTTP status of a client's exception (requests, aiohttp, litellm).

    aiohttp gives a reply that is no HTTP the status 400, with what it stumbled over as the cause: a
    refusal that nobody has pronounced.
    """
    if type(error.__cause__).__module__.partition(".")[0] == "aiohttp":
        return None
    for holder in (getattr(error, "response", None), error):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return None


def _call_size(model: Any) -> int | None:
    """Questions of one call at most; None for a model that is better asked all of them at once.

    Between calls it is seen what other processes have asked meanwhile.
    """
    concurrent = getattr(model, "_concurrent", None)
    return _A_CALL * concurrent if isinstance(concurrent, int) and concurrent > 0 else None


def _has_bar(model: Any) -> bool:
    """Whether a model shows progress of its own, one bar a call."""
    return "disable_tqdm" in inspect.signature(model.generate_until).parameters


def takes_seed(model: Any) -> bool:
    """Whether a request may carry its own seed: only OpenAI's schema is sure to know it."""
    from lm_eval.models.openai_completions import (
        LocalChatCompletion,
        LocalCompletionsAPI,
        OpenAICompletionsAPI,
    )

    return isinstance(model, (LocalChatCompletion, OpenAICompletionsAPI)) or (
        type(model) is LocalCompletionsAPI
    )


def _length(question: Question) -> int:
    return len(question.prompt) + len(question.reply or "")


def as_context(model: Any, prompt: str, reply: str | None = None) -> Any:
    """The prompt as a chat model's user turn, in the model's own format; else as it is.

    Special tokens of a model's own tokenizer are no tokens in it: what is judged ends no turn.

    Raises:
        HarnessError: There is a reply, and the model has no chat template.
    """
    from lm_eval.models.anthropic_llms import AnthropicChat
    from lm_eval.models.openai_completions import LocalChatCompletion

    plain = unmarked(getattr(model, "tokenizer", None))
    prompt = plain(prompt)
    turn = [{"role": "user", "content": prompt}]
    if reply is not None:
        turn.append({"role": "assistant", "content": plain(reply)})
    if isinstance(model, (LocalChatCompletion, AnthropicChat)):
        return model.apply_chat_template(turn)
    if getattr(getattr(model, "tokenizer", None), "chat_template", None):
        formatted = model.apply_chat_template(turn)
        if type(formatted) is str:
            return formatted
    if reply is not None:
        raise HarnessError(
            f"{type(model).__name__} cannot be asked about a conversation: it has no chat template"
        )
    return prompt
