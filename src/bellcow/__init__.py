"""bellcow: the operator API of a cluster, on real consensus.

`__version__` is bellcow's own; `NOMAD_VERSION` is the version of Nomad's API that it speaks and
says on the wire, because clients test for it. `BUILD` shows both.
"""

__version__ = "0.1.0"
NOMAD_VERSION = "1.0.18"
METADATA = f"bellcow.{__version__}"
BUILD = f"{NOMAD_VERSION}+{METADATA}"
