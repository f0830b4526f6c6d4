"""Nets and losses, whatever the method."""
