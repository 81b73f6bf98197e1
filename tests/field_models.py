"""What tests on other people's models share: seeded networks, independent states, a right number.

Every right value here is made from the network's own outputs by plain hooks (`outputs_of`) and a
mean that names its axes; nothing of the package is used to compute what it is compared with.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift import (
    DeepDriftError,
    DeepDriftMonitor,
    record,
)

TOLERANCE = 1e-4  # of p-values


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=gen(seed))


def randint(high: int, *shape: int, seed: int = 0, low: int = 0) -> Tensor:
    return torch.randint(low, high, shape, generator=gen(seed))


def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with reproducible random weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def call(network: nn.Module, batch: Any) -> Any:
    """The network's own pass: keywords for a dict, positions for a tuple."""
    with torch.no_grad():
        if isinstance(batch, dict):
            return network(**batch)
        return network(*batch) if isinstance(batch, tuple) else network(batch)


def outputs_of(network: nn.Module, names: Iterable[str], batch: Any) -> dict[str, Any]:
    """Raw outputs of some modules, by hooks of our own; of a tuple the first tensor."""
    found: dict[str, Any] = {}

    def keep(name: str) -> Callable:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found[name] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [network.get_submodule(n).register_forward_hook(keep(n)) for n in names]
    try:
        call(network, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def states_of(network: nn.Module, names: Iterable[str], batch: Any, **options: Any) -> dict:
    """What `record` says of the network's own pass."""
    with record(network, list(names), **options) as states:
        call(network, batch)
        return {k: states[k] for k in names}


def same(got: Tensor, right: Tensor, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    got, right = torch.as_tensor(got), torch.as_tensor(right)
    assert tuple(got.shape) == tuple(right.shape), f"{tuple(got.shape)}, right {tuple(right.shape)}"
    torch.testing.assert_close(got.double(), right.double(), rtol=rtol, atol=atol)


def right_or_refused(get: Callable[[], Any], check: Callable[[Any], None], match: str = ".") -> str:
    """The right numbers, or an error of ours whose sentence matches; never silent numbers."""
    try:
        got = get()
    except DeepDriftError as error:
        assert re.search(match, str(error), re.I), f"refused, but no help: {error}"
        return "refused"
    check(got)
    return "right"


def right_or_said(get: Callable[[], Any], check: Callable[[Any], None], match: str = ".") -> str:
    """As `right_or_refused`; a warning whose sentence matches will do as well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result: list[str] = []

        def checked(got: Any) -> None:
            if any(re.search(match, str(w.message), re.I | re.S) for w in caught):
                result.append("said")
            else:
                check(got)

        outcome = right_or_refused(get, checked, match)
    return result[0] if result else outcome


def fitted(
    network: nn.Module,
    normal: Callable[[int, int], Any],
    *,
    n: int = 120,
    batch: int = 40,
    **options: Any,
) -> DeepDriftMonitor:
    """A monitor fitted on ``n`` and calibrated on ``n`` other normal samples.

    ``normal(size, seed)`` gives a batch.
    """
    monitor = DeepDriftMonitor(network, **options)
    monitor.fit([normal(batch, 100 + i) for i in range(n // batch)])
    monitor.calibrate([normal(batch, 200 + i) for i in range(n // batch)])
    return monitor


def weighted(output: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens: output (N, T, D), mask (N, T), true where real."""
    if output.is_nested:
        output = torch.nested.to_padded_tensor(output, 0.0)
    m = mask.to(output.dtype)[..., None]
    return (output * m).sum(1) / m.sum(1)
