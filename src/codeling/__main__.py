"""``python -m codeling`` and ``torchrun -m codeling``: the command line."""

from codeling.cli import main

if __name__ == "__main__":
    main()
