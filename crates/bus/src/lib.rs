//! JetStream: the log, append once, the partitioned reader, trace context
