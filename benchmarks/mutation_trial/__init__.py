"""Plant real bugs in the library, and see what catches each: a property test or the gate."""
