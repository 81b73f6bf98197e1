"""How unusual is a state, and a step from one state to the next?

In: states by layer. Out: one number per sample and layer or step; larger is more unusual.
A new score is a module here with ``fit``, ``partial_fit``, ``merge`` and ``score``, as `distance`.
"""
