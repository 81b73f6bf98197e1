"""The part of a monitor that keeps what was learned: references, files, copies."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Self

from deepdrift.errors import NotFittedError, ReferenceFileError
from deepdrift.monitor.reference import Fingerprint, Reference
from deepdrift.monitor.weights import check_weights, sketch


class Keeping:
    """What `DeepDriftMonitor` saves, loads, merges and carries to a worker."""

    @property
    def reference(self) -> Reference:
        """Everything learned, for saving and merging; assign one to take it over."""
        scorer = self._scorer
        if not scorer.fitted:
            raise NotFittedError("monitor: call fit(loader) or calibrate(loader) first")
        return Reference(
            self._fingerprint(scorer.widths),
            scorer.sums and scorer.sums.share(),
            scorer.calibration_scores,
            scorer.output,
            scorer.input,
            sketch(self._network),
            self._shards,
        )

    @reference.setter
    def reference(self, reference: Reference) -> None:
        with self._lock:
            self._adopt(reference, self.alpha, self._scorer.method)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned, after `fit` or `calibrate`, as one safetensors file."""
        self.reference.save(path, extra={"alpha": self.alpha, "method": self._scorer.method})

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take over what another monitor of the same kind of model saved.

        Raises
        ------
        ReferenceFileError
            For damaged files, and for those of another model or setting, saying what differs. The
            monitor then stays as it was. An alpha that was given to this monitor is kept; else the
        file's is taken.
        """
        reference, extra = Reference.load(path)
        alpha = self._settings["alpha"]
        if alpha is None:
            alpha = extra.get("alpha", self.alpha)
        with self._lock:
            self._adopt(reference, alpha, extra.get("method", self._scorer.method))
        return self

    def _adopt(self, reference: Reference, alpha: float, method: str) -> None:
        theirs = reference.fingerprint
        named = {k.split("#")[0] for k in theirs.layers}
        spare = (
            []
            if self._settled or not self._automatic
            else [k for k in self._layers if k not in named]
        )
        known = self._scorer.widths or {
            k: v.shape[1]
            for k, v in self._project(self._recorder.states).items()
            if k != self.output_layer
        }
        if not known and named == set(self.layers) - set(spare):
            known = dict(zip(theirs.layers, theirs.widths, strict=True))
        mine = self._fingerprint(known or dict.fromkeys(self.layers, 0))
        if self._recorder.may_change_output:
            mine = replace(mine, output_layer=theirs.output_layer)
        free_input = self._settings["watch_input"] == "auto" and not self._settled
        if free_input and self._recorder.inputs:
            mine = replace(mine, input=theirs.input)
        difference = mine.difference(theirs)
        if difference:
            raise ReferenceFileError(
                f"reference: it does not belong to this monitor of {self.arch_name}: {difference}"
            )
        check_weights(self._network, reference.weights, theirs.layers, self.arch_name, 3)
        if self._recorder.may_change_output:
            self._take_output(theirs.output_layer)
        self._take_input(theirs.input)
        if spare:
            self._recorder.drop(spare)
            self._layers = tuple(k for k in self._layers if k not in spare)
        scorer = self._new_scorer(alpha)
        scorer.widths = dict(zip(theirs.layers, theirs.widths, strict=True))
        scorer.sums, scorer.output = reference.sums and reference.sums.share(), reference.output
        scorer.input = reference.input
        if reference.sums is not None:
            scorer.breaks = reference.sums.breaks
        if reference.calibration:
            scorer.set_calibration(reference.calibration, method)
        self._scorer, self._fitted_apart, self._watch = scorer, True, None
        self._shards = reference.shards

    def _fingerprint(self, widths: dict[str, int]) -> Fingerprint:
        setting = (self._how, self.n_channels, self._scorer.score_name, self.output_layer)
        setting += (self._scorer.watch_input,)
        return Fingerprint.of(self._network, widths, *setting)

    def __getstate__(self) -> dict[str, Any]:
        learned = self.reference if self._scorer.fitted else None
        return {
            "closed": self._recorder.closed,
            "model": self._model,
            "settings": self._settings,
            "reference": learned,
            "output_layer": self.output_layer,
            "input": self._scorer.watch_input,
            "layers": self._layers,
            "learned": (self.alpha, self._scorer.method, self._fitted_apart, self._settled),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = state["settings"]
        self.__init__(state["model"], **settings)  # type: ignore[misc]
        alpha, method, apart, settled = state["learned"]
        self._take_output(state["output_layer"])
        self._take_input(state["input"])
        self._recorder.drop([k for k in self._layers if k not in state["layers"]])
        self._layers = state["layers"]
        if state["reference"] is not None:
            self._adopt(state["reference"], alpha, method)
        self._fitted_apart, self._settled = apart, settled
        if state["closed"]:
            self.close()

    def _take_output(self, name: str | None) -> None:
        self._recorder.set_output(name)
        self._scorer.output_layer = name

    def _take_input(self, wanted: bool) -> None:
        self._recorder.inputs = self._scorer.watch_input = wanted
