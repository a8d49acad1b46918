"""`python -m qviz.ui SCRIPT OPTIONS` runs a Streamlit script like `streamlit run`, prepared for its first visitor.

Before the server answers, the worker processes are started and the modules of Overview are imported. Otherwise the
first visitor would wait for both.
"""

import sys

from streamlit.web import cli

from qviz.features.comparison import panel_files, panel_overview
from qviz.ui import server

PREPARED = (panel_overview, panel_files)

if __name__ == "__main__":
    server.engine()
    cli.main(["run", *sys.argv[1:]], prog_name="streamlit")
