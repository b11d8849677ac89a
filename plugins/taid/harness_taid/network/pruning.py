"""A student made of some of its teacher's blocks: ``--student layers:0,2,4``.

    layers:0,2,4,6      these blocks, counted from 0, in the teacher's order
    layers:0-28/2       every second one from 0 to 28
    layers:0-9,20-29    two stretches

Embeddings, last norm and head are the teacher's. Dropping blocks with their neighbours kept as they
are, then distilling, is the usual start of a shallower student (Sanh et al. 2019, DistilBERT,
arXiv 1910.01108, every second block; Muralidharan et al. 2024, Minitron, arXiv 2407.14679).

What a configuration says block by block (which of them slide over a window, which have no rotary
positions) is cut with them, so that each block attends as it did. transformers builds the student
from that configuration; each of its blocks is compared with the one that it was, and a model in
which a block's form hangs on its place is refused.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from harness import ArtefactError, HarnessError
from harness.errors import one_line
from harness.models.checkpoints import open_causal

LAYERS = "layers:"
_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4})(?:/(\d{1,3}))?)?")
_PLACES = frozenset({"layer_idx", "layer_id", "layer_number"})


def layers_of(name: str) -> tuple[int, ...]:
    """The blocks that ``layers:0,2,4`` or ``layers:0-28/2`` names, counted from 0.

    >>> layers_of("layers:0-6/2,7")
    (0, 2, 4, 6, 7)

    Raises:
        HarnessError: It has another form, or names a block twice or out of order.
    """
    found: list[int] = []
    for part in name.removeprefix(LAYERS).split(","):
        read = _PART.fullmatch(part.strip())
        if not read or read[3] == "0":
            raise HarnessError(
                f"--student {name}: blocks are numbers from 0 and stretches of them, as in "
                f"{LAYERS}0,2,4 or {LAYERS}0-28/2 (every second one)"
            )
        first, last, step = int(read[1]), int(read[2] or read[1]), int(read[3] or 1)
        if last < first:
            raise HarnessError(f"--student {name}: {part.strip()} runs backwards")
        found += range(first, last + 1, step)
    for one, following in pairwise(found):
        if following <= one:
            wrong = "is named twice" if following == one else f"stands behind block {one}"
            raise HarnessError(
                f"--student {name}: block {following} {wrong}; name each once, in the teacher's "
                "order"
            )
    return tuple(found)


def spelt(kept: tuple[int, ...]) -> str:
    """The one name of a choice of blocks, for the record.

    >>> spelt(layers_of("layers:0-4/2"))
    'layers:0,2,4'
    """
    return LAYERS + ",".join(map(str, kept))


def check_blocks(name: str, config: Any) -> None:
    """See that a teacher has the blocks, and that they can be taken, before its weights are read.

    Args:
        name: As the user gave it.
        config: The teacher's configuration.

    Raises:
        HarnessError: It lacks one, or is of a kind that cannot be cut.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from harness_taid.network.head import Head

    cut = _cut(name, config)
    try:
        with torch.device("meta"):
            whole = AutoModelForCausalLM.from_config(config)
            part = type(whole)(cut)
    except Exception as cause:  # a configuration's own checks
        raise _uncut(name, config, one_line(cause, 200)) from cause
    Head.of(whole)
    _compare(name, whole, part)


