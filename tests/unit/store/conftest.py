"""Makes `sim` importable however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

_root = str(Path(__file__).parents[2])
if _root not in sys.path:
    sys.path.insert(0, _root)
