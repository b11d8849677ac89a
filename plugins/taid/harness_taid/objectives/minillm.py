r"""MiniLLM: reverse KL on the student's own sequences, by a policy gradient.

Gu, Dong, Wei and Huang 2024, *MiniLLM: Knowledge Distillation of Large Language Models*, arXiv
2306.08543, §2.2. A sequence y₁…y_T is sampled from p̃ = α p + (1 − α) q, α = ``mixing``.

    r_t = log p(y_t) − log q(y_t)
    R_t = the mean of r over the tokens after t (0 at the last): length-normalised
    w_t = q(y_t) / p̃(y_t), at most 1 / (1 − α)
    loss_t = w_t · (KL(q_t ‖ p_t) − R_t · log q(y_t)),   w and R constants to the gradient

The first part is the exact gradient of the token's own reward (single-step regularisation), the
second the policy gradient of what follows. ``single_step=False`` leaves the first out and counts
r_t in R_t; ``length_normalisation=False`` makes R a sum.

A token's w and R hang on its sequence, so they are made in a pass of their own, without gradients
(``policy.policy_weights``), and the loss is again a sum over tokens:

    >>> weights = policy_weights(objective, hidden, head, teacher, labels=…, lengths=…)  # [N, 2]
    >>> loss = chunked_loss(objective, hidden, head, teacher, labels, weights=weights, …)

For r = (1, 3, 2) R is (2.5, 2, 0).

Deviations: R is a mean over the T − t tokens that follow; the paper divides by T − t − 1, which is
0 at the last but one. Every batch is used once, so there is no clipping of policies apart. There is
no pre-training loss; ``ratio`` mixes in the data's cross-entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness_taid.objectives.base import Context, Objective, Terms
from harness_taid.objectives.divergences import label_cross_entropy, reverse_kl
from harness_taid.objectives.ranges import require


class MiniLLM(Objective):
    """w · (KL(q ‖ p) − R · log q(y)) on sequences of α p + (1 − α) q, α = mixing."""

    name = "minillm"
    needs_weights = True

    def __init__(
        self,
        context: Context,
        *,
        mixing: float = 0.2,
        length_normalisation: bool = True,
        single_step: bool = True,
    ) -> None:
        super().__init__(context)
        require(self.name, "mixing", mixing, 0, 1, without_high=True)
        self.mixing = mixing
        self.length_normalisation = length_normalisation
        self.single_step = single_step

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        assert teacher is not None and weights is not None
        importance, reward = weights.float().unbind(-1)
        policy = reward * label_cross_entropy(student, labels)
        own = reverse_kl(student, teacher) if self.single_step else torch.zeros_like(policy)
        parts = {"kl": own.detach().sum(), "reward": reward.sum()}
        return Terms(importance * (own + policy), parts)

    @torch.no_grad()
    def weights(self, log_q: Tensor, log_p: Tensor, lengths: Tensor) -> Tensor:
        """Each token's w and R; the tokens are sequences one after the other.

        Args:
            log_q: Log-probabilities of the sampled tokens under the student, [N].
            log_p: Under the teacher, [N].
            lengths: Tokens of each sequence; their sum is N.

        Returns:
            [N, 2] float32.
        """
        rewards = (log_p - log_q).double()
        mixture = self.mixing * rewards.exp() + (1 - self.mixing)
        sequences = torch.split(rewards, lengths.tolist())
        following = torch.cat([rewards[:0], *map(self._returns, sequences)])
        return torch.stack([1 / mixture, following], dim=-1).float()

    def _returns(self, rewards: Tensor) -> Tensor:
        """R of a sequence's rewards [T]."""
        sums = rewards.flip(0).cumsum(0).flip(0)
        counts = torch.arange(len(rewards), 0, -1, dtype=sums.dtype, device=sums.device)
        if self.single_step:
            sums, counts = sums - rewards, counts - 1
        return sums / counts.clamp_min(1) if self.length_normalisation else sums
