"""Which vocabulary a teacher shares with a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import ArtefactError


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
