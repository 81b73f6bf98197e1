"""Record what layers hold.

In: a model and a batch. Out: ordered mapping layer -> state ``(N, D)``, a copy, one row a sample.
A new way to pool goes to `pooling`, a new kind of output to `outputs`, a new kind of input to
`forward`, another way to name or choose layers to `layers` and `head`. What is called otherwise
than as a module, `leaves` listens to.
"""
