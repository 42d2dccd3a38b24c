"""The OCI runtime specification, sentence by sentence, held against a runtime: RUNTIME=pyrun, crun or runc.

Tests are named after the specification's sections. Each was seen to hold of crun and runc before it was tried with
pyrun; where Debian 12's do otherwise than the specification says, or are older than it, the test says so (`unlike`).
"""
