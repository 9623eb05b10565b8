"""The agent's configuration: the settings, how files and flags are read, and what is refused.

`load.load` reads, `report.report` checks and returns what the agent prints; the rest serves these
two.
"""
