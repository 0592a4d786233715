//! Limits that a fleet shares: the engines that count for it, each kept as a process of its own that a test can kill and
//! hold. Redis, reached through webdis.

mod debian;
mod redis;
mod server;
