"""Architectures: `(inputs, outputs, unit, *, ...) -> module`.

`inputs` is the shape of one sample, `outputs` the number of columns the model gives (classes or
regression targets). `unit` turns a bare layer into a normalized, activated, dropped-out one, so
that no architecture names ReLU or batch norm; the last layer is bare, so that models give logits.
"""
