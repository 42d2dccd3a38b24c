"""What each virtual file shows: pure functions of a Snapshot and the text of the host."""
