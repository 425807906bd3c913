"""Whether a module belongs to an encoder, a language model or neither, from marks and names.

The first answer counts: a mark, the surroundings (`compilespan.monitor.surroundings`), the user's
patterns, a class that decides for all its parts (e.g. a codec), the attribute path in the
enclosing modules, the compiled module's parts, its class name, the class names of its layers,
those of the enclosing modules; else `other`.
"""
