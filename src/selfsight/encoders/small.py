"""A small residual network for a few minutes on a CPU.

Four stages of one basic block each (He et al. 2016) behind a 3 x 3 stem of stride 2. The stem halves the
image once (twice from 96 pixels on), so that the last map is about 4 x 4 for 64-pixel images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from selfsight.encoder import Backbone, Encoder, load_weights, read_weights
from selfsight.residual import Block, Residual


@dataclass(frozen=True, kw_only=True)
class Small(Backbone):
    """Good: minutes of CPU time, images up to about 128 pixels. Poor: hours of GPU time; take a larger one there."""

    width: int = 32
    """Channels of the first stage; they double from stage to stage."""
    blocks: int = 1
    """Residual blocks a stage."""
    weights: str | None = None
    """Start from these: a .safetensors file or a run of the same encoder."""
    partial: bool = False
    """Accept weights that fill only part of the network."""

    def build(self, channels: int, size: int, seed: int = 0) -> Encoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = Residual(channels, [self.width * 2**stage for stage in range(4)], self.blocks)
            # The usual stem is 7 x 7 with 64 channels, whatever the width of the stages: a third of the work of a net
            # this small. Ours is as wide as the first stage, whose first block then needs no projection.
            net.conv1 = nn.Conv2d(channels, self.width, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
            net.bn1 = nn.BatchNorm2d(self.width)
            net.stages()[0][0] = first = Block(self.width, self.width)
            nn.init.kaiming_normal_(first.conv1.weight, mode="fan_out", nonlinearity="relu")
            nn.init.kaiming_normal_(first.conv2.weight, mode="fan_out", nonlinearity="relu")
        if size < 96:
            net.maxpool = nn.Identity()
        encoder = Encoder(net, channels=channels, size=size)
        if self.weights:
            tensors, _ = read_weights(self.weights)
            encoder.loaded = load_weights(encoder.net, tensors, self.weights, self.partial)
        return encoder
