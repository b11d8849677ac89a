"""Who takes part in a distillation: the student, the teacher, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from harness import HarnessError
from harness.models.checkpoints import checkpoint_of, not_loaded, open_causal
from harness_taid.network.network import LiveTeacher, Teacher
from harness_taid.network.offline_teacher import Capture
from harness_taid.network.pruning import LAYERS, check_blocks
from harness_taid.network.students import SCRATCH, load_student, open_tokenizer
from harness_taid.network.teachers import shared_vocabulary
from harness_taid.training.options import SFT, Options

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Cast:
    """Who takes part.

    Attributes:
        student: A causal model, perhaps with an adapter.
        tokenizer: The student's.
        teacher: Where its distributions come from; None where none is needed.
        teacher_model: The teacher in memory; None where none is needed.
        vocabulary: Ids that student and teacher share.
        template: The chat template, the teacher's if it has one; empty for none.
    """

    student: Any
    tokenizer: Any
    teacher: Teacher | None
    teacher_model: Any
    vocabulary: int
    template: str

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the tokenizer's and those of the model's generation_config."""
        config = getattr(self.student, "generation_config", None)
        named = getattr(config, "eos_token_id", None)
        ends = [*(named if isinstance(named, list) else [named]), self.tokenizer.eos_token_id]
        return frozenset(token for token in ends if token is not None)


def cast_of(options: Options, device: torch.device, say: Say) -> Cast:
    """Load the student, and what is needed of the teacher.

    Args:
        options: What is asked for.
        device: Where the teacher runs.
        say: Told of a teacher that is smaller than its student.

    Raises:
        HarnessError: A model cannot be loaded, or the two have different tokenizers.
    """
    cut = options.student.startswith(LAYERS)
    if cut:
        check_blocks(options.student, _config(options))
    theirs, model, captured = _teachers(options, device)
    like = None
    if options.student.startswith(SCRATCH):
        like = (_config(options), theirs)
    student, tokenizer = load_student(
        options.student,
        revision=options.teacher_revision if cut else options.revision,
        seed=options.seed,
        lora=options.lora,
        like=like,
        teacher=options.teacher or "",
        add_bos_token=options.add_bos_token,
    )
    rows = [student.get_output_embeddings().weight.shape[0]]
    if model is not None:
        rows.append(model.get_output_embeddings().weight.shape[0])
    if captured is not None:
        rows.append(captured.vocabulary)
    vocabulary = shared_vocabulary(tokenizer, theirs or tokenizer, rows)
    template = (theirs and theirs.chat_template) or tokenizer.chat_template or ""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model is not None and model.num_parameters() < student.num_parameters():
        say(
            f"warning: the teacher {options.teacher} is smaller than the student "
            f"({model.num_parameters():,} and {student.num_parameters():,} parameters)"
        )
    teacher = captured if model is None else LiveTeacher(model, vocabulary)
    return Cast(student, tokenizer, teacher, model, vocabulary, template)


def _teachers(options: Options, device: torch.device) -> tuple[Any, Any, Capture | None]:
    """The teacher's tokenizer, its model where it is needed, or what was kept of one."""
    if options.teacher_logits is not None:
        captured = Capture(options.teacher_logits.expanduser())
        folder = str(captured.folder)
        return open_tokenizer(folder, add_bos_token=options.add_bos_token), None, captured
    if options.teacher is None:
        return None, None, None
    if options.objective == SFT:
        given = {"add_bos_token": options.add_bos_token}
        return open_tokenizer(options.teacher, options.teacher_revision, **given), None, None
    half = device.type == "cuda" or options.dtype == "bfloat16"
    dtype = "bfloat16" if half else "float32"
    model, tokenizer = open_causal(
        "teacher",
        options.teacher,
        revision=options.teacher_revision,
        dtype=dtype,
        device=device,
        add_bos_token=options.add_bos_token,
    )
    return tokenizer, model, None


def _config(options: Options) -> Any:
    """The teacher's configuration, also where the teacher itself is not needed."""
    from transformers import AutoConfig

    name = options.teacher or str(options.teacher_logits)
    found = checkpoint_of(name, options.teacher_revision)
    try:
        return AutoConfig.from_pretrained(
            found.place, revision=found.revision, trust_remote_code=False
        )
    except Exception as cause:  # transformers raises dozens of types
        raise HarnessError(f"--teacher: {not_loaded(name, found.place, cause)}") from cause
