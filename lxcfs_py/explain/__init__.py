"""What a person can ask without a mount: what a container is shown, why, and which containers there are."""
