"""Results kept from run to run: bytes by key in one SQLite file under the user's cache folder, and journals of work.

If the file cannot be used (damaged, no permission, disk full, locked for too long), work continues without it and
`Store.remarks` has a sentence. Two processes may share one file (WAL). A value is returned only if its checksum is
right. The size of the file is bounded: values that were not used for longest are deleted first.

Values are written in batches, so that a killed process loses at most those of the last `WRITE_SECONDS`.
"""

from qviz.store.folders import user_folder
from qviz.store.journal import Journal
from qviz.store.store import BATCH, FILE, WRITE_SECONDS, Store

__all__ = ["BATCH", "FILE", "WRITE_SECONDS", "Journal", "Store", "user_folder"]
