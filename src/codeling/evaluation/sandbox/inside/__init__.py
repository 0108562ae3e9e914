"""The modules that run inside the sandbox; they import only the standard library."""
