//! A pool near and beyond its capacity, in virtual time: each endpoint runs four requests of 200 ms
//! at once and refuses the next, so four endpoints serve 80 requests a second. Closed-loop clients
//! offer half of that to three times as much.
//!
//! Goodput has to be at least nine tenths of what is offered and can be served, whatever the
//! algorithm, and whether or not refusals carry `Retry-After`.

mod simulation;

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::On;
use simulation::{Load, Refusal, Simulation};

const ENDPOINTS: usize = 4;
const SLOTS: usize = 4;
/// Requests a second that a slot serves.
const PER_SLOT: f64 = 5.0;
/// From half the capacity to three times as much.
const CLIENTS: [usize; 8] = [8, 12, 15, 16, 20, 24, 32, 48];
const WARM_UP: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(20);
/// Of what is offered and can be served.
const LEAST: f64 = 0.9;

fn config(balance: Value) -> Value {
    let endpoints: Vec<Value> = (1..=ENDPOINTS)
        .map(|n| json!({"address": format!("10.0.0.{n}:80")}))
        .collect();
    json!({
        "identity": {"tenant_header": "x-tenant"},
        "pools": [{
            "name": "p", "endpoints": endpoints, "balance": balance,
            "health": {"check": {"enabled": false}}, "load": {"weights": false},
        }],
        "routes": [{"pools": ["p"]}],
    })
}

fn algorithm(name: &str) -> Value {
    json!({"algorithm": name})
}

/// What `clients` can get a second from endpoints of `slots`.
fn possible(clients: usize, slots: usize) -> f64 {
    clients.min(ENDPOINTS * slots) as f64 * PER_SLOT
}

fn simulation(on: On, balance: &Value, clients: usize, refusal: Refusal) -> Simulation {
    let load = Load {
        clients,
        endpoints: ENDPOINTS,
        slots: SLOTS,
        service: Duration::from_secs_f64(1.0 / PER_SLOT),
        refusal,
    };
    Simulation::new(on, &config(balance.clone()), load)
}

/// Runs every load with each of `refusals`, and asserts the goodput of all of them at once.
fn hold(on: On, balance: &Value, refusals: &[Refusal], least: f64) {
    let mut table = String::new();
    let mut held = true;
    for &refusal in refusals {
        for clients in CLIENTS {
            let mut simulation = simulation(on, balance, clients, refusal);
            simulation.run(WARM_UP);
            let goodput = simulation.goodput(MEASURED);
            let share = goodput / possible(clients, SLOTS);
            held &= share >= least;
            let _ = writeln!(
                table,
                "{refusal:?}, {clients:2} clients: {goodput:5.1}/s, {share:.2} of what is possible; {}",
                simulation.account()
            );
        }
    }
    println!("{balance}\n{table}");
    assert!(held, "{balance}: at least {least} is wanted\n{table}");
}

fn both(status: u16) -> [Refusal; 2] {
    [Some("1"), None].map(|retry_after| Refusal {
        status,
        retry_after,
    })
}

fn least_connections_serves_what_its_endpoints_can(on: On) {
    hold(on, &algorithm("least_connections"), &both(503), LEAST);
}

fn round_robin_serves_what_its_endpoints_can(on: On) {
    hold(on, &algorithm("round_robin"), &both(503), LEAST);
}

fn weighted_round_robin_serves_what_its_endpoints_can(on: On) {
    hold(on, &algorithm("weighted_round_robin"), &both(503), LEAST);
}

fn response_time_serves_what_its_endpoints_can(on: On) {
    hold(on, &algorithm("response_time"), &both(503), LEAST);
}

fn consistent_hash_serves_what_its_endpoints_can(on: On) {
    let balance = json!({"algorithm": "consistent_hash", "hash": {"on": "tenant"}});
    hold(on, &balance, &both(503), LEAST);
}

/// Anthropic's overload, and the answer of a server whose limit holds for all callers together.
fn statuses_529_and_429_to_several_callers_are_overload_as_503_is(on: On) {
    let refusals = [both(529), both(429)].concat();
    hold(on, &algorithm("least_connections"), &refusals, LEAST);
}

/// An operator gives each endpoint twice the slots, then half as many as at first.
fn goodput_follows_a_capacity_that_doubles_and_then_falls_to_a_quarter(on: On) {
    let clients = 48;
    let mut table = String::new();
    let mut held = true;
    for refusal in both(503) {
        let balance = algorithm("least_connections");
        let mut simulation = simulation(on, &balance, clients, refusal);
        for slots in [SLOTS, 2 * SLOTS, SLOTS / 2] {
            simulation.resize(slots);
            simulation.run(WARM_UP);
            let goodput = simulation.goodput(MEASURED);
            let share = goodput / possible(clients, slots);
            held &= share >= LEAST;
            let _ = writeln!(
                table,
                "{refusal:?}, {slots} slots: {goodput:5.1}/s, {share:.2} of what is possible; {}",
                simulation.account()
            );
        }
    }
    assert!(held, "at least {LEAST} is wanted\n{table}");
}

/// Three of four endpoints shed everything: the fourth serves what it can. Most clients wait out a
/// second at any time, so it takes many of them to keep four slots busy.
fn an_endpoint_with_slots_is_used_though_all_others_shed_everything(on: On) {
    let mut table = String::new();
    let mut held = true;
    for refusal in both(503) {
        let mut simulation = simulation(on, &algorithm("least_connections"), 48, refusal);
        (1..ENDPOINTS).for_each(|endpoint| simulation.resize_one(endpoint, 0));
        simulation.run(WARM_UP);
        let share = simulation.goodput(MEASURED) / (SLOTS as f64 * PER_SLOT);
        held &= share >= LEAST;
        let _ = writeln!(table, "{refusal:?}: {share:.2}; {}", simulation.account());
    }
    assert!(held, "at least {LEAST} is wanted\n{table}");
}

on_both! {
    least_connections_serves_what_its_endpoints_can
    round_robin_serves_what_its_endpoints_can
    weighted_round_robin_serves_what_its_endpoints_can
    response_time_serves_what_its_endpoints_can
    consistent_hash_serves_what_its_endpoints_can
    statuses_529_and_429_to_several_callers_are_overload_as_503_is
    goodput_follows_a_capacity_that_doubles_and_then_falls_to_a_quarter
    an_endpoint_with_slots_is_used_though_all_others_shed_everything
}
