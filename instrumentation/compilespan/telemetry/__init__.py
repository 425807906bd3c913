"""Output through OpenTelemetry: spans and their parents, events, metrics."""
