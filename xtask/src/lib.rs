//! The project's commands: demo, test, faults, log, bench
