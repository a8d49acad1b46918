"""What was computed already, kept from run to run: bytes by key, in one SQLite file under the user's cache folder.

The store is a convenience, never a duty: whatever is wrong with it (damaged, no permission, disk full, locked for too
long), work goes on without it and `remarks` holds a sentence that says so. Two processes may share one file (WAL). A
value is given back only if its checksum is right. The file's size is bounded: what was not used for longest goes first.

Values are written in batches, so that a killed process loses no more than `PATIENCE` seconds of them.
"""

from qviz.store.folder import FILE, cache_folder
from qviz.store.store import BATCH, PATIENCE, Store

__all__ = ["BATCH", "FILE", "PATIENCE", "Store", "cache_folder"]
