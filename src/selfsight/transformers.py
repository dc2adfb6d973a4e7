"""timm's plain vision transformers with `joined` and `attended` for their layers, which keep their names.

Imports timm; see `quick.py`. Shapes: N images, T tokens, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Attention, LayerNorm, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from selfsight.blocks import is_heard
from selfsight.layered import attended, gelued, is_ours, joined

BESIDE, WITHIN = ("ls1", "ls2", "drop_path1", "drop_path2"), ("q_norm", "k_norm", "norm", "gate")
"""What may stand between a block's layers, and within its attention, and is left out where it is nothing."""
NOTHING = (nn.Identity, type(None))


class QuickVisionTransformer(VisionTransformer):
    """Patches, then block after block of attention and perceptron, each beside a shortcut in float32."""

    def forward_features(self, x: Tensor, *given: Any, **named: Any) -> Tensor:
        """(N, 3, H, W) -> (N, T, C). A mask, if there is any, is for timm's own way."""
        blocks: list[Any] = list(self.blocks)
        masked = any(each is not None and each is not False for each in (*given, *named.values()))
        if masked or self.grad_checkpointing or is_heard(self) or not all(map(is_plain, blocks)):
            return super().forward_features(x, *given, **named)
        x = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x)))).contiguous()
        if not (blocks and is_ours(x)):
            return self.norm(self.blocks(x))
        y = blocks[0].norm1(x)
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            x, y = joined(x, _attention(block.attn, y), block.norm2)
            branch = block.mlp.fc2(gelued(block.mlp.act, block.mlp.fc1(y)))
            if after is None:
                return self.norm(x + branch)
            x, y = joined(x, branch, after.norm1)
        return x


def _attention(layer: Attention, y: Tensor) -> Tensor:
    return layer.proj(attended(layer.qkv(y), layer.num_heads, layer.scale))


def is_plain(block: Any) -> bool:
    """Whether what the quick way leaves out is not there, or does nothing."""
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        return False
    if block.attn.fused_attn:
        return False
    within = ((block, BESIDE), (block.attn, WITHIN), (block.mlp, ("norm",)))
    if not all(type(getattr(owner, name, None)) in NOTHING for owner, names in within for name in names):
        return False
    drops = (block.attn.attn_drop, block.attn.proj_drop, block.mlp.drop1, block.mlp.drop2)
    return not any(getattr(each, "p", 0) and each.training for each in drops) and all(
        map(_is_plain_norm, (block.norm1, block.norm2))
    )


def _is_plain_norm(norm: Any) -> bool:
    if type(norm) not in (nn.LayerNorm, LayerNorm) or getattr(norm, "_fast_norm", False) or norm.bias is None:
        return False
    return len(norm.normalized_shape) == 1 and norm.weight.dtype == torch.float32
