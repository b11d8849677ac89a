"""Each objective and its gradient against the textbook's formula in float64, and by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from harness_taid.objectives import NAMES, Objective, build, described
from harness_taid.objectives.adaptive_kl import head_of
from harness_taid.objectives.blended import Blended
from harness_taid.objectives.ctkd import CTKD
from harness_taid.objectives.minillm import MiniLLM
from harness_taid.objectives.taid import TAID
from torch import Tensor

from harness.errors import ArtefactError, HarnessError
from taid.textbook import FORMULAS

OF_LOGITS = tuple(FORMULAS)  # all but minillm, whose rows have weights too
INFINITY = float("inf")


def rows(n: int = 7, vocabulary: int = 11, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, vocabulary, generator=random)
    w = 2 * torch.randn(n, vocabulary, generator=random)
    return z, w, torch.randint(vocabulary, (n,), generator=random)


def made(name: str, **settings: float) -> Objective:
    return build(name, settings, total_steps=100)


def token_losses(
    objective: Objective, z: Tensor, w: Tensor, y: Tensor, weights: Tensor | None = None
) -> Tensor:
    return objective.terms(z, w, y, weights).losses


def losses_and_gradient(
    objective: Objective, z: Tensor, w: Tensor, y: Tensor
) -> tuple[Tensor, ...]:
    z = z.clone().requires_grad_()
    weights = torch.ones(len(z), 2)
    losses = token_losses(objective, z, w, y, weights)
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    return losses.detach(), gradient


def log(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_are_the_textbooks(name: str, seed: int) -> None:
    z, w, y = rows(seed=seed)
    losses, gradient = losses_and_gradient(made(name), z, w, y)
    exact = z.double().requires_grad_()
    expected = FORMULAS[name](exact, w, y)
    (slope,) = torch.autograd.grad(expected.sum(), exact)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.double(), expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("js", {"beta": 0.5}),
        ("sfkl", {"lam": 0.7}),
        ("srkl", {"lam": 0.0}),
        ("adaptive_kl", {"mu": 0.9}),
        ("dkd", {"alpha": 0.3, "beta": 2.0, "temperature": 3.0}),
    ],
)
def test_settings_reach_the_formula(name: str, settings: dict[str, float]) -> None:
    z, w, y = rows()
    found = token_losses(made(name, **settings), z, w, y)
    torch.testing.assert_close(
        found.double(), FORMULAS[name](z, w, y, **settings), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("sft", math.log(2)),
        ("fkl", math.log(2)),
        ("rkl", 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)),
        ("tvd", 0.3),
        ("js", 0.017473),
        ("sfkl", -0.8 * math.log(0.53) - 0.2 * math.log(0.47)),
        ("srkl", 0.5 * math.log(0.5 / 0.77) + 0.5 * math.log(0.5 / 0.23)),
    ],
)
def test_two_tokens_by_hand(name: str, loss: float) -> None:
    found = token_losses(made(name), log(0.5, 0.5), log(0.8, 0.2), torch.tensor([0]))
    assert float(found) == pytest.approx(loss, abs=1e-6)


def test_adaptive_kl_and_dkd_by_hand() -> None:
    q, p, y = log(0.2, 0.5, 0.3), log(0.6, 0.3, 0.1), torch.tensor([0])
    forward = -0.6 * math.log(0.2) - 0.3 * math.log(0.5) - 0.1 * math.log(0.3)
    backward = 0.2 * math.log(0.2 / 0.6) + 0.5 * math.log(0.5 / 0.3) + 0.3 * math.log(0.3 / 0.1)
    assert float(token_losses(made("adaptive_kl"), q, p, y)) == pytest.approx(
        0.5 * forward + 0.5 * backward, abs=1e-6
    )
    target = 0.6 * math.log(0.6 / 0.2) + 0.4 * math.log(0.4 / 0.8)
    others = 0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375)
    terms = made("dkd").terms(q, p, y)
    assert float(terms.losses) == pytest.approx(target + 0.5 * others, abs=1e-6)
    assert float(terms.parts["target"]) == pytest.approx(target, abs=1e-6)
    assert float(terms.parts["others"]) == pytest.approx(others, abs=1e-6)


def test_taid_by_hand() -> None:
    objective = made("taid", t_start=0.5)
    z, w = torch.zeros(1, 2), torch.tensor([[2.0, 0.0]])
    losses, gradient = losses_and_gradient(objective, z, w, torch.tensor([0]))
    p = 1 / (1 + math.exp(-1))
    assert float(losses) == pytest.approx(math.log(2), abs=1e-6)
    torch.testing.assert_close(gradient, torch.tensor([[0.5 - p, p - 0.5]]))
    parts = objective.terms(z, w, torch.tensor([0])).parts
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert float(parts["cross_entropy"]) == pytest.approx(math.log(2), abs=1e-6)
    assert float(parts["kl"]) == pytest.approx(math.log(2) - entropy, abs=1e-6)


def at_t(t: float) -> Objective:
    objective = build("taid", {}, total_steps=100)
    assert isinstance(objective, TAID)
    objective.schedule.t = t
    return objective


def test_taid_at_t_1_is_forward_kl() -> None:
    z, w, y = rows()
    for taid, fkl in zip(
        losses_and_gradient(at_t(1.0), z, w, y),
        losses_and_gradient(made("fkl"), z, w, y),
        strict=True,
    ):
        assert torch.equal(taid, fkl)


def test_taid_at_t_0_has_no_gradient() -> None:
    z, w, y = rows()
    for teacher in (w, z):
        _, gradient = losses_and_gradient(at_t(0.0), z, teacher, y)
        assert float(gradient.abs().max()) < 1e-6
    _, gradient = losses_and_gradient(at_t(0.7), z, z, y)  # equal logits: p_t = q at every t
    assert float(gradient.abs().max()) < 1e-6


@pytest.mark.parametrize("name", OF_LOGITS)
def test_an_id_that_both_lack_does_not_exist(name: str) -> None:
    z, w, y = rows()
    y = y.clamp(max=9)
    z[:, 10] = w[:, 10] = -INFINITY
    found = losses_and_gradient(made(name), z, w, y)
    expected = losses_and_gradient(made(name), z[:, :10], w[:, :10], y)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1][:, :10], expected[1])
    assert not found[1][:, 10].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lacking", ["student", "teacher"])
@pytest.mark.parametrize("nothing", [-INFINITY, torch.finfo(torch.float32).min, -65504.0])
def test_an_id_that_one_lacks_gives_no_nan(name: str, lacking: str, nothing: float) -> None:
    z, w, y = rows()
    (z if lacking == "student" else w)[:, 3] = nothing
    y[0] = 3
    losses, gradient = losses_and_gradient(made(name), z, w, y)
    wanted = 0 if name != "sft" or lacking == "teacher" else 1  # sft says how far off a label is
    assert losses[wanted:].isfinite().all() and gradient[wanted:].isfinite().all()
    if lacking == "student":
        assert not gradient[:, 3].any()


def test_terms_of_a_lacking_id_count_zero() -> None:
    z, w, y = rows(n=1)
    z[0, 3] = -INFINITY
    p, q = w.double().softmax(-1)[0], z.double().softmax(-1)[0]
    expected = -sum(float(p[v] * q[v].log()) for v in range(11) if v != 3)
    assert float(token_losses(made("fkl"), z, w, y)) == pytest.approx(expected, rel=1e-6)
    assert float(token_losses(at_t(1.0), z, w, y)) == pytest.approx(expected, rel=1e-6)
    between = at_t(0.5).terms(z, w, y)  # p_t has no mass there
    without = [v for v in range(11) if v != 3]
    expected_between = at_t(0.5).terms(z[:, without], w[:, without], y)
    torch.testing.assert_close(between.losses, expected_between.losses)
    torch.testing.assert_close(between.parts, expected_between.parts)
    z, w = w, z
    p, q = w.double().softmax(-1)[0], z.double().softmax(-1)[0]
    expected = sum(float(q[v] * (q[v] / p[v]).log()) for v in range(11) if v != 3)
    assert float(token_losses(made("rkl"), z, w, y)) == pytest.approx(expected, rel=1e-6)
    expected = float((p - q).abs().sum() / 2)
    assert float(token_losses(made("tvd"), z, w, y)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_that_underflow(name: str) -> None:
    """Logits 300 apart: softmaxes of exactly 0 in float32, in both, in one, and at the label."""
    z = torch.tensor([[0.0, -300.0, -300.0, 1.0], [0.0, -300.0, 5.0, -200.0]])
    w = torch.tensor([[0.0, -300.0, 2.0, -300.0], [0.0, 5.0, -300.0, -200.0]])
    for label in range(4):
        losses, gradient = losses_and_gradient(made(name), z, w, torch.tensor([label, label]))
        assert losses.isfinite().all() and gradient.isfinite().all()


def test_the_reference_codes_js_is_nan_where_both_underflow() -> None:
    z, w = torch.tensor([[0.0, -300.0, 1.0]]), torch.tensor([[0.0, -300.0, 2.0]])
    y = torch.tensor([0])
    reference = build("js", {}, total_steps=1, compat="reference")
    assert token_losses(reference, z, w, y).isnan().all()
    expected = FORMULAS["js"](z[:, [0, 2]], w[:, [0, 2]], y)
    assert float(token_losses(made("js"), z, w, y)) == pytest.approx(float(expected), rel=1e-5)
    z, w, y = rows()
    torch.testing.assert_close(token_losses(reference, z, w, y), token_losses(made("js"), z, w, y))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_number_stays_so(name: str) -> None:
    z, w, y = rows(n=2)
    z[0, 4] = math.nan
    losses, _ = losses_and_gradient(made(name), z, w, y)
    assert losses[0].isnan() and losses[1].isfinite()


@pytest.mark.parametrize("name", sorted(set(OF_LOGITS) - {"sft", "dkd"}))
def test_no_cross_entropy_with_the_labels_is_mixed_in(name: str) -> None:
    z, w, y = rows()
    other = (y + 1) % 11
    for one, two in zip(
        losses_and_gradient(made(name), z, w, y),
        losses_and_gradient(made(name), z, w, other),
        strict=True,
    ):
        assert torch.equal(one, two)


def test_a_ratio_mixes_it_in_and_says_so() -> None:
    z, w, y = rows()
    mixed = build("fkl", {"ratio": 0.75}, total_steps=10)
    terms = mixed.terms(z, w, y)
    lm, distil = FORMULAS["sft"](z, w, y), FORMULAS["fkl"](z, w, y)
    torch.testing.assert_close(
        terms.losses.double(), 0.25 * lm + 0.75 * distil, rtol=1e-5, atol=1e-6
    )
    assert float(terms.parts["lm"]) == pytest.approx(float(lm.sum()), rel=1e-5)
    assert float(terms.parts["distil"]) == pytest.approx(float(distil.sum()), rel=1e-5)
    assert not isinstance(build("fkl", {"ratio": 1.0}, total_steps=10), Blended)


def test_a_blended_taids_t_follows_the_distillation_loss() -> None:
    plain = build("taid", {"alpha": 0.5}, total_steps=10)
    mixed = build("taid", {"alpha": 0.5, "ratio": 0.5}, total_steps=10)
    for step, loss in enumerate((3.0, 2.0, 1.5), 1):
        logged = plain.after_step(loss, step)
        assert mixed.after_step(99.0 + step, step, {"distil": loss, "lm": 7.0}) == logged
    with pytest.raises(ValueError, match="parts"):
        mixed.after_step(1.0, 4)


def test_the_head_is_the_smallest_set_with_the_mass() -> None:
    p = torch.tensor([[0.1, 0.6, 0.3], [0.4, 0.25, 0.35], [1 / 3, 1 / 3, 1 / 3]])
    assert head_of(p, 0.5).tolist() == [[False, True, False], [True, False, True], [True] * 3]
    assert head_of(p, 0.61)[0].tolist() == [False, True, True]
    assert head_of(p, 1.0).all()


def test_a_head_of_more_tokens_than_are_sorted_at_first() -> None:
    p = torch.softmax(torch.randn(5, 700, generator=torch.Generator().manual_seed(0)) / 9, -1)
    for row, head in zip(p, head_of(p, 0.5), strict=True):
        assert int(head.sum()) > 128
        assert float(row[head].sum()) >= 0.5 > float(row[head].sum() - row[head].min())
        assert float(row[head].min()) > float(row[~head].max())


def test_adaptive_kl_where_student_and_teacher_agree() -> None:
    _, w, y = rows()
    losses, gradient = losses_and_gradient(made("adaptive_kl"), w, w, y)
    entropy = FORMULAS["fkl"](w, w, y)
    torch.testing.assert_close(losses.double(), entropy / 2, rtol=1e-5, atol=1e-6)
    assert float(gradient.abs().max()) < 1e-6


def test_the_reference_codes_adaptive_kl_takes_the_last_ids_for_the_head() -> None:
    q, p = log(0.2, 0.5, 0.3), log(0.6, 0.3, 0.1)  # rising: 0.1, 0.4, 1.0: the third place
    objective = build("adaptive_kl", {}, total_steps=1, compat="reference")
    z = q.requires_grad_()
    terms = objective.terms(z, p, torch.tensor([0]))
    assert float(terms.parts["head_weight"]) == pytest.approx(0.2 / 0.8, abs=1e-6)
    (gradient,) = torch.autograd.grad(terms.losses.sum(), z)
    exact = q.detach().double().requires_grad_()
    s, t = exact.softmax(-1)[0], p.double().exp()[0]
    gaps = (s - t).abs()
    share = gaps[2] / gaps.sum()
    loss = share * -(t * s.log()).sum() + (1 - share) * (s * (s / t).log()).sum()
    assert float(terms.losses.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    torch.testing.assert_close(
        gradient.double(), torch.autograd.grad(loss, exact)[0], rtol=1e-4, atol=1e-6
    )


def ctkd(**settings: float) -> CTKD:
    objective = build("ctkd", settings, total_steps=100, steps_per_epoch=10)
    assert isinstance(objective, CTKD)
    return objective


def test_ctkds_temperature_and_the_curriculum_of_its_gradient() -> None:
    objective = ctkd()
    assert objective.temperature == pytest.approx(1 + 20 / (1 + math.exp(-1)), rel=1e-6)
    found = []
    for step in (0, 25, 50, 100, 200):
        objective.step = step
        found.append(objective.reversal)
    assert found == pytest.approx([0, -(1 - math.sqrt(0.5)) / 2, -0.5, -1, -1])


def test_ctkds_theta_climbs_the_loss() -> None:
    z, w, y = rows()
    objective = ctkd()
    objective.step = 50
    (theta,) = objective.parameters()
    token_losses(objective, z, w, y).sum().backward()
    exact = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    temperature = 1 + 20 * torch.sigmoid(exact)
    (slope,) = torch.autograd.grad(FORMULAS["ctkd"](z, w, y, temperature).sum(), exact)
    assert theta.grad is not None
    assert float(theta.grad) == pytest.approx(-0.5 * float(slope), rel=1e-4)
    before = token_losses(objective, z, w, y).sum()
    torch.optim.SGD([theta], lr=1e-4).step()
    assert bool(token_losses(objective, z, w, y).sum() > before)


def test_ctkds_state_and_log() -> None:
    objective = ctkd()
    with torch.no_grad():
        objective.theta.fill_(0.3)
    logged = objective.after_step(1.0, 20)
    assert logged == {"temperature": objective.temperature, "reversal": 0.0}
    again = ctkd()
    again.load_state_dict(json.loads(json.dumps(objective.state_dict())))
    assert again.temperature == objective.temperature and again.reversal == objective.reversal != 0
    assert torch.equal(again.theta, objective.theta)


def test_the_reference_codes_theta_is_not_trained_and_its_dkd_counts_masked_positions() -> None:
    assert build("ctkd", {}, total_steps=1, compat="reference").parameters() == []
    assert build("dkd", {}, total_steps=1, compat="reference").counts_masked
    assert build("dkd", {"ratio": 0.5}, total_steps=1, compat="reference").counts_masked
    assert not made("dkd").counts_masked


def minillm(**settings: float | bool) -> MiniLLM:
    objective = build("minillm", settings, total_steps=1)
    assert isinstance(objective, MiniLLM)
    return objective


@pytest.mark.parametrize(
    ("settings", "returns"),
    [
        ({}, [2.5, 2, 0, 4, 0]),
        ({"length_normalisation": False}, [5, 2, 0, 4, 0]),
        ({"single_step": False}, [2, 2.5, 2, 4.5, 4]),
        ({"single_step": False, "length_normalisation": False}, [6, 5, 2, 9, 4]),
    ],
)
def test_minillms_returns_by_hand(settings: dict[str, bool], returns: list[float]) -> None:
    log_q, rewards = torch.linspace(-3, -1, 5), torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0])
    weights = minillm(**settings).weights(log_q, log_q + rewards, torch.tensor([3, 2]))
    assert weights[:, 1].tolist() == pytest.approx(returns, rel=1e-6)
    ratios = [1 / (0.2 * math.exp(r) + 0.8) for r in rewards.tolist()]
    assert weights[:, 0].tolist() == pytest.approx(ratios, rel=1e-6)


def test_minillms_sequences_may_be_empty() -> None:
    nothing = torch.zeros(0)
    assert minillm().weights(nothing, nothing, torch.tensor([0, 0])).shape == (0, 2)
    one = minillm().weights(torch.tensor([-1.0]), torch.tensor([-2.0]), torch.tensor([0, 1, 0]))
    assert one.shape == (1, 2)


def test_minillms_loss_and_gradient() -> None:
    z, w, y = rows()
    weights = torch.rand(7, 2, generator=torch.Generator().manual_seed(1)) * 3
    exact = z.double().requires_grad_()
    own, lm = FORMULAS["rkl"](exact, w, y), FORMULAS["sft"](exact, w, y)
    for single_step in (True, False):
        student = z.clone().requires_grad_()
        losses = token_losses(minillm(single_step=single_step), student, w, y, weights)
        a, b = weights.double().T
        expected = a * (own * single_step + b * lm)
        torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-6)
        found = torch.autograd.grad(losses.sum(), student)[0]
        slope = torch.autograd.grad(expected.sum(), exact, retain_graph=True)[0]
        torch.testing.assert_close(found.double(), slope, rtol=1e-4, atol=1e-5)


def test_minillms_policy_gradient_is_that_of_the_reverse_kl() -> None:
    """Of sequences of one token, in expectation over what the student or the mixture samples."""
    z, w, _ = rows(n=1)
    exact = z.double().requires_grad_()
    (slope,) = torch.autograd.grad(FORMULAS["rkl"](exact, w, torch.zeros(1)).sum(), exact)
    log_q, log_p = z.log_softmax(-1)[0], w.log_softmax(-1)[0]
    for mixing in (0.0, 0.2):
        objective = minillm(single_step=False, mixing=mixing)
        total = torch.zeros_like(z)
        for v in range(11):
            weights = objective.weights(log_q[v : v + 1], log_p[v : v + 1], torch.tensor([1]))
            student = z.clone().requires_grad_()
            loss = token_losses(objective, student, w, torch.tensor([v]), weights).sum()
            chance = mixing * log_p[v].exp() + (1 - mixing) * log_q[v].exp()
            total += chance * torch.autograd.grad(loss, student)[0]
        torch.testing.assert_close(total.double(), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_goes_through_json(name: str) -> None:
    objective = made(name)
    for step in range(1, 6):
        objective.after_step(5.0 / step, step)
    again = made(name)
    again.load_state_dict(json.loads(json.dumps(objective.state_dict())))
    assert again.after_step(0.7, 6) == objective.after_step(0.7, 6)
    with pytest.raises(ArtefactError, match="state has wrong; needed is"):
        again.load_state_dict({"wrong": 1})


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_taken_to_float32(name: str) -> None:
    z, w, y = rows()
    z, w, weights = z.bfloat16(), w.bfloat16(), torch.ones(7, 2)
    found = token_losses(made(name), z, w, y, weights)
    assert torch.equal(found, token_losses(made(name), z.float(), w.float(), y, weights))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("klf", {}, "--objective klf: use one of sft, fkl"),
        ("fkl", {"beta": 0.5}, "objective fkl has no setting 'beta': its settings are ratio"),
        ("sft", {"ratio": 0.5}, "objective sft has no setting 'ratio': it has no settings"),
        ("js", {"beta": 0.0}, "objective js: beta=0.0 is out of range; needed is 0 < beta < 1"),
        ("js", {"beta": math.nan}, "beta=nan is out of range"),
        ("js", {"beta": "0.1"}, "objective js: beta='0.1' is not a number"),
        ("js", {"beta": True}, "beta=True is not a number"),
        ("sfkl", {"lam": 1.0}, "needed is 0 ≤ lam < 1"),
        ("srkl", {"lam": -0.1}, "needed is 0 ≤ lam < 1"),
        ("adaptive_kl", {"mu": 0.0}, "needed is 0 < mu ≤ 1"),
        ("ctkd", {"ramp_epochs": 0}, "needed is 0 < ramp_epochs"),
        ("dkd", {"temperature": 0}, "needed is 0 < temperature"),
        ("minillm", {"mixing": 1.0}, "needed is 0 ≤ mixing < 1"),
        ("minillm", {"single_step": 1}, "single_step=1 is not true or false"),
        ("taid", {"t_start": 1.0}, "objective taid: t_start=1.0 is out of range"),
        ("taid", {"ratio": 1.1}, "needed is 0 ≤ ratio ≤ 1"),
    ],
)
def test_wrong_settings_are_one_clear_line(
    name: str, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        build(name, settings, total_steps=10)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_compat() -> None:
    with pytest.raises(HarnessError, match=r"--compat papers: did you mean paper\?"):
        build("fkl", {}, total_steps=10, compat="papers")


def test_all_objectives_of_the_paper_are_there_and_described() -> None:
    names = "sft fkl rkl tvd js sfkl srkl adaptive_kl ctkd dkd minillm taid"
    assert names.split() == list(NAMES)
    assert described("js").endswith("[beta 0.1]")
    assert described("taid").endswith("alpha 0.0005, beta 0.99, adaptive True]")
