"""Instrument servers of other projects without changing them; each has its own entry point.

`activation` decides whether and how a process of such a server takes part.
"""
