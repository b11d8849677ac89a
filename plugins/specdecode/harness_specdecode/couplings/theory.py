r"""What speculative decoding is expected to gain, from agreement and from the cost of passes.

Leviathan, Kalman and Matias 2023, *Fast Inference from Transformers via Speculative Decoding*
(arXiv 2211.17192). With α the probability that a drafted token is right, γ drafted tokens a round,
and c the cost of drafting one in passes of the target:

    tokens a pass of the target     E = (1 − α^{γ+1}) / (1 − α)                     equation 1
    speed-up                        S = E / (γ c + 1)                               theorem 3.8

α is the mean agreement of the coupling at hand: 1 − d for the ratio test, the Gumbel sum for shared
Gumbel noise, the sum of darts for MinHash (``couplings``).

*Along an answer.* Agreement differs from token to token, and neighbours are alike, so that E with
its mean is off. Given the target's answer x_0 … x_{L−1}, whether a draft is right at t is
independent of all other positions, with probability

    a_t = Pr[the drafter picks x_t | the target picks x_t]        with p and q at x_t:

    ratio test   min(1, q/p)
    Gumbel       1 / (p Σ_i max(p_i/p, q_i/q))
    darts        min(1, q/p) (1 + |p − q|) / (1 + d)

Its mean over x_t ~ p_t is the agreement at t. With s_t the
probability that a round starts at t, passes are Σ s_t exactly, by s_0 = 1 and

    s_{t+n+1} += s_t a_t … a_{t+n−1} (1 − a_{t+n})   n < m,      s_{t+m+1} += s_t a_t … a_{t+m−1}

with m = min(γ, limit − t − 1) tokens drafted, none at 0, where the prompt is read. This is what
``tokens`` of a cell means here.

*On a machine.* Theorem 3.8 takes γ + 1 tokens to be read at the price of one, and all else to be
free. In units of a target's pass over one token a row, with v the price of reading γ + 1, h_γ of
all else that a round does (drawing, checking, writing), and r, r_d of reading prompts by target and
drafter, a token:

    S = (1 + h_0 + r) / ((γ c + v + h_γ) / E + r + r_d)

which is theorem 3.8 for v = 1 and h = r = r_d = 0.

Worked example, α = 0.8, γ = 4, c = 0.1: E = (1 − 0.8⁵)/0.2 = 3.3616, S = 3.3616/1.4 = 2.4011. If
reading five tokens costs 1.5 passes, S = 3.3616/1.9 = 1.7693.

    >>> tokens = expected_tokens(0.8, 4)
    >>> f"{tokens:.4f} {speed_up(tokens, 4, 0.1):.4f}"
    '3.3616 2.4011'
    >>> f"{speed_up_here(tokens, 4, Costs(draft=0.1, verify=1.5)):.4f}"
    '1.7693'

Deliberate choices: drafts of prompt lookup have no distribution, so that their α is measured; where
it finds nothing, a round writes one token, and costs a plain one's price if no row of the batch has
a draft. ICWS, by which the scheme ``minhash`` decodes,
has no closed form; that of darts stands for it, and both are at least (1 − d)/(1 + d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Prices in passes of the target over one token a row.

    Args:
        draft: A drafter's pass, c.
        verify: The target's pass over γ + 1 tokens a row, v.
        rest: All else of a round, h_γ.
        plain_rest: All else of a round of plain decoding, h_0.
        prefill: The target's reading of prompts, a token written, r.
        draft_prefill: The drafter's, r_d.
    """

    draft: float = 0.0
    verify: float = 1.0
    rest: float = 0.0
    plain_rest: float = 0.0
    prefill: float = 0.0
    draft_prefill: float = 0.0

    def drafting(self, share: float) -> Costs:
        """Prices where only this share of the rounds has a draft in any row."""
        verify = 1 + share * (self.verify - 1)
        rest = self.plain_rest + share * (self.rest - self.plain_rest)
        return replace(self, verify=verify, rest=rest)


@dataclass(frozen=True)
class Rounds:
    """What is expected along an answer.

    Args:
        calls: Passes of the target.
        looked: Drafted tokens looked at: the right ones, and the first wrong one of a round.
        right: Drafted tokens that are right.
    """

    calls: float
    looked: float
    right: float


def expected_tokens(alpha: float, gamma: int, drafting: float = 1.0) -> float:
    """Tokens that a pass of the target writes, (1 − α^{γ+1})/(1 − α) if every round has a draft.

    Args:
        alpha: Probability that a drafted token is right, 0 to 1.
        gamma: Tokens drafted a round.
        drafting: Share of the rounds that have a draft.
    """
    return 1 + drafting * sum(alpha**j for j in range(1, gamma + 1))


def expected_rounds(agreements: Sequence[float], gamma: int, limit: int) -> Rounds:
    """Passes along an answer, exactly.

    Args:
        agreements: Probability that a draft is right at each token of the answer, given the token.
        gamma: Tokens drafted a round; 0 is plain decoding.
        limit: Tokens the answer could have had; no draft goes beyond it.
    """
    length = len(agreements)
    starts = [1.0] + [0.0] * (length + gamma)
    looked = right = 0.0
    for t in range(length):
        # the pass that reads the prompt writes the first token, without a draft
        drafted, so_far = min(gamma, limit - t - 1, length - t) if t else 0, starts[t]
        for i in range(t, t + drafted):
            looked += so_far
            starts[i + 1] += so_far * (1 - agreements[i])
            so_far *= agreements[i]
            right += so_far
        starts[t + drafted + 1] += so_far
    return Rounds(sum(starts[:length]), looked, right)


def speed_up(tokens: float, gamma: int, cost: float) -> float:
    """Theorem 3.8: how much faster than plain decoding, if a pass costs the same at any width.

    Args:
        tokens: Tokens that a pass of the target writes, E.
        gamma: Tokens drafted a round.
        cost: A drafter's pass in passes of the target, c.
    """
    return tokens / (gamma * cost + 1)


def speed_up_here(tokens: float, gamma: int, costs: Costs) -> float:
    """How much faster than plain decoding at given prices.

    Args:
        tokens: Tokens that a pass of the target writes, E.
        gamma: Tokens drafted a round.
        costs: What passes cost.
    """
    plain = 1 + costs.plain_rest + costs.prefill
    a_round = gamma * costs.draft + costs.verify + costs.rest
    return plain / (a_round / tokens + costs.prefill + costs.draft_prefill)