def pruned(
    name: str, teacher: str, revision: str, add_bos_token: bool | None = None
) -> tuple[Any, Any]:
    """The student in float32, and the teacher's tokenizer.

    Args:
        name: As the user gave it.
        teacher: Hub id, folder (an adapter's too) or ``testbed:NAME``.
        revision: Its revision on the hub.
        add_bos_token: As for ``load_tokenizer``.

    Raises:
        HarnessError: The teacher cannot be loaded or cut.
        ArtefactError: It lacks weights.
    """
    import torch

    whole, tokenizer = open_causal(
        "teacher",
        teacher,
        revision=revision,
        dtype=torch.float32,
        add_bos_token=add_bos_token,
    )
    cut = _cut(name, whole.config)
    try:
        student, info = type(whole).from_pretrained(
            None,
            config=cut,
            state_dict=_weights(whole, layers_of(name)),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as cause:  # transformers raises dozens of types
        raise _uncut(name, whole.config, one_line(cause, 200)) from cause
    odd = sorted({*info["missing_keys"], *info["unexpected_keys"]})
    if odd:
        raise ArtefactError(
            f"--student {name}: the weights of {teacher} do not fit its configuration: "
            f"{', '.join(odd[:4])}"
        )
    _compare(name, whole, student)
    student.config.name_or_path = whole.config.name_or_path
    student.generation_config = whole.generation_config
    return student.requires_grad_(True), tokenizer


def _cut(name: str, config: Any) -> Any:
    """The configuration of the blocks that are kept."""
    kept, count = layers_of(name), getattr(config, "num_hidden_layers", None)
    if not isinstance(count, int):
        raise _uncut(name, config, "its config.json gives no number of blocks")
    if kept[-1] >= count:
        raise HarnessError(
            f"--student {name}: block {kept[-1]} does not exist: the teacher has 0 … {count - 1}"
        )
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise _uncut(name, config, "its attention is scaled by a block's place")
    told = config.to_dict()
    told.pop("quantization_config", None)  # float32 by now, as GGUF is read
    for key, value in told.items():
        if "layer" in key and isinstance(value, (list, tuple)) and len(value) == count:
            told[key] = [value[n] for n in kept]
    if "attention_types" in told:  # gpt_neo's: attention_layers in groups
        told["attention_types"] = [[[kind], 1] for kind in told["attention_layers"]]
    told[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = len(kept)
    try:
        return type(config).from_dict(told)
    except Exception as cause:  # a configuration's own checks
        raise _uncut(name, config, one_line(cause, 200)) from cause


def _uncut(name: str, config: Any, reason: str) -> HarnessError:
    return HarnessError(
        f"--student {name}: a teacher of type {config.model_type} cannot be cut ({reason}); give a "
        "checkpoint"
    )


def _weights(whole: Any, kept: tuple[int, ...]) -> dict[str, Any]:
    """The weights of the blocks that are kept, numbered anew, and all that lies outside of them."""
    from harness.models.blocks import home_of_blocks

    home, name = home_of_blocks(whole)
    blocks = getattr(home, name)
    prefix = next(path for path, module in whole.named_modules() if module is blocks) + "."
    places = {str(old): str(new) for new, old in enumerate(kept)}
    found = {}
    for key, tensor in whole.state_dict().items():
        if not key.startswith(prefix):
            found[key] = tensor
            continue
        number, _, rest = key.removeprefix(prefix).partition(".")
        if number in places:
            found[f"{prefix}{places[number]}.{rest}"] = tensor
    return found


def _compare(name: str, whole: Any, part: Any) -> None:
    """See that each block that transformers builds from the cut configuration is the old one."""
    from harness.models.blocks import home_of_blocks

    own, theirs = (getattr(*home_of_blocks(model)) for model in (part, whole))
    kept = layers_of(name)
    if len(theirs) != whole.config.num_hidden_layers or len(own) != len(kept):
        raise _uncut(name, whole.config, "its blocks are no single stack")
    for new, old in enumerate(kept):
        one, other = _form(own[new]), _form(theirs[old])
        if one != other:
            odd = next(iter(sorted({*one.items()} ^ {*other.items()}, key=str)))[0]
            raise _uncut(name, whole.config, f"block {old} would be another in its place: {odd}")


def _form(block: Any) -> dict[str, Any]:
    """What a block is made of: its modules, their plain settings, and the shapes of its weights."""
    found: dict[str, Any] = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    for path, module in block.named_modules():
        found[f"{path}."] = type(module).__name__
        for key, value in vars(module).items():
            plain = value is None or isinstance(value, (bool, int, float, str))
            if plain and key not in {*_PLACES, "training"}:
                found[f"{path}.{key}"] = value
    return found
