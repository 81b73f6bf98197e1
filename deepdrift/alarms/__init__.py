"""From drift to alarms and names.

In: one number per step, or the drift of every layer. Out: states and events of the state machine
(`fsm`), a whole recorded stream at once (`replay`), or a `Diagnosis`. A new detector of change goes
to `sequential` and gets its line in ``CHARTS`` of `config`.
"""
