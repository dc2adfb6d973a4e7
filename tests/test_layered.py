"""Are a transformer's layers in few passes the layers? Beside torch's own, in exact numbers and in bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight import openmp
from selfsight.bf16 import bf16_is_native
from selfsight.encoders.timm import explicit_attention
from selfsight.layered import attended, gelued, joined
from selfsight.normed import is_installed
from selfsight.quick import quicken

pytestmark = pytest.mark.skipif(not is_installed(), reason="numba is not installed")
N, TOKENS, WIDTH, HEADS = 6, 65, 96, 3
NAME, SIDE = "vit_tiny_patch16_224", 64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _errors(ways: dict[str, Callable[[], dict[str, Tensor]]]) -> Iterator[tuple[str, float, float]]:
    """Of each result, how far ours and torch's are from the exact, in units of it."""
    told = {name: way() for name, way in ways.items()}
    for name, exact in told["exact"].items():
        ours, usual = ((told[way][name].double() - exact).norm() / exact.norm() for way in ("ours", "torch"))
        yield name, float(ours), float(usual)


def _sums(way: str) -> dict[str, Tensor]:
    kind = torch.float64 if way == "exact" else torch.float32
    x, branch = drawn(N, TOKENS, WIDTH).to(kind), drawn(N, TOKENS, WIDTH, seed=1).bfloat16()
    x, branch = (x + 50).requires_grad_(), branch.to(kind if way == "exact" else torch.bfloat16).requires_grad_()
    norm = nn.LayerNorm(WIDTH, eps=1e-6).to(kind)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 1.5, WIDTH))
        norm.bias.copy_(torch.linspace(-0.7, 0.7, WIDTH))
    if way == "ours":
        whole, y = joined(x, branch, norm)
    else:
        whole = x + branch
        y = norm(whole) if way == "exact" else norm(whole).bfloat16()
    down, also = drawn(N, TOKENS, WIDTH, seed=2).bfloat16(), drawn(N, TOKENS, WIDTH, seed=3)
    torch.autograd.backward([y, whole], [down.to(y.dtype), also.to(kind)])
    told = {"y": y, "whole": whole, "x": x.grad, "branch": branch.grad}
    told |= {"weight": norm.weight.grad, "bias": norm.bias.grad}
    return {name: value.detach() for name, value in told.items() if value is not None}


def test_a_sum_and_its_normalisation_are_as_exact_as_torchs() -> None:
    """The sums lie far from nought, where a variance by squares would drown."""
    rows = list(_errors({way: lambda way=way: _sums(way) for way in ("exact", "torch", "ours")}))  # type: ignore[misc]
    assert len(rows) == 6
    for name, ours, usual in rows:
        assert ours < 1.1 * usual + 1e-5, name


@pytest.mark.parametrize("used", [0, 1])
def test_one_result_of_the_two_is_enough(used: int) -> None:
    """The last sum has no layer of its own that normalises it; of a layer that is cut off only the sum goes on."""
    x, branch, norm = drawn(N, TOKENS, WIDTH).requires_grad_(), drawn(N, TOKENS, WIDTH).bfloat16(), nn.LayerNorm(WIDTH)
    branch.requires_grad_()
    slope = drawn(N, TOKENS, WIDTH, seed=4).bfloat16()
    (joined(x, branch, norm)[used] * slope).float().sum().backward()
    whole = (x.detach() + branch.detach()).requires_grad_()
    ((whole if used == 0 else norm(whole)) * slope).sum().backward()
    assert x.grad is not None and whole.grad is not None and branch.grad is not None
    assert (x.grad - whole.grad).norm() < 0.02 * whole.grad.norm()
    torch.testing.assert_close(branch.grad, x.grad.bfloat16(), atol=1e-3, rtol=0.01)


