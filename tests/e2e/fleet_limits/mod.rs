//! Limits that a fleet shares: the engines that count for it, each kept as a process of its own that a test can kill and
//! hold. Redis, reached through webdis, and a service that speaks Envoy's rate limit protocol.

mod debian;
mod limits;
mod rate_limit_service;
mod redis;
mod server;
