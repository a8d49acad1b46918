"""Results that are kept between runs: bytes by key in an SQLite file in the user's cache folder, and journals of work.

If the file cannot be used (damaged, no permission, disk full, locked for too long), work continues without it and
`Store.remarks` says so. Several processes may share one file (WAL). A value is returned only if its checksum is right.
The size of the file is limited: the least recently used values are deleted first.

Values are written in batches. A killed process loses at most the values of the last `WRITE_SECONDS`.
"""

from qviz.store.folders import user_folder
from qviz.store.journal import Journal
from qviz.store.store import BATCH, FILE, WRITE_SECONDS, Store

__all__ = ["BATCH", "FILE", "WRITE_SECONDS", "Journal", "Store", "user_folder"]
