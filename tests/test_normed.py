"""Are layers in few passes the layers? Beside torch's own, in exact numbers and in bf16."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from inspect import signature

import pytest
import torch
from torch import Tensor, nn

from selfsight import openmp
from selfsight.bf16 import bf16_is_native
from selfsight.normed import is_installed, normed, normed_for_two
from selfsight.quick import quicken
from selfsight.watched import is_watched

pytestmark = pytest.mark.skipif(not is_installed(), reason="numba is not installed")
SHAPES = ((64, 32, 16, 16), (37, 48, 13, 11), (9, 300, 8, 8))
LAST = torch.channels_last
OURS = "_NormedBackward"


def _maps(shape: tuple[int, ...], seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    return drawn.bfloat16().contiguous(memory_format=LAST)


def _norm(channels: int, kind: torch.dtype = torch.float32) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).train()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 1.5, channels))
        norm.bias.copy_(torch.linspace(-0.7, 0.7, channels))
    return norm.to(kind)


def _results(way: str, shape: tuple[int, ...], joined: bool, cuts: bool) -> dict[str, Tensor]:
    """What comes out, and what comes back, by torch in float64 ("exact") or bf16 ("torch"), or by us."""
    kind = torch.float64 if way == "exact" else torch.bfloat16
    x, skip, dy = (_maps(shape, seed).to(kind) for seed in range(3))
    x, skip = x.requires_grad_(), skip.requires_grad_()
    norm = _norm(shape[1], torch.float64 if way == "exact" else torch.float32)
    if way == "ours":
        y = normed(norm, nn.ReLU() if cuts else None, x, skip if joined else None)
        assert y.grad_fn is not None and y.grad_fn.name().endswith(OURS)
    else:
        y = norm(x) + skip if joined else norm(x)
        y = y.relu() if cuts else y
    y.backward(dy)
    assert x.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    assert norm.running_mean is not None and norm.running_var is not None
    told = {"y": y, "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    told |= {"running mean": norm.running_mean, "running variance": norm.running_var}
    if joined:
        assert skip.grad is not None
        told["skip"] = skip.grad
    return {name: value.detach().double() for name, value in told.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("cuts", [False, True])
def test_is_as_exact_as_torchs_layers(shape: tuple[int, ...], joined: bool, cuts: bool) -> None:
    exact, torchs, ours = (_results(way, shape, joined, cuts) for way in ("exact", "torch", "ours"))
    for name, wanted in exact.items():
        wrong, usual = ((told[name] - wanted).norm() / wanted.norm() for told in (ours, torchs))
        assert wrong < 1.1 * usual + 1e-4, name


def test_gradients_of_two_users_are_added_up() -> None:
    given = [_maps(SHAPES[0], seed) for seed in range(4)]
    one, other = (each.clone().requires_grad_() for each in (given[0], given[0]))
    norms = _norm(SHAPES[0][1]), _norm(SHAPES[0][1])
    first, second = normed_for_two(norms[0], nn.ReLU(), one, given[1])
    torch.autograd.backward([first, second], [given[2], given[3]])
    alone = normed(norms[1], nn.ReLU(), other, given[1])
    alone.backward(given[2] + given[3])
    for ours, wanted in ((one.grad, other.grad), (norms[0].weight.grad, norms[1].weight.grad)):
        assert ours is not None and wanted is not None
        assert (ours - wanted).norm() < 0.01 * wanted.norm()  # sums half-way between two numbers are rounded otherwise


@pytest.mark.parametrize("used", [0, 1])
def test_one_user_of_two_is_enough(used: int) -> None:
    x, dy = _maps(SHAPES[0], 0).requires_grad_(), _maps(SHAPES[0], 2)
    normed_for_two(_norm(SHAPES[0][1]), nn.ReLU(), x)[used].backward(dy)
    other = _maps(SHAPES[0], 0).requires_grad_()
    normed(_norm(SHAPES[0][1]), nn.ReLU(), other).backward(dy)
    torch.testing.assert_close(x.grad, other.grad)


def test_number_of_threads_changes_nothing(threads: None) -> None:
    if not openmp._start():
        pytest.skip("torch's threads cannot be had here")
    told = []
    for count in (1, 2):
        torch.set_num_threads(count)
        told.append(_results("ours", SHAPES[1], True, True))
    for name, value in told[0].items():
        assert torch.equal(value, told[1][name]), name


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_what_is_no_number_stays_none() -> None:
    x = _maps(SHAPES[0], 0)
    x[3, 5, 2, 2] = float("nan")
    y = normed(_norm(SHAPES[0][1]), nn.ReLU(), x)
    assert y[:, 5].isnan().all()
    assert not y[:, :5].isnan().any()


def test_the_not_a_number_of_gpus_stays_one() -> None:
    norm, x = _norm(SHAPES[0][1]), _maps(SHAPES[0], 0)
    with torch.no_grad():
        norm.weight[7] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)
    assert normed(norm, nn.ReLU(), x)[:, 7].isnan().all()


def test_a_shortcut_of_ones_own_is_called() -> None:
    class Halved(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / 2

    net = _network("resnet18")
    net.layer2[0].downsample = Halved(*net.layer2[0].downsample)  # type: ignore[union-attr, index, operator]
    quicken(net)
    assert type(net.layer2[0]).__name__ == "BasicBlock"  # type: ignore[index]
    assert net(torch.randn(2, 3, 64, 64)).shape == (2, 512)


def test_evaluation_uses_running_statistics() -> None:
    norm, x = _norm(SHAPES[0][1]), _maps(SHAPES[0], 0)
    norm(x.float())
    norm.eval()
    before = norm.running_mean.clone() if norm.running_mean is not None else None
    with torch.no_grad():
        ours, wanted = normed(norm, nn.ReLU(), x), norm(x.float()).relu()
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), wanted, atol=0.01, rtol=0.01)
    torch.testing.assert_close(norm.running_mean, before)


@pytest.mark.parametrize(
    "why", ["fp32", "rows last", "evaluated with gradients", "small", "no statistics", "another ReLU"]
)
def test_other_maps_take_the_layers_way(why: str) -> None:
    x, norm, relu = _maps(SHAPES[0], 0).requires_grad_(), _norm(SHAPES[0][1]), nn.ReLU()
    if why == "fp32":
        x = x.detach().float().requires_grad_()
    if why == "rows last":
        x = x.detach().contiguous().requires_grad_()
    if why == "evaluated with gradients":
        norm.eval()
    if why == "small":
        x = x.detach()[:2].requires_grad_()
    if why == "no statistics":
        norm = nn.BatchNorm2d(SHAPES[0][1], track_running_stats=False)
    if why == "another ReLU":
        relu = nn.ReLU6()  # type: ignore[assignment]
    y = normed(norm, relu, x)
    assert y.grad_fn is not None and not y.grad_fn.name().endswith(OURS)


NETWORKS = ("resnet18", "resnet50")


def _network(name: str) -> nn.Module:
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0, **({} if "eca" in name else {"zero_init_last": False}))
    return net.to(memory_format=LAST).train()  # type: ignore[no-any-return]


@pytest.mark.skipif(not bf16_is_native(), reason="torch's layers in bf16 are what it is held against")
@pytest.mark.parametrize("name", NETWORKS)
def test_quickened_network_errs_no_more_than_torchs(name: str) -> None:
    pictures = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=LAST)
    exact, usual, quick = (_network(name) for _ in range(3))
    assert quicken(quick) == 1 + {"resnet18": 8, "resnet50": 16}[name]
    assert list(quick.state_dict()) == list(exact.state_dict())
    told = []
    for net in (exact, usual, quick):
        with torch.autocast("cpu", torch.bfloat16, enabled=net is not exact):
            z = net(pictures).float()
        (z * torch.linspace(-1, 1, z.shape[1])).sum().backward()
        told.append((z.detach(), net.conv1.weight.grad))  # type: ignore[union-attr]
    for wanted, torchs, ours in zip(*told, strict=True):
        assert (ours - wanted).norm() < 1.1 * (torchs - wanted).norm()


def test_who_listens_to_a_layer_hears_it() -> None:
    net, heard = _network("resnet18"), list[str]()
    quicken(net)
    net.layer1[1].act2.register_forward_hook(lambda *_: heard.append("act2"))  # type: ignore[union-attr, index]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(16, 3, 64, 64).contiguous(memory_format=LAST))
    assert heard == ["act2"]


@pytest.mark.parametrize("what", ["drop_path", "forward", "no shortcut layers"])
def test_what_is_put_into_a_block_later_is_called(what: str) -> None:
    net, usual = _network("resnet18").eval(), _network("resnet18").eval()
    quicken(net)
    for each in (net, usual):
        block = each.layer2[0]  # type: ignore[union-attr, index]
        if what == "drop_path":
            block.drop_path = nn.Hardtanh()  # type: ignore[union-attr, assignment]
        if what == "forward":
            own = block.forward  # type: ignore[union-attr]
            block.forward = lambda x, own=own: 3 * own(x)  # type: ignore[union-attr, method-assign]
        if what == "no shortcut layers":
            each.layer1[1].downsample = nn.Sequential()  # type: ignore[union-attr, index]
    pictures = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(net(pictures), usual(pictures))


@pytest.mark.parametrize("how", ["traced", "forward mode", "default device"])
def test_who_looks_on_is_seen(how: str) -> None:
    if how == "traced":
        seen = list[bool]()
        warnings.simplefilter("ignore", FutureWarning)  # it is on its way out
        torch.jit.trace(lambda x: (seen.append(is_watched()), x + 1)[1], torch.zeros(1), check_trace=False)
        assert seen == [True]
    elif how == "forward mode":
        with torch.autograd.forward_ad.dual_level():
            assert is_watched()
    else:
        torch.set_default_device("cpu")  # leaves a mode behind that changes nothing here
        try:
            assert not is_watched()
        finally:
            torch.set_default_device(None)
    assert not is_watched()


def test_a_norm_without_bias_takes_its_own_way() -> None:
    norm = nn.BatchNorm2d(SHAPES[0][1], bias=False) if "bias" in signature(nn.BatchNorm2d).parameters else None
    if norm is None:
        pytest.skip("this torch has none")
    assert normed(norm, None, _maps(SHAPES[0], 0)).shape == SHAPES[0]


def test_blocks_with_more_in_them_are_left_alone() -> None:
    net = _network("ecaresnet50t")
    kinds = [type(module) for module in net.modules()]
    quicken(net)
    changed = [
        type(module).__name__ for module, kind in zip(net.modules(), kinds, strict=True) if type(module) is not kind
    ]
    assert changed == ["QuickResNet"]  # whose blocks then take timm's way
    assert net(torch.randn(2, 3, 64, 64)).shape == (2, 2048)
