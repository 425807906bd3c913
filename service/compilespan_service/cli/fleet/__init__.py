"""Commands about several servers at once: ``compilespan warm`` and ``compilespan totals``."""
