"""One page for the meeting; studies that open again."""
