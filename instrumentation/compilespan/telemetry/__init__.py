"""What leaves through OpenTelemetry: spans, events, metrics, and where they hang."""
