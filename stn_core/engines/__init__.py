"""Where runs are computed; a session chooses one engine."""

from stn_core.engines.base import Engine, EngineError, Outcome, Task
from stn_core.engines.in_process import InProcess
from stn_core.engines.processes import Processes

__all__ = ["Engine", "EngineError", "InProcess", "Outcome", "Processes", "Task"]
