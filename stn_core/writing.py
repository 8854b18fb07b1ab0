"""Files written in one piece: whoever reads one sees the old text or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def write_at_once(path: Path, text: str) -> None:
    """Write a text file so that neither a reader nor a crash ever meets half of it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
