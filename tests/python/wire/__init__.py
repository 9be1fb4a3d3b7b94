"""The wire catalogue: what Leveret answers to every kind of input, byte by byte."""
