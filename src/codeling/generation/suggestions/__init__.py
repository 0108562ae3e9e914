"""Suggestions while a user types: where, how long, and whether to show one."""
