"""One package per question that a user asks."""
