"""Is someone looking at what torch is asked to do, who would not see a shortcut?"""

from __future__ import annotations

import torch


def is_watched() -> bool:
    """Whether torch's functions are recorded, replaced, transformed or compiled at the moment."""
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    return bool(modes) or torch._C._functorch.peek_interpreter_stack() is not None or torch.compiler.is_compiling()
