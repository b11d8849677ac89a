"""A model without its weights: width, blocks and their names, chat prefix.

The configuration and the tokenizer say all that a dictionary needs to know of its model, so that
an import neither downloads nor loads any weight.

A model may be named by a file that somebody else wrote: by a dictionary, by the reference's
``config.json``. Its name is taken for a model on the hub or on this machine, as ``--model`` would
be, and never for an address. None of its code is run, and no kernel is fetched for it: neither the
name nor the model's own files can ask for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import ArtefactError, HarnessError
from harness.artefacts.checksums import fingerprint
from harness.artefacts.hub import commit_of, unopened
from harness.artefacts.layers import check_layers
from harness.errors import one_line
from harness.models.checkpoints import load_tokenizer


@dataclass(frozen=True)
class Shell:
    """What configuration and tokenizer say.

    Attributes:
        name: The model, as the user gave it.
        commit: Its commit on the hub, or None.
        sha256: Hash of a local model's files, or None.
        hidden_size: Width of the residual stream.
        dtype: The checkpoint's dtype.
        blocks: Names of the decoder blocks within ``model.base_model``, in order.
        prefix: Tokens that all user messages begin with.
        chat: Whether the tokenizer has a chat template.
        bos: The beginning-of-sequence token that texts are read with, if any.
    """

    name: str
    commit: str | None
    sha256: str | None
    hidden_size: int
    dtype: str
    blocks: tuple[str, ...]
    prefix: int
    chat: bool
    bos: int | None = None

    @classmethod
    def load(cls, name: str, revision: str = "main") -> Shell:
        """Read a model's configuration and tokenizer.

        Raises:
            HarnessError: They cannot be had, or the name is an address.
        """
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from harness.models.blocks import blocks
        from harness_axbench.activations.loading import resolved, width_of
        from harness_axbench.activations.reader import Reader

        if "://" in name or name.startswith(("//", "\\\\")):
            raise HarnessError(f"model {one_line(name, 80)}: an address is no model's name")
        path = resolved(name)
        if (Path(path) / "config.json").is_file():
            check_layers(Path(path))
        code: dict[str, Any] = {"trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(path, revision=revision, **code)
            tokenizer = load_tokenizer(path, revision=revision)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(
                    config, attn_implementation="eager", **code
                )
        except Exception as cause:  # files of anybody's model: whatever transformers makes of them
            raise HarnessError(
                f"model {name}: its configuration and tokenizer, which say the width and the chat "
                f"template, cannot be loaded: {unopened(cause, path, limit=300)}"
            ) from cause
        reader = Reader(model, tokenizer, layer=0)
        inner: Any = model.base_model
        names = {id(module): module_name for module_name, module in inner.named_modules()}
        return cls(
            name=name,
            commit=commit_of(path, revision),
            sha256=fingerprint(path),
            hidden_size=width_of(model),
            dtype=str(getattr(config, "dtype", None)).removeprefix("torch."),
            blocks=tuple(names[id(block)] for block in blocks(model)),
            prefix=reader.prefix,
            chat=reader.chat,
            bos=reader.bos,
        )

    def check_layer(self, layer: int, source: str) -> None:
        """Refuse a layer that the model does not have.

        Raises:
            ArtefactError: There is no such layer.
        """
        if not 0 <= layer < len(self.blocks):
            raise ArtefactError(
                f"{source}: layer {layer}; {self.name} has the layers 0 … {len(self.blocks) - 1}"
            )

    def facts(self, layer: int) -> dict[str, Any]:
        """The entries of a manifest that describe model and site."""
        return {
            "model": {
                "name": self.name,
                "revision": self.commit,
                "sha256": self.sha256,
                "hidden_size": self.hidden_size,
                "dtype": self.dtype,
            },
            "layer": layer,
            "site": "block output",
            "prefix": self.prefix,
            "chat": self.chat,
            "bos": self.bos,
        }
