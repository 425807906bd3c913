"""The one door to torch's private parts.

`hooks` says what is patched and undoes it, `windows` bounds compiles, `graphs` tells of what
the backend does inside, `frames` finds out who compiles. Each private name is looked up once,
guarded: where it is missing, what it told is missing from the telemetry and nothing else.
"""
