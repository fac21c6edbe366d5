"""Time and memory of fitting a large pretrained weight, each fit in a process of its own.

Beside the toolkit stands what it did before: a full SVD of each unfolding in float64.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from sttp.layers import STTP, SVDP, reparameterize
from sttp.manifolds import TrainShape, prime_modes

from .harness import RESULTS, machine

SIZES = ((1024, 4096), (4096, 11008))
RANK = 64


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure, print, and keep the figures."""
    rows = []
    for sizes in SIZES[:1] if quick else SIZES:
        for what in ("sttp", "svdp", "full-sttp", "full-svdp"):
            command = [
                sys.executable,
                "-c",
                "from benchmarks.fits import one; one()",
                what,
                *map(str, sizes),
                str(device),
            ]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"what": what, "rows": sizes[0], "columns": sizes[1], "rank": RANK, **json.loads(output)})
            if not as_json:
                print(
                    "  ".join(
                        f"{key} {value:.4g}" if isinstance(value, float) else f"{value}"
                        for key, value in rows[-1].items()
                    )
                )
    record = {"benchmark": "fits", "machine": machine(device), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1)
    (RESULTS / f"fits-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)


def one() -> None:
    """Fit one weight, and print seconds, seconds of all processors, GiB beyond the weight, and the relative error."""
    what, rows, columns, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.manual_seed(0)
    layer = nn.Linear(columns, rows, bias=False, device=device)
    reparameterize(nn.Linear(8, 8), SVDP(2), init="weights")  # what loads on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, start_of_all = time.perf_counter(), time.process_time()
    if what.startswith("full"):
        error = _full(layer.weight.detach(), what == "full-svdp")
    else:
        spec = STTP(RANK) if what == "sttp" else SVDP(RANK)
        error = reparameterize(layer, spec, init="weights").spectral.fit_error
    if device != "cpu":
        torch.cuda.synchronize()
    figures = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - start_of_all}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({**figures, "gib_beyond_weight": memory / 2**20, "error": error}))


def _full(weight: Tensor, svdp: bool) -> float:
    """Cut each bond by a full SVD in float64."""
    rows, columns = weight.shape
    shape = TrainShape((rows,), (columns,), RANK) if svdp else TrainShape(prime_modes(rows), prime_modes(columns), RANK)
    split = len(shape.row_modes)
    remainder = weight.to(torch.float64)
    norm = torch.linalg.matrix_norm(remainder)
    for frame in shape.frames[: split - 1]:
        _, values, right = torch.linalg.svd(remainder.reshape(frame.rows, -1), full_matrices=False)
        remainder = values[: frame.columns, None] * right[: frame.columns]
    remainder = remainder.reshape(shape.frames[split - 1].rows, -1)
    for frame in shape.frames[:split:-1]:
        left, values, _ = torch.linalg.svd(remainder.reshape(-1, frame.rows), full_matrices=False)
        remainder = left[:, : frame.columns] * values[: frame.columns]
    remainder = remainder.reshape(shape.frames[split - 1].rows, -1)
    values = torch.linalg.svdvals(remainder)[: shape.center_rank]
    return float((1 - values.square().sum() / norm**2).clamp(min=0).sqrt())
