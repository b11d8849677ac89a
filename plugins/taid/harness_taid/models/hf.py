"""``hf-distilled``: lm-eval's ``hf`` that knows the teacher its student was distilled from.

    lm_eval --model hf-distilled --model_args pretrained=STUDENT[,teacher=TEACHER] --tasks …

Any task of lm-eval runs as with ``hf``. Rows of ``taid_fidelity`` are answered with the distance of
the two models at each token, those of ``taid_generation`` with the teacher's answer beside the
student's. The teacher is the one that STUDENT's ``distillation.json`` names, if none is given, and
is loaded when it is first needed. A folder without that file works with ``teacher=``: a student
that was not distilled is the baseline. What another part does to the student
(``hf-steered+distilled``) is done to the student alone: the teacher answers as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from lm_eval.models.utils import resolve_max_length

from harness import HarnessError, HFWrapper, traced
from harness.host.lm_eval_seams import uses_cache
from harness.models.checkpoints import open_causal
from harness.models.requests import told
from harness_taid.data.framing import Framing
from harness_taid.models.measuring import Pair, asked, measured
from harness_taid.network.teachers import shared_vocabulary
from harness_taid.requests import TEACHER_ANSWER, is_compared, is_measured
from harness_taid.training.provenance import MANIFEST, Distillation, read_distillation

log = logging.getLogger(__name__)

_AUTO_BATCH = 8


class DistilledMixin(HFWrapper):
    """Puts a teacher beside an ``HFLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: The student: a folder, a model id, ``testbed:NAME``, or a loaded model.
        teacher: Model id or path, or ``testbed:NAME``; by default the one of the student's
            ``distillation.json``, as far as that may say so (``provenance``).
        teacher_revision: Its revision on the hub.
        teacher_dtype: Its weights' dtype; ``auto`` takes the checkpoint's.
        **kwargs: As for ``HFLM``, and ``response_cache``.

    Raises:
        HarnessError: The student cannot be loaded, or its ``distillation.json`` is damaged.
    """

    no_matter = frozenset({"teacher", "teacher_revision", "teacher_dtype"})  # of the student's

    def __init__(
        self,
        pretrained: Any,
        *,
        teacher: str | None = None,
        teacher_revision: str | None = None,
        teacher_dtype: str = "auto",
        **kwargs: Any,
    ) -> None:
        from harness.testbed import resolve

        path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        self.distillation: Distillation | None = None
        if isinstance(path, str) and Path(path).is_dir():
            self.distillation = read_distillation(Path(path))
        super().__init__(pretrained, **kwargs)
        if self.backend != "causal":
            raise HarnessError(f"model {pretrained} is no causal language model")
        recipe: Mapping[str, Any] = self.distillation.recipe if self.distillation else {}
        self.student_name = str(pretrained)
        self._given_teacher = teacher
        self.teacher_name = teacher or recipe.get("teacher")
        if teacher_revision is None and not teacher:
            teacher_revision = recipe.get("teacher_revision")
        self._teacher_revision = teacher_revision or "main"
        self._teacher_dtype = teacher_dtype
        self._pair: Pair | None = None
        self._framing: Framing | None = None
        self._told_of_other_bos = False

    @property
    def pair(self) -> Pair:
        """Student and teacher; the teacher is loaded by the first call.

        Raises:
            HarnessError: None is known, it cannot be loaded, or its tokenizer is another.
        """
        if self._pair is None:
            teacher, tokenizer = open_causal(
                "teacher",
                self._chosen_teacher(),
                revision=self._teacher_revision,
                dtype=self._teacher_dtype,
                device=self.device,
            )
            rows = [one.get_output_embeddings().weight.shape[0] for one in (self.model, teacher)]
            default = self._DEFAULT_MAX_LENGTH
            self._pair = Pair(
                student=self.model,
                teacher=teacher,
                width=shared_vocabulary(self.tokenizer, tokenizer, rows),
                room=min(
                    self.max_length, resolve_max_length(teacher.config, tokenizer, default=default)
                ),
                ends=self.ends() | (self._framing.ends if self._framing else frozenset()),
                edited=self.every_pass,
            )
        return self._pair

    def _chosen_teacher(self) -> str:
        """The teacher that the user gave, else the one of the student's record."""
        if self._given_teacher:
            return self._given_teacher
        found = self.distillation.teacher if self.distillation else None
        if self.distillation is None or not found:
            raise HarnessError(
                f"{self.student_name} names no teacher (no distillation.json with one): give "
                f"--model_args pretrained={self.student_name},teacher=TEACHER"
            )
        log.info("teacher: %s, as %s says", found, self.distillation.folder / MANIFEST)
        return found

    def labels(self) -> dict[str, str | None]:
        return super().labels() | {
            "distilled": self.distillation.objective if self.distillation else ""
        }

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model: its objective is the method on the leaderboard."""
        found = dict(super().get_model_info())
        if self.teacher_name:
            found["teacher"] = self.teacher_name
        if self.distillation is not None:
            found |= {
                "method": self.distillation.objective,
                "method_args": self.distillation.arguments,
                "artefact_hash": self.distillation.sha256,
            }
        if self._pair is not None:
            teacher = self._pair.teacher
            found |= {
                "teacher_num_parameters": teacher.num_parameters(),
                "teacher_dtype": str(teacher.dtype),
                "shared_vocabulary": self._pair.width,
            }
        return found

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Answers; those that are compared with the teacher carry a trace."""
        chosen = [i for i, request in enumerate(requests) if is_measured(request)]
        rest = [i for i, request in enumerate(requests) if not is_measured(request)]
        answers: dict[int, Any] = {}
        if chosen:
            self._refuse_cache()
            rows = self.prompted([requests[i] for i in chosen])
            for i, row, answer in zip(
                chosen, rows, self._measured(rows, disable_tqdm), strict=True
            ):
                answers[i] = traced(answer, **told(row.args[0].notes))
        if rest:
            rows = [requests[i] for i in rest]
            answers |= zip(rest, super().generate_until(rows, disable_tqdm), strict=True)
        compared = [i for i in rest if is_compared(requests[i])] if self.teacher_name else []
        if compared:
            self._refuse_cache()
            rows = [requests[i] for i in compared]
            with self._teacher_in_place():
                theirs = super().generate_until(rows, disable_tqdm)
            for i, text in zip(compared, theirs, strict=True):
                answers[i] = traced(answers[i], **{TEACHER_ANSWER: str(text)})
        return [answers[i] for i in range(len(requests))]

    def _measured(self, rows: list[Any], quiet: bool) -> list[Any]:
        pair, size = self.pair, self.batch_size
        return measured(
            pair,
            [asked(self, request) for request in rows],
            batch=size if isinstance(size, int) else _AUTO_BATCH,
            autocast=self.autocast(),
            decode=self.tok_decode,
            quiet=quiet or self.rank != 0,
        )

    def encoded(self, prompt: str, response: str | None) -> tuple[list[int], list[int]]:
        """Tokens of a prompt, at least one, and of a response with its end token.

        Raises:
            HarnessError: The chat template's prompt is none of such a response.
        """
        if self.distillation and self.tokenizer.chat_template and self._framing is None:
            log.warning(
                "%s was distilled in its chat template, and is asked without one: give "
                "--apply_chat_template",
                self.student_name,
            )
        before: list[int] = self.tok_encode(prompt) or [self.prefix_token_id]
        self._warn_of_other_bos(before)
        if response is None:
            return before, []
        framing = self._framing or self._plain
        framed = framing.alone(prompt, response)
        if isinstance(framed, str):
            raise HarnessError(
                f"{self.student_name}: a reference cannot stand behind its prompt ({framed}); give "
                "--metadata along=student, or leave --apply_chat_template out"
            )
        (after,) = framing.tokens([framed])
        return before, after

    def _warn_of_other_bos(self, before: list[int]) -> None:
        """Warn, once, of a student that learnt with another first token than it is read with."""
        if (
            self._told_of_other_bos
            or self.distillation is None
            or "bos" not in self.distillation.facts
        ):
            return
        trained, bos = self.distillation.facts["bos"], self.tokenizer.bos_token_id
        own = bos if before[:1] == [bos] else None
        if own != trained:
            self._told_of_other_bos = True
            log.warning(
                "%s was distilled on texts that begin with %s, and these begin with %s: give "
                "--model_args add_bos_token=%s",
                self.student_name,
                *("no such token" if one is None else f"token {one}" for one in (trained, own)),
                trained is not None,
            )

    @cached_property
    def _plain(self) -> Framing:
        return Framing(self.tokenizer, "")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A prompt in the tokenizer's chat template; references then end as answers do in it."""
        if self._framing is None:
            options, template = self.chat_template_args, self.tokenizer.get_chat_template()
            self._framing = Framing(self.tokenizer, template, options)
        return str(super().apply_chat_template(chat_history, add_generation_prompt))

    def _teacher_in_place(self) -> AbstractContextManager[None]:
        """A context in which lm-eval's own code runs the teacher."""
        at = "" if self._teacher_revision == "main" else f"@{self._teacher_revision}"
        return self.standing_in(f"{self.teacher_name}{at}", self.pair.teacher)

    def _refuse_cache(self) -> None:
        if uses_cache(self.cache_hook):
            raise HarnessError(
                "--use_cache keeps answers by prompt alone: neither the teacher nor what is "
                "measured is in it; leave it out for the tasks of taid"
            )
