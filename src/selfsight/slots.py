"""Masks that compose a picture by construction: every pixel is shared out among slots, and its shares sum to one.

Two ways to share. *Softmax*: slots compete for pixels, and what each won moves it, some rounds long (Locatello et al.
2020, "Object-Centric Learning with Slot Attention", algorithm 1: shares, weighted means, GRU, perceptron). *Sticks*:
what is left of a pixel is a stick of which slot after slot breaks off its share (Burgess et al. 2019, "MONet",
section 2.2), here by how near the pixel is to a seed that nobody owns yet (Engelcke, Parker Jones, Posner 2021,
"GENESIS-V2", section 3.1).

We depart where the published nets take days of a GPU. A slot's mask is its nearness to each pixel, so that no decoder
has to learn to draw shapes (the fourth channel of a decoder is there to compare). Slots begin at seeds, pixels drawn
one after another from what no seed before is near (Arthur, Vassilvitskii 2007, "k-means++"), and a slot's query is
the mean of what it won, which GRU and perceptron only correct.

Shapes: N images, K slots, F features of a pixel, P pixels, W width of a slot, S side, C channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.encoder import Encoder

POWER = 8
"""What no seed is near is drawn by this power of it: the background, of which a little is left at every one of its many
pixels, would draw most seeds otherwise."""
ENCODED = 0.1
"""Weight of what the encoder says beside the picture's own colours in a pixel's features, to begin with."""
SHARPNESS = 8.0
"""Of masks at the start: two pixels that differ as pixels do on average (squared distance 2) share exp(-16)."""


class Pixels(nn.Module):
    """What an encoder says of every pixel.

    The finest map is folded out, each of its places holding a square of pixels; coarser ones are enlarged.
    """

    def __init__(self, encoder: Encoder, features: int, width: int, sees_picture: bool) -> None:
        super().__init__()
        with torch.no_grad():
            training, blank = encoder.training, torch.zeros(1, encoder.channels, encoder.size, encoder.size)
            shapes = [seen.shape[1:] for seen in encoder.eval().maps(blank)]
            encoder.train(training)
        fine = shapes[0][-1]
        self.fold = -(-encoder.size // fine) if fine > 1 else 1
        self.seen = nn.ModuleList(nn.Conv2d(shape[0], width, 1) for shape in shapes)
        self.folded = nn.Conv2d(width, features * self.fold**2, 1)
        self.place = nn.Conv2d(4, features, 1)
        self.picture = nn.Conv2d(encoder.channels, features, 1) if sees_picture else None
        self.encoded = nn.Parameter(torch.tensor(ENCODED if sees_picture else 1.0))
        with torch.no_grad():  # all pixels of a place begin alike (Aitken et al. 2017), or masks begin as checkerboards
            for tensor in self.folded.parameters():
                tensor.copy_(tensor[:: self.fold**2].repeat_interleave(self.fold**2, 0))

    def forward(self, maps: list[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps fine to coarse, images (N, C, S, S) -> features (N, P, F) of mean 0 and variance 1 over each image, by
        which pixels are shared; and what the encoder alone says, (N, width, h, h)."""
        images = images.to(self.encoded.dtype)
        fine, side = maps[0].shape[-1], images.shape[-1]
        laid = [_enlarged(layer(seen), fine) for layer, seen in zip(self.seen, maps, strict=True)]
        said = torch.stack(laid).sum(0).relu()
        place = self.place(places(side).to(images))
        x = self.encoded * standard(_enlarged(F.pixel_shuffle(self.folded(said), self.fold), side) + place)
        if self.picture is not None:
            x = x + standard(self.picture(images))
        return standard(x).flatten(2).transpose(1, 2), said


def standard(x: Tensor) -> Tensor:
    """(N, F, H, W) with mean 0 of each feature, and variance 1 of all together, over each image."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x = x - x.mean((2, 3), keepdim=True)
    return x * (x.square().mean((1, 2, 3), keepdim=True) + 1e-5).rsqrt()


def _enlarged(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def places(side: int) -> Tensor:
    """(1, 4, S, S): how far each pixel is from the left, the top, the right and the bottom, in [0, 1]."""
    ramp = (torch.arange(side) + 0.5) / side
    down, across = torch.meshgrid(ramp, ramp, indexing="ij")
    return torch.stack([across, down, 1 - across, 1 - down])[None]


def distances(queries: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared differences over features: (N, K, F), (N, P, F) -> (N, K, P), in full precision."""
    with torch.autocast(pixels.device.type, enabled=False):
        cross = queries.to(pixels.dtype) @ pixels.transpose(1, 2)
        far = queries.square().sum(2)[:, :, None] + pixels.square().sum(2)[:, None] - 2 * cross
    return far.clamp(min=0) / queries.shape[2]


