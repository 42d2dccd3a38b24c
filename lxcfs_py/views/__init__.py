"""What a container must read: one pure `render(snapshot, host_text) -> bytes` for each virtual file."""
