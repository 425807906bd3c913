"""``compilespan doctor``: what in this environment makes starts slow, or hides why they are."""
