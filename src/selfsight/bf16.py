"""Does this machine compute in bf16 itself, or would it only pretend to?"""

from __future__ import annotations

import torch


def bf16_is_native(device: str | None = None) -> bool:
    """Whether "cpu" or "cuda" has it; of the GPU where there is one, else of the processor, where none is named."""
    if device == "cuda" or (device is None and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(device in (None, "cpu") and torch.backends.mkldnn.is_available() and supported and supported())
