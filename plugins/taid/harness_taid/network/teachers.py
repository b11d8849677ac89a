"""Opens a teacher, and says which vocabulary it shares with a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import ArtefactError


def load_teacher(
    name: str, *, revision: str = "main", dtype: str = "auto", device: Any = "cpu"
) -> tuple[Any, Any]:
    """A frozen teacher and its tokenizer.

    Args:
        name: Model id or path, or ``testbed:NAME``; an adapter's folder is loaded with its base.
        revision: Its revision on the hub.
        dtype: Its weights' dtype; ``auto`` takes the checkpoint's.
        device: Where it runs.

    Raises:
        ArtefactError: It cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    from harness.models.checkpoints import checkpoint_of, load_tokenizer, merged, not_loaded

    found = checkpoint_of(name, revision)
    revision = found.revision
    try:
        tokenizer = load_tokenizer(found.words, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(
            found.place, dtype=dtype, revision=revision, trust_remote_code=False
        )
    except Exception as cause:  # transformers raises dozens of types
        raise ArtefactError(f"teacher: {not_loaded(name, found.place, cause)}") from cause
    if found.adapter is not None:
        model = merged(model, found.adapter)
    return model.to(device).eval().requires_grad_(False), tokenizer


def shared_vocabulary(own: Any, theirs: Any, rows: Sequence[int]) -> int:
    """How many ids student and teacher share.

    Embeddings are padded to round sizes: what lies beyond the tokenizer's last id, in either model,
    means nothing and is left out.

    Args:
        own: The student's tokenizer.
        theirs: The teacher's.
        rows: Ids that the logits of each of the models have.

    Raises:
        ArtefactError: The tokenizers differ.
    """
    one, other = own.get_vocab(), theirs.get_vocab()
    if one != other:
        differing = len(set(one.items()) ^ set(other.items()))
        raise ArtefactError(
            f"teacher and student have different vocabularies ({len(other)} and {len(one)} tokens, "
            f"{differing} entries differ): token distributions can be compared with a teacher of "
            f"the student's tokenizer only"
        )
    return int(min(1 + max(one.values()), *rows))
