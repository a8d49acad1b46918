"""What a file really is, and what is wrong with it (lint)."""
