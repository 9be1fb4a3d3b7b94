"""Policies and limits, set while the broker runs."""
