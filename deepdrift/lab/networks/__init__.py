"""The small networks whose trained weights ship in ``data/models``.

In: images. Out: logits. A new architecture is a class in `models` with a line in
`deepdrift.lab.data.NETWORK_LAYERS`; ``data/build`` trains it.
"""
