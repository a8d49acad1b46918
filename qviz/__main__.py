"""`python -m qviz` runs the `qviz` command."""

from qviz.cli import main

if __name__ == "__main__":
    main()
