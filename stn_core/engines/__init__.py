"""Where runs are computed; a session chooses one engine."""

from stn_core.engines.base import Engine, EngineError, Outcome, Task
from stn_core.engines.in_process import InProcess

__all__ = ["Engine", "EngineError", "InProcess", "Outcome", "Task"]
