//! The shipped bootstrap in a real Envoy, before a simulated fleet, under real clients.
//!
//! Only what the native scenarios cannot know is tested here: what Envoy makes of the module's
//! answers. Every test starts its own Envoy with two workers and its own fleet.

mod chaos;
mod config_mistake;
mod failover;
mod fleet_limits;
mod forged;
mod framing;
mod health;
mod hostile;
mod identity;
mod in_flight;
mod openai;
mod openid;
mod overload;
mod placement;
mod quota;
mod raw_server;
mod refusals;
mod reload;
mod sse;
mod two_listeners;
mod upgrade;
mod weights;
mod world;
