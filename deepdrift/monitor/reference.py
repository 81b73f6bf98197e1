"""Everything a fitted monitor knows, as named tensors and a small header.

Saved as safetensors: no pickle, nothing is executed on loading. References that were fitted on
disjoint shards merge exactly, because they hold sums.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import ReferenceFileError
from deepdrift.monitor.rules import PREDICTED
from deepdrift.monitor.weights import Sketch, other_weights
from deepdrift.scores.chain import ChainSums
from deepdrift.scores.distance import LayerDistance
from deepdrift.states.inputs import INPUT
from deepdrift.states.layers import find_layer
from deepdrift.states.storage import digest, read_checked, write_checked

FORMAT = "deepdrift-reference-3"
FIT, CALIBRATION = "fit:", "calibration:"  # what a shard was used for
OF_THE_FIRST = ("shape.", "input.", "classes.")  # calibration tensors that are not pooled


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
    input: bool = False

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
        ``"second.<block>"``, each ``(n, K)``, or ``"velocity"`` ``(n,)``. With a calibration per
        class also ``"second.predicted"`` ``(n,)``, the predicted classes of the second half.
    output : LayerDistance or None
        Fitted sums of the output layer.
    input : LayerDistance or None
        Fitted sums of the statistics of the input.
    weights : dict
        Sketch of the model's weights (`deepdrift.monitor.weights`).
    shards : tuple of str
        Digests of the data sets that went in, so that none counts twice.
    """

    fingerprint: Fingerprint
    sums: ChainSums | None = None
    calibration: dict[str, Tensor] = field(default_factory=dict)
    output: LayerDistance | None = None
    input: LayerDistance | None = None
    weights: Sketch = field(default_factory=dict)
    shards: tuple[str, ...] = ()

    def merge(self, other: Reference, name: str = "other") -> Reference:
        """Reference of the data of both; neither is changed.

        Same sums in both (one fit sent to several workers): their calibration scores are pooled;
        the shape of normal states, and what normal inputs look like, which only diagnoses use,
        stay those of the first. A shard
        counts as the same if it was read in the same batches.
        Different sums (shards fitted apart): the sums are added, and calibration scores, which
        belong to the old sums, are dropped; calibrate the result on held-out data.

        Raises
        ------
        ReferenceFileError
            If the fingerprints or the weights of the models differ, or if a shard that is in both
            would count twice.

        Warns
        -----
        UserWarning
            If one has labels and the other has none: then all data form one class.
        """
        merged = self.plus(other, name)
        if not self.has_sums_of(other):
            labelled = [("this reference", self.labelled), (name, other.labelled)]
            say_if_labels_are_lost(labelled, stacklevel=2)
        return merged

    @property
    def labelled(self) -> bool | None:
        """Whether there are sums per class; None where there are no sums."""
        return None if self.sums is None else self.sums.labels is not None

    def has_sums_of(self, other: Reference) -> bool:
        """Whether both were fitted on the same data, or on none."""
        mine, theirs = self._fitted_tensors(), other._fitted_tensors()
        return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)

    def plus(self, other: Reference, name: str) -> Reference:
        """`merge` without a word about labels."""
        difference = self.fingerprint.difference(other.fingerprint)
        if difference:
            raise ReferenceFileError(f"{name}: belongs to another monitor: {difference}")
        changed = other_weights(self.weights, other.weights)
        if changed:
            raise ReferenceFileError(
                f"{name}: was made with other weights of the model, in {', '.join(changed[:4])}; "
                "fit all shards with the same weights"
            )
        shared = {*self.shards} & {*other.shards}
        if self.has_sums_of(other):
            nothing_new = self.sums is not None and not self.calibration and not other.calibration
            if nothing_new or any(s.startswith(CALIBRATION) for s in shared):
                raise delivered_twice(name)
            parts = [c for c in (self.calibration, other.calibration) if c]
            if len({PREDICTED in c for c in parts}) > 1:
                raise ReferenceFileError(
                    f"{name}: calibrated per class where the other is not, or the other way round; "
                    "calibrate both with the same per_class"
                )
            pooled = {
                k: v if k.startswith(OF_THE_FIRST) else torch.cat([c[k] for c in parts])
                for c in parts[:1]
                for k, v in c.items()
            }
            shards = dict.fromkeys((*self.shards, *other.shards))
            return replace(self, calibration=pooled, shards=tuple(shards))
        if any(s.startswith(FIT) for s in shared):
            raise delivered_twice(name)
        return Reference(
            self.fingerprint,
            self.sums and other.sums and self.sums.merge(other.sums),
            output=self.output and other.output and self.output.merge(other.output),
            input=self.input and other.input and self.input.merge(other.input),
            weights=self.weights,
            shards=tuple(s for s in (*self.shards, *other.shards) if s.startswith(FIT)),
        )

    def _fitted_tensors(self) -> dict[str, Tensor]:
        tensors = {}
        if self.sums is not None:
            tensors |= {f"sums.{k}": v for k, v in self.sums.to_tensors().items()}
        if self.output is not None:
            tensors |= {f"output.{k}": v for k, v in self.output.to_tensors().items()}
        if self.input is not None:
            tensors |= {f"input.{k}": v for k, v in self.input.to_tensors().items()}
        return tensors

    def save(self, path: str | os.PathLike[str], extra: dict[str, Any] | None = None) -> None:
        """Write one safetensors file; an existing file is replaced only when all is written."""
        tensors = self._fitted_tensors() | {
            f"calibration.{k}": v for k, v in self.calibration.items()
        }
        header = {
            "fingerprint": vars(self.fingerprint),
            "weights": self.weights,
            "shards": self.shards,
            "extra": extra or {},
        }
        write_checked(path, tensors, header, FORMAT)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[Reference, dict[str, Any]]:
        """Reference and extra header entries of a file made by `save`.

        Raises
        ------
        ReferenceFileError
            If the file is missing, damaged, or something else.
        """
        tensors, header = read_checked(path, FORMAT, what="calibrated monitor", again="calibrate")
        shown = header["fingerprint"]
        fingerprint = Fingerprint(
            **shown | {k: tuple(shown[k]) for k in ("layers", "widths", "parameters")}
        )
        reference = cls._from_tensors(fingerprint, tensors)
        weights = {k: (int(n), *sums) for k, (n, *sums) in header["weights"].items()}
        return replace(reference, weights=weights, shards=tuple(header["shards"])), header["extra"]

    @classmethod
    def _from_tensors(cls, fingerprint: Fingerprint, tensors: dict[str, Tensor]) -> Reference:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        sums = output = given = None
        if part("sums."):
            sums = ChainSums.from_tensors(part("sums."), list(fingerprint.layers))
        if part("output."):
            output = LayerDistance.from_tensors(part("output."), [fingerprint.output_layer])
        if part("input."):
            given = LayerDistance.from_tensors(part("input."), [INPUT])
        return cls(fingerprint, sums, part("calibration."), output, given)


def shard_of(tensors: Mapping[str, Tensor], kind: str) -> str:
    """Digest of what one data set gave: its sums, or its calibration scores."""
    return kind + digest(tensors, {})[:24]


def delivered_twice(name: str) -> ReferenceFileError:
    """What is said of a shard whose data are in already."""
    return ReferenceFileError(
        f"{name}: its data are in already, a shard that is delivered twice would count twice; "
        "leave it out"
    )


def say_if_labels_are_lost(labelled: Sequence[tuple[str, bool | None]], stacklevel: int) -> None:
    """Warn if some of the shards, names and whether they have labels, have none."""
    without = [name for name, has in labelled if has is False]
    if without and any(has for _, has in labelled):
        warnings.warn(
            f"merge: no labels in {', '.join(without)}, so all data form one class and the output "
            "term is lost; fit every shard with labels",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
