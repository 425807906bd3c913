"""Encoder, language model or other: what marks and names say of a module.

In this order: a mark, what the surroundings state (`compilespan.monitor.surroundings`),
the user's own patterns, the attribute path in the enclosing modules, the class name of the
compiled module, those of its layers, those of the enclosing modules; else `other`.
"""
