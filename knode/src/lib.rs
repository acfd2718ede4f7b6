//! The node agent: runtimes, pod workers, probes, volumes.
