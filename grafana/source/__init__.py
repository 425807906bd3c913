"""The dashboards in Python: `python -m grafana.source` writes them as JSON."""
