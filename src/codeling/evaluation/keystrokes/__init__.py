"""Keystrokes: a simulated person types files again, with suggestions and without."""
