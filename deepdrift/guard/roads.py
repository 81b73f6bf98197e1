"""The roads to a trace: old text, a loop by hand, two ways through generate, a watched loop."""

from __future__ import annotations

import weakref
from typing import Any, Self

from deepdrift.guard.checks import GuardError
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.diagnosis import GuardDiagnosis
from deepdrift.guard.familiar import Sketch
from deepdrift.guard.generating import (
    GuardProcessor,
    GuardStopping,
    Watch,
    check_generation,
    model_ends,
)
from deepdrift.guard.loop import HandLoop
from deepdrift.guard.reading import prompts_and_answers, read
from deepdrift.guard.run import Run
from deepdrift.guard.trace import GuardTrace, freeze
from deepdrift.states.forward import Quiet


class Roads:
    """What `DeepDriftGuard` can be asked to watch; what it makes of it, it says itself.

    Parameters
    ----------
    decoder : Decoder
    sketch : Sketch
    """

    def __init__(self, decoder: Decoder, sketch: Sketch) -> None:
        self._decoder, self._sketch = decoder, sketch
        self._quiet = Quiet(decoder.network)
        self._loop: HandLoop | None = None
        self._run: Run | None = None  # of the newest road
        self._roads: weakref.WeakSet = weakref.WeakSet()

    def __getstate__(self) -> dict[str, Any]:
        """Without the roads that are under way, which hold hooks of this process."""
        return vars(self) | {"_loop": None, "_run": None, "_roads": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _roads=weakref.WeakSet())

    def _judged(self, trace: GuardTrace) -> GuardTrace:
        """The trace with what is known of normal answers filled in."""
        return trace

    def _said(self, run: Run) -> GuardDiagnosis:
        """A verdict on the newest token of a loop."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[str, ...]:
        """Watched layers, in order."""
        return self._decoder.layers

    def read(
        self, prompt_ids: Any, answer_ids: Any = None, attention_mask: Any = None
    ) -> GuardTrace:
        """The trace of answers that exist already, in one forward.

        Parameters
        ----------
        prompt_ids, answer_ids : Tensor (B, T), or lists of token ids, of any lengths
            A flat list is one row. Of a tensor of answers counts what stands before the first end
            token or the padding behind, as ``generate`` returns them; negative ids count as none.
            Without answers the trace holds the prompts alone.
        attention_mask : Tensor, shape (B, P) or (B, P + T), optional
            1 where a token of the prompt, or of prompt and answer, stands.

        Raises
        ------
        GuardError
            For empty prompts, ids outside of the vocabulary, and sequences beyond the context.
        """
        ends = model_ends(self._decoder.network)
        rows = prompts_and_answers(prompt_ids, answer_ids, attention_mask, self._decoder, ends)
        return self._judged(read(self._decoder, self._sketch, self._quiet, *rows))

    def __call__(self, token: Any, attention_mask: Any = None) -> GuardDiagnosis:
        """One step of a loop: the prompt first, then one token of each row at a time.

        Parameters
        ----------
        token : int, Tensor (B,) or (B, 1); at first the prompt as in `read`
        attention_mask : Tensor, shape (B, P), optional
            Of the prompt.

        Returns
        -------
        GuardDiagnosis
            ``next_logits`` holds what the model says next.

        Raises
        ------
        GuardError
            For models without a cache, and tokens that do not fit. After an error the answer is
            lost; `reset` begins a new one.
        """
        if self._loop is None:
            loop = HandLoop(self._decoder, self._new_run(), self._quiet)
            loop.start(token, attention_mask)
            self._loop = loop
        else:
            self._loop.step(token)
        return self._said(self._loop.run)

    def reset(self) -> None:
        """Begin a new answer at the next call; the trace of the last one stays."""
        self._loop = None

    def stopping_criteria(self) -> GuardStopping:
        """For ``model.generate(..., stopping_criteria=[guard.stopping_criteria()])``.

        It stops nothing. Hooks are on until it is closed or freed; the trace is `trace`, its own
        or the guard's.
        """
        return self._road(GuardStopping, self._new_run(generating=True))

    def logits_processor(self) -> GuardProcessor:
        """For ``model.generate(..., logits_processor=[...])``; scores stay as they are.

        No processor sees the last token: ``processor.complete(sequences)`` adds it.
        """
        return self._road(GuardProcessor, self._new_run(generating=True))

    def watch(self) -> Watch:
        """Listen to a loop that you run: ``with guard.watch() as run:``, then ``run.trace``.

        The first pass is the prompt. A token that was chosen and not given to the model is added
        with ``run.complete(sequences)``.
        """
        return self._road(Watch, self._new_run(generating=True, restarts=False))

    def _road(self, kind: type, run: Run) -> Any:
        road = kind(self._decoder, run, self._finished)
        self._roads.add(road)
        return road

    def _new_run(self, generating: bool = False, restarts: bool = True) -> Run:
        network = self._decoder.network
        inspect = (lambda: check_generation(network)) if generating else None
        ends = model_ends(network)
        self._run = Run(self._decoder, self._sketch, ends, inspect, generating and restarts)
        return self._run

    def _finished(self, run: Run) -> GuardTrace:
        return self._judged(freeze(run.trace()))

    @property
    def trace(self) -> GuardTrace:
        """The trace of the newest live road."""
        if self._run is None:
            raise GuardError("trace: no road was taken yet; read returns its trace")
        return self._finished(self._run)

    def close(self) -> None:
        """Remove the hooks of every live road; what was learnt and traced stays."""
        for road in list(self._roads):
            road.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
