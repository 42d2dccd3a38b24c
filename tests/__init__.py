"""The project's tests; see README.md here."""
