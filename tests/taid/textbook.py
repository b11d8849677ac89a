"""The objectives as the papers print them, on float64 probabilities, for gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def both(z: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return torch.softmax(w.double(), -1), torch.softmax(z.double(), -1)


def kl(a: Tensor, b: Tensor) -> Tensor:
    return (a * torch.log(a / b)).sum(-1)


def sft(z: Tensor, w: Tensor, y: Tensor) -> Tensor:
    _, q = both(z, w)
    return -torch.stack([torch.log(row[label]) for row, label in zip(q, y, strict=True)])


def fkl(z: Tensor, w: Tensor, y: Tensor) -> Tensor:
    p, q = both(z, w)
    return -(p * torch.log(q)).sum(-1)


def rkl(z: Tensor, w: Tensor, y: Tensor) -> Tensor:
    p, q = both(z, w)
    return kl(q, p)


def tvd(z: Tensor, w: Tensor, y: Tensor) -> Tensor:
    p, q = both(z, w)
    return 1 - torch.minimum(p, q).sum(-1)


def js(z: Tensor, w: Tensor, y: Tensor, beta: float = 0.1) -> Tensor:
    p, q = both(z, w)
    m = beta * p + (1 - beta) * q
    return (1 - beta) * kl(q, m) + beta * kl(p, m)


def sfkl(z: Tensor, w: Tensor, y: Tensor, lam: float = 0.1) -> Tensor:
    p, q = both(z, w)
    return -(p * torch.log(lam * p + (1 - lam) * q)).sum(-1)


def srkl(z: Tensor, w: Tensor, y: Tensor, lam: float = 0.1) -> Tensor:
    p, q = both(z, w)
    return kl(q, (1 - lam) * p + lam * q)


def adaptive_kl(z: Tensor, w: Tensor, y: Tensor, mu: float = 0.5) -> Tensor:
    """Row by row and token by token, likeliest first."""
    p, q = both(z, w)
    losses = []
    for row_p, row_q in zip(p, q, strict=True):
        mass, head, tail = 0.0, 0.0, 0.0
        for v in sorted(range(len(row_p)), key=lambda v: -float(row_p[v])):
            gap = abs(float(row_p[v]) - float(row_q[v].detach()))
            if mass < mu:
                head += gap
            else:
                tail += gap
            mass += float(row_p[v])
        forward = -(row_p * torch.log(row_q)).sum()
        losses.append((head * forward + tail * kl(row_q, row_p)) / (head + tail))
    return torch.stack(losses)


def ctkd(z: Tensor, w: Tensor, y: Tensor, temperature: float | Tensor = 0.0) -> Tensor:
    if not isinstance(temperature, Tensor):
        temperature = 1 + 20 / (1 + torch.exp(torch.tensor(-1.0, dtype=torch.float64)))
    p, q = both(z.double() / temperature, w.double() / temperature)
    return -(p * torch.log(q)).sum(-1) * temperature**2


def dkd(
    z: Tensor, w: Tensor, y: Tensor, alpha: float = 1.0, beta: float = 0.5, temperature: float = 1.0
) -> Tensor:
    p, q = both(z.double() / temperature, w.double() / temperature)
    losses = []
    for row_p, row_q, label in zip(p, q, y.tolist(), strict=True):
        others = [v for v in range(len(row_p)) if v != label]
        two_p = torch.stack([row_p[label], row_p[others].sum()])
        two_q = torch.stack([row_q[label], row_q[others].sum()])
        rest = kl(row_p[others] / two_p[1], row_q[others] / two_q[1])
        losses.append(alpha * kl(two_p, two_q) + beta * rest)
    return torch.stack(losses) * temperature**2


def taid(z: Tensor, w: Tensor, y: Tensor, t: float = 0.4) -> Tensor:
    p_t = torch.softmax((1 - t) * z.detach().double() + t * w.double(), -1)
    return -(p_t * torch.log(torch.softmax(z.double(), -1))).sum(-1)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    formula.__name__: formula
    for formula in (sft, fkl, rkl, tvd, js, sfkl, srkl, adaptive_kl, ctkd, dkd, taid)
}
