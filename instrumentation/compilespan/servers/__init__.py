"""Servers of other people, instrumented without touching them: a door to each.

`activation` decides whether and as what one of their processes takes part.
"""
