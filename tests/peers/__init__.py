"""Debian's C lxcfs beside us: one caller in a container reads every file through both; each difference has its reason.

packaged     the versions of lxcfs, installed or only unpacked, and how each is started
fields       text of a file -> fields with names
looks        the container, its neighbour, and what the one caller reads through both daemons
differences  where we differ on purpose, and why
document     what was found as a page for people: tests/golden/peer
"""
