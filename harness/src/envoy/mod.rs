//! The real Envoy: found or installed, configured, started, stopped.
