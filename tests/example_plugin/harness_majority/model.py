"""Self-consistency: sample k answers, return the most frequent one.

Wang et al., *Self-Consistency Improves Chain of Thought Reasoning*, arXiv 2203.11171, §2:
a = argmax_a Σ_i 1[a_i = a] over k sampled answers. Ties go to the answer sampled first.
"""

from collections import Counter
from typing import Any

from harness import Wrapper, trace_of, traced


class MajorityMixin(Wrapper):
    """Makes any lm-eval generation model answer by vote.

    Args:
        pretrained: Model id or path, or ``testbed:NAME``.
        votes: Number k of answers sampled for each request.
    """

    no_use_cache = ": it would answer all votes with one sample"

    def __init__(self, pretrained: Any, *, votes: int = 5, **kwargs: Any) -> None:
        super().__init__(pretrained, **kwargs)
        self._votes = votes

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """All votes of all requests in one batch, then one winner a request."""
        ballots = [request for request in requests for _ in range(self._votes)]
        answers = super().generate_until(ballots, disable_tqdm)
        return [
            self._winner(answers[start : start + self._votes])
            for start in range(0, len(answers), self._votes)
        ]

    def _winner(self, answers: list[str]) -> str:
        counts = Counter(answer.strip() for answer in answers)
        winner, votes = counts.most_common(1)[0]
        first = next(answer for answer in answers if answer.strip() == winner)
        return traced(winner, **trace_of(first), votes=votes, of=self._votes)

    def labels(self) -> dict[str, str | None]:
        """What the leaderboard has in brackets behind the part's name."""
        return super().labels() | {"majority": f"{self._votes} votes"}

    def get_model_info(self) -> dict[str, Any]:
        """Method and arguments, for the results file and the leaderboard."""
        info: dict[str, Any] = super().get_model_info()
        return info | {"method": "self-consistency", "method_args": {"votes": self._votes}}
