"""Dashboards and alert rules in Python; `python -m grafana.source` writes the files."""