def seeds(pixels: Tensor, numbers: Tensor, sharpness: Tensor) -> Tensor:
    """The features of K pixels that are far from one another, (N, K, F).

    pixels (N, P, F); numbers (N, K) in [0, 1), of which each draws one seed.
    """
    left, found = pixels.new_ones(pixels.shape[:2]), list[Tensor]()
    for number in numbers.to(pixels).unbind(1):
        sums = left.pow(POWER).cumsum(1)
        drawn = torch.searchsorted(sums, (number * sums[:, -1])[:, None]).clamp(max=left.shape[1] - 1)
        seed = pixels.gather(1, drawn[:, :, None].expand(-1, -1, pixels.shape[2]))
        found.append(seed)
        with torch.no_grad():
            near = torch.exp(-sharpness * distances(seed, pixels)[:, 0])
            left = torch.minimum(left, 1 - near).clamp(min=1e-3)
    return torch.cat(found, 1)


class Competition(nn.Module):
    """Shares by softmax over slots: Slot Attention about weighted means."""

    def __init__(self, features: int, width: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.begun, self.won = nn.Linear(features, width), nn.Linear(features, width)
        self.moved = nn.GRUCell(width, width)
        self.refined = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.correction = nn.Linear(width, features)
        with torch.no_grad():
            self.correction.weight.zero_()
            self.correction.bias.zero_()

    def forward(self, pixels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (N, P, F), numbers (N, K) -> logits (N, K, P), whose softmax over slots are the shares; slots (N, K,
        W)."""
        sharpness, coarse = self.log_sharpness.exp(), _fewer(pixels)
        query = seeds(coarse, numbers, sharpness)
        slots = self.begun(query)
        for _ in range(self.rounds):
            shares = (-sharpness * distances(query, coarse)).softmax(1)
            mean = weighted(shares, coarse)
            slots = self.moved(self.won(mean).flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.refined(slots)
            query = mean + self.correction(slots)
        return -sharpness * distances(query, pixels), slots


class Sticks(nn.Module):
    """Shares broken off what is left, slot after slot; the last slot takes the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))

    def forward(self, pixels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """As Competition: logits (N, K, P) that are logarithms of shares already; a slot (N, K, F) is its seed."""
        sharpness = self.log_sharpness.exp()
        query = seeds(pixels, numbers, sharpness)
        far = sharpness * distances(query, pixels)
        kept = torch.log1p(-torch.exp(-far.clamp(min=1e-4)))  # the logarithm of what a slot leaves of a stick
        before = F.pad(kept.cumsum(1)[:, :-1], (0, 0, 1, 0))
        return before - F.pad(far[:, :-1], (0, 0, 0, 1)), query


def _fewer(pixels: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, where the side is even: (N, P, F) -> (N, P / 4, F). Rounds cost a quarter."""
    side = math.isqrt(pixels.shape[1])
    if side % 2:
        return pixels
    return F.avg_pool2d(pixels.transpose(1, 2).unflatten(2, (side, side)), 2).flatten(2).transpose(1, 2)


def weighted(shares: Tensor, values: Tensor) -> Tensor:
    """Each slot's mean of values by its shares: (N, K, P), (N, P, F) -> (N, K, F)."""
    with torch.autocast(values.device.type, enabled=False):
        return (shares.to(values) / (shares.sum(2, keepdim=True) + 1e-6)) @ values


class Painter(nn.Module):
    """A slot's picture: its vector at every place of a small grid, beside the place, through one perceptron (Watters et
    al. 2019, "Spatial Broadcast Decoder"), then enlarged."""

    def __init__(self, width: int, hidden: int, side: int, out: int) -> None:
        super().__init__()
        self.side, shown = side, width + (4 if side > 1 else 0)
        self.straight = nn.Linear(shown, out)
        self.bent = nn.Sequential(nn.Linear(shown, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def forward(self, slots: Tensor, side: int) -> Tensor:
        """(N, K, W) -> (N, K, out, S, S)."""
        n, k = slots.shape[:2]
        grid = slots[:, :, None].expand(-1, -1, self.side**2, -1)
        if self.side > 1:
            place = places(self.side).to(slots).flatten(2)[0].T
            grid = torch.cat([grid, place.expand(n, k, -1, -1)], 3)
        painted = (self.straight(grid) + self.bent(grid)).transpose(2, 3).unflatten(3, (self.side, self.side))
        return _enlarged(painted.flatten(0, 1), side).unflatten(0, (n, k))
