"""`python -m qviz` is `qviz`."""

from qviz.cli import main

if __name__ == "__main__":
    main()
