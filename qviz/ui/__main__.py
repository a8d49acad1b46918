"""`python -m qviz.ui SCRIPT OPTIONS` runs a Streamlit script like `streamlit run`, prepared for its first visitor.

Before the server answers, the worker processes are started and the modules of Overview are imported. Then the models of
the first visit are loaded and run on its first images. Otherwise the first visitor would wait for all this.

Streamlit collects garbage after each run of a page or of a part of it. The objects of all imported modules are left out
of this (`gc.freeze`), which saves a tenth of a second per run.
"""

import gc
import sys
import threading

from streamlit.web import cli

from qviz.features.comparison import panel_files, panel_overview
from qviz.ui import sample, server

IMPORTED = (panel_overview, panel_files)


def prepare() -> None:
    """Load and run what a new session shows."""
    server.prepare(sample.opening())


if __name__ == "__main__":
    server.engine()
    gc.collect()
    gc.freeze()
    threading.Thread(target=prepare, daemon=True).start()
    cli.main(["run", *sys.argv[1:]], prog_name="streamlit")
