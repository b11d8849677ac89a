"""What a training starts from: a checker, an encoder that gets a new head, or random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from harness import ArtefactError, HarnessError
from harness.models.checkpoints import load_tokenizer, not_loaded, place_of
from harness_factcg.checking.families import head_of
from harness_factcg.checking.loading import Checkpoint
from harness_factcg.training import scratch


@dataclass(frozen=True)
class Start:
    """A model to train.

    Attributes:
        name: Hub id, folder, ``testbed:checker``, or ``scratch:LAYERSxHIDDEN``.
        revision: Branch, tag or commit on the hub.
        max_length: Tokens a prompt may have, for a model from random weights.
        seed: Of random weights, be it those of the head alone.
    """

    name: str
    revision: str
    max_length: int
    seed: int

    def load(self, texts: Iterable[str]) -> Checkpoint:
        """The model in float32, and its tokenizer.

        Args:
            texts: What the tokenizer of a model from random weights learns from.

        Raises:
            HarnessError: There is no such model, or it cannot be read.
            ArtefactError: It lacks weights other than a head's, or has no fast tokenizer.
        """
        if self.name.startswith(scratch.PREFIX):
            model, tokenizer = scratch.build(self.name, texts, self.max_length, self.seed)
        else:
            model, tokenizer = self._pretrained()
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        model.config.pad_token_id = tokenizer.pad_token_id
        return Checkpoint(model, tokenizer, self.name, self.revision, "")

    def _pretrained(self) -> tuple[Any, Any]:
        import transformers

        place = place_of(self.name)
        torch.manual_seed(self.seed)  # of a new head
        options: dict[str, Any] = {"revision": self.revision, "trust_remote_code": False}
        try:
            config = transformers.AutoConfig.from_pretrained(place, **options)
            tokenizer = load_tokenizer(place, **options)
            decoder = head_of(config) == "seq2seq"
            whole = decoder or _is_classifier(config)
            if decoder:
                loader = transformers.AutoModelForSeq2SeqLM
            else:
                loader = transformers.AutoModelForSequenceClassification
                if not whole:
                    config.num_labels = len(scratch.LABELS)
                    config.id2label = dict(scratch.LABELS)
                    config.label2id = {label: n for n, label in scratch.LABELS.items()}
            model, info = loader.from_pretrained(
                place, config=config, dtype=torch.float32, output_loading_info=True, **options
            )
        except Exception as cause:  # transformers raises dozens of types
            reason = not_loaded(self.name, place, cause)
            raise HarnessError(f"--model {self.name} cannot be loaded: {reason}") from cause
        self._check(model, tokenizer, sorted(info["missing_keys"]), whole=whole)
        return model, tokenizer

    def _check(self, model: Any, tokenizer: Any, missing: list[str], *, whole: bool) -> None:
        body = model.base_model_prefix + "."
        if not whole:  # a head of an encoder is new
            missing = [name for name in missing if name.startswith(body) and "pooler" not in name]
        if missing:
            raise ArtefactError(
                f"--model {self.name}: its checkpoint lacks {', '.join(missing[:4])}; it is "
                "damaged, or of another architecture than its config.json says"
            )
        if not tokenizer.is_fast:
            raise ArtefactError(
                f"--model {self.name} has no fast tokenizer (tokenizer.json): convert it with "
                "transformers' AutoTokenizer and save it into the folder"
            )


def _is_classifier(config: Any) -> bool:
    names = getattr(config, "architectures", None) or [""]
    return str(names[0]).endswith("ForSequenceClassification")
