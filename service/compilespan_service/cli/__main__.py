"""``python -m compilespan_service.cli``: the command without its script."""

from compilespan_service.cli import main

main()
