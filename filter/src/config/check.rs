//! Active checks as they are configured, and which answers pass.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Asking endpoints how they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// The path of the GET.
    pub path: String,
    /// The statuses that pass; `None` where the configuration names none.
    pub statuses: Option<Vec<RangeInclusive<u16>>>,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Failures in a row that leave an endpoint out.
    pub unhealthy_after: u8,
    /// Passes in a row that bring it back.
    pub healthy_after: u8,
}

/// What a status says of the endpoint that answered a check with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    /// It is healthy.
    Passes,
    /// It lives and does not serve the path: a pass, and a mistake in the configuration.
    NotServed,
    /// It is not healthy.
    Fails,
}

impl Check {
    /// What `status` says.
    ///
    /// 404, 405 and 501 say that the server knows no such path or method: it read the request and
    /// answered, so it lives. Servers without `/health` are common, and to take them for dead would
    /// leave out a whole pool that works. Where statuses are configured, these alone pass.
    pub fn judge(&self, status: u16) -> CheckAnswer {
        match &self.statuses {
            Some(passing) if passing.iter().any(|range| range.contains(&status)) => {
                CheckAnswer::Passes
            }
            Some(_) => CheckAnswer::Fails,
            None => match status {
                200..300 => CheckAnswer::Passes,
                404 | 405 | 501 => CheckAnswer::NotServed,
                _ => CheckAnswer::Fails,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statuses: Option<Vec<RangeInclusive<u16>>>) -> Check {
        Check {
            path: "/health".into(),
            statuses,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    #[test]
    fn a_server_without_the_path_lives_unless_statuses_are_configured() {
        let (default, listed) = (check(None), check(Some(vec![200..=204, 418..=418])));
        for (status, by_default, by_list) in [
            (100, CheckAnswer::Fails, CheckAnswer::Fails),
            (200, CheckAnswer::Passes, CheckAnswer::Passes),
            (204, CheckAnswer::Passes, CheckAnswer::Passes),
            (205, CheckAnswer::Passes, CheckAnswer::Fails),
            (301, CheckAnswer::Fails, CheckAnswer::Fails),
            (401, CheckAnswer::Fails, CheckAnswer::Fails),
            (404, CheckAnswer::NotServed, CheckAnswer::Fails),
            (405, CheckAnswer::NotServed, CheckAnswer::Fails),
            (418, CheckAnswer::Fails, CheckAnswer::Passes),
            (500, CheckAnswer::Fails, CheckAnswer::Fails),
            (501, CheckAnswer::NotServed, CheckAnswer::Fails),
            (503, CheckAnswer::Fails, CheckAnswer::Fails),
        ] {
            assert_eq!(default.judge(status), by_default, "{status}");
            assert_eq!(listed.judge(status), by_list, "{status}");
        }
    }
}