def _attention(way: str) -> dict[str, Tensor]:
    kind = torch.float64 if way == "exact" else torch.bfloat16
    qkv = drawn(N, TOKENS, 3 * WIDTH).bfloat16().to(kind).requires_grad_()
    if way == "ours":
        y = attended(qkv, HEADS, 0.3)
    else:
        q, k, v = qkv.view(N, TOKENS, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind()
        y = ((q * 0.3) @ k.transpose(-2, -1)).softmax(-1) @ v
        y = y.transpose(1, 2).flatten(2)
    y.backward(drawn(N, TOKENS, WIDTH, seed=1).bfloat16().to(kind))
    assert qkv.grad is not None
    return {"y": y.detach(), "qkv": qkv.grad}


def test_attention_is_as_exact_as_torchs() -> None:
    for name, ours, usual in _errors({way: lambda way=way: _attention(way) for way in ("exact", "torch", "ours")}):  # type: ignore[misc]
        assert ours < 1.1 * usual, name


def test_every_bf16_number_has_its_gelu() -> None:
    """All of them, those of which torch's is too far out to be told from nought in bf16 left out."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = x[x.isfinite()].clone().requires_grad_()
    exact = x.detach().double().requires_grad_()
    gelued(nn.GELU(), x).backward(torch.ones_like(x))
    F.gelu(exact).sum().backward()
    assert x.grad is not None and exact.grad is not None
    for ours, wanted in ((gelued(nn.GELU(), x).detach(), F.gelu(exact.detach())), (x.grad, exact.grad)):
        assert ((ours.double() - wanted).abs() < 2**-8 * wanted.abs() + 1e-5).all()


def test_what_is_no_number_stays_none() -> None:
    x = torch.full((N, TOKENS, WIDTH), 0.5)
    x[1, 3, 5] = float("nan")
    assert gelued(nn.GELU(), x.bfloat16()).isnan().sum() == 1
    whole, y = joined(x, torch.zeros_like(x).bfloat16(), nn.LayerNorm(WIDTH))
    assert whole.isnan().sum() == 1
    assert y[1, 3].isnan().all() and y.isnan().sum() == WIDTH


def test_number_of_threads_changes_nothing() -> None:
    if not openmp._start():
        pytest.skip("torch's threads cannot be had here")
    before, told = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        told.append(_sums("ours"))
    torch.set_num_threads(before)
    for name, value in told[0].items():
        assert torch.equal(value, told[1][name]), name


def _network(**settings: object) -> nn.Module:
    import timm

    torch.manual_seed(0)
    net = timm.create_model(NAME, num_classes=0, img_size=SIDE, patch_size=8, depth=3, **settings)
    explicit_attention(net)
    return net.train()  # type: ignore[no-any-return]


def _pictures(n: int = 24) -> Tensor:
    return drawn(n, 3, SIDE, SIDE)


@pytest.mark.skipif(not bf16_is_native(), reason="torch's layers in bf16 are what it is held against")
def test_a_quickened_transformer_errs_no_more_than_torchs() -> None:
    exact, usual, quick = (_network() for _ in range(3))
    assert quicken(quick) == 1
    assert list(quick.state_dict()) == list(exact.state_dict())
    told = []
    for net in (exact, usual, quick):
        with torch.autocast("cpu", torch.bfloat16, enabled=net is not exact):
            z = net(_pictures()).float()
        (z * torch.linspace(-1, 1, z.shape[1])).sum().backward()
        named = dict(net.named_parameters())
        told.append((z.detach(), *(named[name].grad for name in ("patch_embed.proj.weight", "blocks.1.mlp.fc1.bias"))))
    for wanted, torchs, ours in zip(*told, strict=True):
        assert wanted is not None and torchs is not None and ours is not None
        assert (ours - wanted).norm() < 1.15 * (torchs - wanted).norm()


@pytest.mark.parametrize("why", ["fp32", "layer scale", "dropout", "a listener", "a mask", "stochastic depth"])
def test_others_take_timms_way(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight import transformers

    settings = {"layer scale": {"init_values": 0.1}, "dropout": {"proj_drop_rate": 0.1}}
    settings["stochastic depth"] = {"drop_path_rate": 0.5}
    net = _network(**settings.get(why, {}))
    quicken(net)
    if why == "a listener":
        net.blocks[1].attn.register_forward_hook(lambda *_: None)  # type: ignore[union-attr, index, operator]
    monkeypatch.setattr(transformers, "joined", lambda *_: pytest.fail("joined"))
    mask = {"attn_mask": torch.zeros(TOKENS, TOKENS)} if why == "a mask" else {}
    with torch.autocast("cpu", torch.bfloat16, enabled=why != "fp32"):
        assert net.forward_features(_pictures(), **mask).shape == (24, TOKENS, 192)  # type: ignore[operator]


@pytest.mark.parametrize("tokens", [{"class_token": False, "global_pool": "avg"}, {"reg_tokens": 4}])
def test_with_other_tokens_too_it_is_quick_and_the_same(
    tokens: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfsight import transformers

    calls = list[int]()
    monkeypatch.setattr(transformers, "joined", lambda *given: (calls.append(1), joined(*given))[1])
    quick, usual = _network(**tokens), _network(**tokens)
    quicken(quick)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ours, wanted = quick(_pictures()), usual(_pictures())
    assert len(calls) == 2 * 3 - 1
    assert (ours.float() - wanted.float()).norm() < 0.02 * wanted.float().norm()


def test_a_branch_in_other_numbers_goes_torchs_way() -> None:
    x, branch, norm = drawn(N, TOKENS, WIDTH), drawn(N, TOKENS, WIDTH, seed=1), nn.LayerNorm(WIDTH)
    whole, y = joined(x, branch, norm)
    assert torch.equal(whole, x + branch)
    assert torch.equal(y, norm(whole))


def test_without_training_dropout_is_nothing_to_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfsight import transformers

    net, calls = _network(proj_drop_rate=0.1).eval(), list[int]()
    quicken(net)
    monkeypatch.setattr(transformers, "joined", lambda *given: (calls.append(1), joined(*given))[1])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net(_pictures())
    assert len(calls) == 2 * 3 - 1
