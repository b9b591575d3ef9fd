"""Whether the profiler's own figures are right."""
