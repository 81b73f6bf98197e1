"""Roads through ``generate`` of transformers: a stopping criterion and a logits processor.

Neither changes an answer. Both only say which tokens were chosen; what the model computed comes
from hooks, because a criterion is given no logits and a processor none that are raw.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.guard.checks import GuardError
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.run import Ends, Run
from deepdrift.guard.tap import Tap
from deepdrift.guard.trace import GuardTrace


def ends_of(config: Any) -> Ends:
    """End tokens and pad token that a generation config names.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> ends_of(SimpleNamespace(eos_token_id=[2, 7], pad_token_id=None))
    Ends(ends=frozenset({2, 7}), pad=2)
    """
    eos = getattr(config, "eos_token_id", None)
    eos = eos.tolist() if isinstance(eos, Tensor) else eos
    ends = [] if eos is None else list(eos) if isinstance(eos, Iterable) else [eos]
    pad = getattr(config, "pad_token_id", None)
    pad = int(pad) if isinstance(pad, Tensor) else pad
    return Ends(frozenset(map(int, ends)), pad if pad is not None else next(iter(ends), None))


def model_ends(network: nn.Module) -> Ends:
    """Those that the model comes with."""
    own = getattr(network, "generation_config", None) or getattr(network, "config", None)
    return ends_of(own)


def settings_in_use(network: nn.Module) -> Any:
    """The generation config of a ``generate`` of this model that is running now, or None.

    Neither criteria nor processors are told it, and hooks see one row for each beam and for each
    sequence as if they were prompts. So it is looked up among the callers of the first pass.
    """
    frame = inspect.currentframe()
    try:
        while frame is not None:
            if "generation_config" in frame.f_code.co_varnames:
                found = frame.f_locals
                config = found.get("generation_config")
                if found.get("self") is network and hasattr(config, "num_beams"):
                    return config
            frame = frame.f_back
    finally:
        del frame
    return None


def check_generation(network: nn.Module) -> Ends | None:
    """Refuse a running ``generate`` that has no single trace; else say which ends it uses.

    Raises
    ------
    GuardError
        For beams and for several sequences of one prompt.
    """
    config = settings_in_use(network)
    if config is None:
        return None
    beams, sequences = config.num_beams or 1, config.num_return_sequences or 1
    if beams > 1:
        raise GuardError(
            f"num_beams: expected 1, got {beams}; beams change places and are dropped while the "
            "answer grows, so that no row of hidden states belongs to the answer that wins. Score "
            "it afterwards: guard.read(prompt_ids, answer_ids)"
        )
    if sequences > 1:
        raise GuardError(
            f"num_return_sequences: expected 1, got {sequences}; several answers to one prompt are "
            "no batch of prompts, and their rows would count as independent. Call generate once "
            "for each, or score them afterwards: guard.read(prompt_ids, answer_ids)"
        )
    found = ends_of(config)
    return found if found.ends or found.pad is not None else None


class _Road:
    """A run with its hooks, which go when this goes, when it is closed, or at the end of `with`."""

    def __init__(self, decoder: Decoder, run: Run, finish: Any) -> None:
        self._run, self._finish = run, finish
        self._tap = Tap(decoder, run)

    def close(self) -> None:
        """Remove the hooks; the trace stays. May be called twice."""
        self._tap.close()

    @property
    def closed(self) -> bool:
        """Whether the hooks are gone."""
        return self._tap.closed

    @property
    def trace(self) -> GuardTrace:
        """What was seen so far."""
        return self._finish(self._run)

    def complete(self, sequences: Any) -> GuardTrace:
        """Add the last token, after which no pass came; the trace of the whole.

        Parameters
        ----------
        sequences : Tensor, shape (B, P + T), or what ``generate`` returned
            Prompt and answer.
        """
        self._run.complete(getattr(sequences, "sequences", sequences))
        return self.trace

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watch(_Road):
    """Listens to a loop that somebody else runs, inside ``with guard.watch() as run:``."""


class GuardProcessor(_Road):
    """For ``generate(logits_processor=[...])``: scores pass through as they are.

    A processor is called before each choice and never after the last: `complete` adds that token.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Note what was chosen; the scores are returned untouched."""
        _note(self._run, self.closed, input_ids, chosen=False)
        return scores


class GuardStopping(_Road):
    """For ``generate(stopping_criteria=[...])``: it stops nothing, and sees every token."""

    def __call__(self, input_ids: Tensor, scores: Any = None, **_: Any) -> Tensor:
        """Note what was chosen; no row is stopped."""
        _note(self._run, self.closed, input_ids, chosen=True)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _note(run: Run, closed: bool, input_ids: Tensor, *, chosen: bool) -> None:
    """Tell the run what was chosen, after checking that hooks and rows see the same sequences."""
    if run.prompt is None:
        raise GuardError(
            "model: generate chose a token and the guard saw no pass of its model"
            + (
                "; its hooks were closed, make a new one: guard.stopping_criteria()"
                if closed
                else "; is it another model's, or a copy, than DeepDriftGuard(model) was given?"
            )
        )
    rows, length = input_ids.shape
    if rows != len(run.prompt):
        raise GuardError(
            f"input_ids: generate keeps {rows} sequences where the model runs {len(run.prompt)}; "
            "beams and several sequences have no single trace: num_beams=1, num_return_sequences=1"
        )
    newest = chosen and run.waiting
    expected = run.prompt.shape[1] + len(run.settled) + newest
    if length == expected:
        if newest:
            run.settle(input_ids[:, -1])
        return
    raise GuardError(
        f"input_ids: expected {expected} tokens, got {length}; was the prompt read in chunks "
        "(prefill_chunk_size) or drafted by another model (assisted generation)? Leave that out, "
        "or score the answer afterwards: guard.read(prompt_ids, answer_ids)"
    )
