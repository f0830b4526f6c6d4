"""Scores as files that others read: tables, charts and a page of its own."""
