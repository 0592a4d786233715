//! Goodput beyond a pool's capacity, with Junheng and without it.

use std::time::Duration;

use harness::overload::{Plan, measure};

/// On a busy machine both get less, so the figures are held against plain Envoy's of the same run.
#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_pool_serves_as_much_as_it_does_behind_plain_envoy() {
    let plan = Plan {
        clients: vec![8, 15, 24, 48],
        warm_up: Duration::from_secs(6),
        time: Duration::from_secs(5),
    };
    let report = measure(&plan, |_| ())
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    for row in &report.rows {
        let wanted = 0.9 * row.plain.goodput.min(row.possible);
        assert!(row.junheng.goodput >= wanted, "{row:?}\n{report}");
        assert!(row.plain.goodput > 0.5 * row.possible, "{row:?}\n{report}");
    }
}
