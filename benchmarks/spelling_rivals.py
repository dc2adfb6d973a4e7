"""What a spelling is held against: each gives errors of test images by what was sent of them.

`vanilla` is the original exactly as its notebook has it: four convolutions of 4 x 4 and stride 2 to 64 channels and their
mirror, 86,963 parameters, 64 x 2 x 2 numbers a token at 32 px and six of mean and scale beside them, which it does not
count and we do; all passes unrolled, MSE of the last picture and the mean of all, Adam. Everything that is trained is trained for
the same seconds of one thread, told by timing its steps.

Shapes: N test images, T tokens, K lengths.
"""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

BATCH, RATE, TIMED = 128, 2e-3, 4


def fitted(net: nn.Module, loss: Callable[[Tensor], Tensor], images: Tensor, seconds: float, seed: int) -> int:
    """Trains `net` by Adam with a cosine for so many seconds of one thread. -> steps made."""
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), RATE)

    def step(rate: float) -> float:
        began = time.thread_time()
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = images[torch.randint(len(images), (BATCH,), generator=draws)]
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        return time.thread_time() - began

    steps = max(10, round(seconds / min(step(0.0) for _ in range(TIMED))))
    for number in range(steps):
        step(RATE * (1 + math.cos(math.pi * number / steps)) / 2)
    return steps


def _encoder(last: int) -> nn.Sequential:
    widths = (3, 8, 16, 32, last)
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Conv2d(a, b, 4, 2, 1), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def _decoder(first: int) -> nn.Sequential:
    widths = (first, 32, 16, 8, 3)
    pairs = itertools.pairwise(widths)
    layers = [layer for a, b in pairs for layer in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def vanilla(train: Tensor, test: Tensor, tokens: int, seconds: float, seed: int) -> tuple[Tensor, list[int]]:
    """(N, T) errors after 1 ... T tokens, and floats sent after each."""
    torch.manual_seed(seed)
    net = nn.ModuleList([_encoder(64), _decoder(64)])

    def passes(images: Tensor) -> list[Tensor]:
        so_far, pictures = torch.zeros_like(images), []
        for _ in range(tokens):
            left = images - so_far
            mean, spread = left.mean((2, 3), keepdim=True), left.std((2, 3), keepdim=True) + 1e-4
            so_far = so_far + net[1](net[0]((left - mean) / spread)) * spread + mean
            pictures.append(so_far)
        return pictures

    def loss(images: Tensor) -> Tensor:
        pictures = passes(images)
        return F.mse_loss(pictures[-1], images) + sum(F.mse_loss(one, images) for one in pictures) / tokens

    fitted(net, loss, train, seconds, seed)
    numbers = 64 * (train.shape[-1] // 16) ** 2
    with torch.no_grad():
        errors = [[_far(one, part) for one in passes(part)] for part in test.split(256)]
    joined = torch.stack([torch.cat([part[t] for part in errors]) for t in range(tokens)], 1)
    return joined, [(numbers + 6) * t for t in range(1, tokens + 1)]


def independent(train: Tensor, test: Tensor, fold: int, seconds: float, seed: int) -> tuple[Tensor, int]:
    """(N,) errors of one auto-encoder with `fold` times the latent, trained by itself, and the floats it sends."""
    torch.manual_seed(seed)
    net = nn.Sequential(_encoder(64 * fold), _decoder(64 * fold))
    fitted(net, lambda images: F.mse_loss(net(images), images), train, seconds, seed)
    with torch.no_grad():
        errors = torch.cat([_far(net(part), part) for part in test.split(256)])
    return errors, 64 * fold * (train.shape[-1] // 16) ** 2


def nested(train: Tensor, test: Tensor, lengths: Sequence[int], seconds: float, seed: int) -> Tensor:
    """(N, K) errors of one auto-encoder whose code may be cut at every length (nested dropout)."""
    torch.manual_seed(seed)
    most, side = max(lengths), train.shape[-1] // 16
    inner = nn.ModuleList([nn.Linear(64 * side**2, most), nn.Linear(most, 64 * side**2)])
    net = nn.ModuleList([_encoder(64), inner, _decoder(64)])
    draws = torch.Generator().manual_seed(seed)

    def read(images: Tensor, counts: Tensor) -> Tensor:
        z = inner[0](net[0](images).flatten(1))
        z = z * (torch.arange(most) < counts[:, None])
        return net[2](inner[1](z).unflatten(1, (64, side, side)))

    def loss(images: Tensor) -> Tensor:
        return F.mse_loss(read(images, torch.randint(1, most + 1, (len(images),), generator=draws)), images)

    fitted(net, loss, train, seconds, seed)
    with torch.no_grad():
        return torch.stack([_far(read(test, torch.full((len(test),), k)), test) for k in lengths], 1)


def components(train: Tensor, test: Tensor, lengths: Sequence[int]) -> Tensor:
    """(N, K) errors of principal components, answers clamped to [0, 1] as ours are; the mean is known, not sent."""
    from scipy.linalg import eigh

    x, mean = train.flatten(1).double(), train.flatten(1).double().mean(0)
    most, d = min(max(lengths), x.shape[1]), x.shape[1]
    covariance = ((x - mean).T @ (x - mean) / len(x)).numpy()
    basis = torch.from_numpy(eigh(covariance, subset_by_index=[d - most, d - 1])[1][:, ::-1].copy())
    z = (test.flatten(1).double() - mean) @ basis
    read = [(mean + z[:, :k] @ basis[:, :k].T).clamp(0, 1).float().view_as(test) for k in lengths]
    return torch.stack([_far(one, test) for one in read], 1)


def residual_codes(train: Tensor, test: Tensor, stages: int, seed: int) -> Tensor:
    """(N, stages) errors of residual quantisation: k-means of 256 centres on what is left, one byte a stage."""
    from sklearn.cluster import MiniBatchKMeans

    left, far, errors = train.flatten(1).numpy().copy(), test.flatten(1).numpy().copy(), []
    for stage in range(stages):
        means = MiniBatchKMeans(256, batch_size=1024, max_iter=10, n_init=1, random_state=seed + stage).fit(left)
        left -= means.cluster_centers_[means.labels_]
        far -= means.cluster_centers_[means.predict(far)]
        errors.append(torch.from_numpy((far**2).mean(1)))
    return torch.stack(errors, 1)


def compressed(test: np.ndarray, kind: str, qualities: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """JPEG or WebP by Pillow: (N, Q) errors, bits of the whole files, and bits without what a file of one colour takes."""
    errors, bits, bare = [], [], []
    blank = Image.fromarray(np.full_like(test[0], 128))
    for quality in qualities:
        empty, one = 8 * len(_written(blank, kind, quality)), []
        for pixels in test:
            content = _written(Image.fromarray(pixels), kind, quality)
            read = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float64)
            one.append((float(np.square(read - pixels).mean()) / 255**2, 8 * len(content), 8 * len(content) - empty))
        for column, values in zip((errors, bits, bare), zip(*one, strict=True), strict=True):
            column.append(torch.tensor(values, dtype=torch.float64))
    return torch.stack(errors, 1), torch.stack(bits, 1), torch.stack(bare, 1)


def _written(image: Image.Image, kind: str, quality: int) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, quality=quality, **({"optimize": True} if kind == "JPEG" else {"method": 6}))
    return content.getvalue()


def _far(pictures: Tensor, images: Tensor) -> Tensor:
    """(N,) mean squared errors, pictures clamped to what there can be."""
    return (pictures.clamp(0, 1).double() - images.double()).square().flatten(1).mean(1)
