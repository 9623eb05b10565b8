"""The agent's configuration: what may be set, how it is read, and what is refused.

`load.load` reads, `report.report` checks and says what the agent prints; the rest serves these two.
`hcl` is used for ACL policies as well.
"""
