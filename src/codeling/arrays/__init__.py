"""Large arrays: compiled loops over them, and files mapped to them."""
