"""Is someone looking at what torch is asked to do, who would not see a shortcut?"""

from __future__ import annotations

import torch
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext


def is_watched() -> bool:
    """Whether torch's functions are recorded, replaced, transformed, traced or compiled at the moment."""
    if torch._C._len_torch_dispatch_stack() or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None or forward_ad._current_level >= 0:
        return True
    modes = (torch._C._get_function_stack_at(i) for i in range(torch._C._len_torch_function_stack()))
    return not all(type(mode) is DeviceContext for mode in modes)  # which `torch.set_default_device` leaves there
