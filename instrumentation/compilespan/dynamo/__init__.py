"""All use of torch's private API.

`hooks` patches torch and undoes it, `windows` detects where a compile begins and ends, `graphs`
reports what the backend does inside, `subject` finds out what is compiled. `private` lists each
private name once: if one is missing, only the telemetry that needs it is missing.
"""
