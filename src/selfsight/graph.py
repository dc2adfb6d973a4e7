"""The encoder as a file that others can use: safetensors (weights and how to build them) or ONNX (a graph)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.run import replacing

AGREE = 1e-3
"""Largest difference between the ONNX graph's embedding and ours, relative to its largest entry, that is accepted."""


def write_onnx(path: Path, encoder: Encoder) -> None:
    """Writes `encoder` as ONNX: input `images` (N, C, S, S) float in [0, 1], output `embeddings` (N, D), N free.

    Where onnxruntime is installed the graph is run and compared with the encoder. Raises UserError where the onnx
    package is missing, the network cannot be exported, or the graph answers differently.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("Exporting to ONNX needs its packages: `pip install 'selfsight[onnx]'`.") from error
    example = torch.rand(2, encoder.channels, encoder.size, encoder.size, generator=torch.Generator().manual_seed(0))
    with replacing(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter's notes on its own deprecations
                torch.onnx.export(
                    encoder,
                    (example,),
                    str(temporary),
                    input_names=["images"],
                    output_names=["embeddings"],
                    dynamic_shapes={"images": {0: torch.export.Dim("n")}},
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        except Exception as error:
            raise UserError(
                f"This encoder cannot be exported to ONNX ({str(error).splitlines()[0]}); safetensors always can."
            ) from error
        _compare(temporary, encoder, example)


def _compare(path: Path, encoder: Encoder, example: torch.Tensor) -> None:
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"images": example.numpy()})[0]
    with torch.no_grad():
        ours = encoder(example).numpy()
    apart = float(np.abs(theirs - ours).max() / np.abs(ours).max())
    if apart > AGREE:
        raise UserError(
            f"The ONNX graph answers differently from the encoder (by {apart:.1%} of its largest value) and "
            "was not kept."
        )
