"""`python -m tfrecon` is `tfrecon`."""

from .cli import entry

if __name__ == "__main__":
    entry()
