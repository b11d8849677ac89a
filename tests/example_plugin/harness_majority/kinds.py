"""A part that edits the model, and one that decodes: what each overrides."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from harness import HFWrapper, Place, Prompt, block, edited, traced


class DampedMixin(HFWrapper):
    """Edits: multiplies the states behind one decoder block, at the answer's tokens.

    Args:
        pretrained: Model id or path, or ``testbed:NAME``.
        damped_layer: The block, from 0.
        damping: What its output is multiplied by.
    """

    def __init__(
        self, pretrained: Any, *, damped_layer: int = 0, damping: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(pretrained, **kwargs)
        self._block, self._damping = block(self.model, damped_layer), damping

    def note(self, request: Any) -> dict[str, Any]:
        """What is done to a request: the response cache tells answers apart by it."""
        return super().note(request) | {"damping": self._damping}

    @contextmanager
    def passes(
        self, rows: Sequence[Prompt | None], places: Sequence[Place] | None
    ) -> Iterator[None]:
        """Around every pass: where its tokens stand in each row's text is in ``places``."""
        with super().passes(rows, places), edited(self._block, partial(self._damped, places)):
            yield

    def _damped(self, places: Sequence[Place] | None, hidden: torch.Tensor) -> torch.Tensor:
        if places is None:  # a text that is scored has no answer
            return hidden
        starts = torch.tensor([place.start for place in places])
        prompts = torch.tensor([place.prompt for place in places])
        at = starts[:, None] + torch.arange(hidden.shape[1])
        factor = torch.where(at >= prompts[:, None], self._damping, 1.0)
        return hidden * factor[..., None].to(hidden)


class CertainMixin(HFWrapper):
    """Decodes: greedily, and tells the mean log-probability of the answer's tokens."""

    passes_by = ("_model_generate", "generate_until")

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers to requests whose prompts are ``Prompt``."""
        return [self._written(*request.args) for request in requests]

    @torch.inference_mode()
    def _written(self, prompt: Prompt, options: dict[str, Any]) -> str:
        ids, answer, total = self.tok_encode(prompt), [], 0.0
        for _ in range(options.get("max_gen_toks", self.max_gen_toks)):
            read = torch.tensor([[*ids, *answer]], device=self.device)
            with self.passes([prompt], [Place(0, len(ids))]):
                log_p = self.model(read).logits[0, -1].log_softmax(-1)
            answer.append(int(log_p.argmax()))
            total += float(log_p.max())
            if answer[-1] in self.ends():
                break
        text = self.tok_decode(answer)
        for stop in options.get("until") or []:
            text = text.partition(stop)[0] if stop else text
        return traced(text, mean_log_probability=total / len(answer))
