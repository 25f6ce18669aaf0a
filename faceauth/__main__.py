"""Lets `python -m faceauth` do what the `faceauth` command does."""

from faceauth.cli import main

if __name__ == "__main__":
    main()
