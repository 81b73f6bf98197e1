"""Everything a fitted monitor knows, as named tensors and a small header.

Saved as safetensors: no pickle, nothing is executed on loading. References that were fitted on
disjoint shards merge exactly, because they hold sums.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import ReferenceFileError
from deepdrift.scores.chain import ChainSums
from deepdrift.scores.distance import LayerDistance
from deepdrift.states.layers import find_layer
from deepdrift.states.storage import read_tensors, write_tensors

FORMAT = "deepdrift-reference-2"


@dataclass(frozen=True)
class Fingerprint:
    """What must agree between a monitor and a reference: the layers and how states are made."""

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    parameters: tuple[int, ...]
    pooling: str
    n_channels: int | None
    score: str
    output_layer: str | None = None

    @classmethod
    def of(cls, network: nn.Module, widths: Mapping[str, int], *setting: Any) -> Fingerprint:
        """Fingerprint of these layers; ``setting`` are the fields from ``pooling`` on."""
        modules = (find_layer(network, name.split("#")[0]) for name in widths)
        counts = tuple(sum(p.numel() for p in module.parameters()) for module in modules)
        return cls(tuple(widths), tuple(widths.values()), counts, *setting)

    def difference(self, other: Fingerprint) -> str:
        """What differs, as text; empty if nothing does.

        Examples
        --------
        >>> a = Fingerprint(("x",), (3,), (9,), "mean", None, "fused")
        >>> a.difference(Fingerprint(("x",), (4,), (9,), "mean", None, "fused"))
        'widths (expected (3,), found (4,))'
        """
        return "; ".join(
            f"{key} (expected {mine!r}, found {theirs!r})"
            for key, mine in vars(self).items()
            if mine != (theirs := vars(other)[key])
        )


@dataclass(frozen=True)
class Reference:
    """What normal looks like for one model.

    Attributes
    ----------
    fingerprint : Fingerprint
    sums : ChainSums or None
        Fitted sums of the layers; None where the score does not use them.
    calibration : dict of str to Tensor
        Scores of normal samples that were not fitted on: ``"first.<block>"`` and
        ``"second.<block>"``, each ``(n, K)``, or ``"velocity"`` ``(n,)``.
    output : LayerDistance or None
        Fitted sums of the output layer.
    """

    fingerprint: Fingerprint
    sums: ChainSums | None = None
    calibration: dict[str, Tensor] = field(default_factory=dict)
    output: LayerDistance | None = None

    def merge(self, other: Reference) -> Reference:
        """Reference of the data of both; neither is changed.

        Same sums in both (one fit sent to several workers): their calibration scores are pooled;
        the shape of normal states, which only diagnoses use, stays that of the first.
        Different sums (shards fitted apart): the sums are added, and calibration scores, which
        belong to the old sums, are dropped; calibrate the result on held-out data.

        Raises
        ------
        ReferenceFileError
            If the fingerprints differ.
        """
        difference = self.fingerprint.difference(other.fingerprint)
        if difference:
            raise ReferenceFileError(f"other: belongs to another monitor: {difference}")
        mine, theirs = self._fitted_tensors(), other._fitted_tensors()
        if mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine):
            parts = [c for c in (self.calibration, other.calibration) if c]
            pooled = {
                k: v if k.startswith("shape.") else torch.cat([c[k] for c in parts])
                for c in parts[:1]
                for k, v in c.items()
            }
            return replace(self, calibration=pooled)
        return Reference(
            self.fingerprint,
            self.sums and other.sums and self.sums.merge(other.sums),
            output=self.output and other.output and self.output.merge(other.output),
        )

    def _fitted_tensors(self) -> dict[str, Tensor]:
        tensors = {}
        if self.sums is not None:
            tensors |= {f"sums.{k}": v for k, v in self.sums.to_tensors().items()}
        if self.output is not None:
            tensors |= {f"output.{k}": v for k, v in self.output.to_tensors().items()}
        return tensors

    def save(self, path: str | os.PathLike[str], extra: dict[str, Any] | None = None) -> None:
        """Write one safetensors file; an existing file is replaced only when all is written."""
        tensors = self._fitted_tensors() | {
            f"calibration.{k}": v for k, v in self.calibration.items()
        }
        tensors = {k: v.contiguous() for k, v in tensors.items()}
        header = {
            "format": FORMAT,
            "fingerprint": vars(self.fingerprint),
            "extra": extra or {},
        }
        header["sha256"] = _digest(tensors, header)
        write_tensors(path, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[Reference, dict[str, Any]]:
        """Reference and extra header entries of a file made by `save`.

        Raises
        ------
        ReferenceFileError
            If the file is missing, damaged, or something else.
        """
        tensors, header = read_tensors(path, what="calibrated monitor", again="calibrate")
        path = Path(path)
        if header is None or header.get("format") != FORMAT:
            found = "no deepdrift header" if header is None else header.get("format")
            remedy = (
                "" if header is None else "; it is of another version: calibrate again and save"
            )
            raise ReferenceFileError(
                f"path: {path.name}: expected {FORMAT!r}, found {found!r}{remedy}"
            )
        if header.pop("sha256", None) != _digest(tensors, header):
            raise ReferenceFileError(
                f"path: {path.name} is damaged: its content does not match the stored checksum; "
                "restore the file, or calibrate and save again"
            )
        shown = header["fingerprint"]
        fingerprint = Fingerprint(
            **shown | {k: tuple(shown[k]) for k in ("layers", "widths", "parameters")}
        )
        return cls._from_tensors(fingerprint, tensors), header["extra"]

    @classmethod
    def _from_tensors(cls, fingerprint: Fingerprint, tensors: dict[str, Tensor]) -> Reference:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        sums = output = None
        if part("sums."):
            sums = ChainSums.from_tensors(part("sums."), list(fingerprint.layers))
        if part("output."):
            output = LayerDistance.from_tensors(part("output."), [fingerprint.output_layer])
        return cls(fingerprint, sums, part("calibration."), output)


def _digest(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(tensors):
        digest.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        digest.update(tensors[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
