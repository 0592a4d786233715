//! A gateway on real sockets that runs a module as Envoy would.
