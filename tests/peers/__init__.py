"""Brokers measured side by side on one machine by `leveret perf`; see docs/performance.md."""
