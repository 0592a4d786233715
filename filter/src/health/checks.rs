//! Active checks: some failures in a row take an endpoint out, some passes bring it back.
//!
//! Apart from the breaker, for they answer another question: checks see a server that is down and
//! nobody asks, the breaker one that answers its checks and nothing else.

use super::rules::Rules;

/// One active check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether the endpoint is well.
    pub passed: bool,
    /// What it answered; 0 where it did not.
    pub status: u16,
}

/// What the checks of one endpoint have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    pub unavailable: bool,
    /// Checks in a row that speak against what it is.
    pub against: u8,
    /// The status of the last one that failed; 0 where none came.
    pub status: u16,
}

impl Checks {
    pub fn is_available(&self) -> bool {
        !self.unavailable
    }

    /// Takes in one check; whether that made the endpoint available or unavailable.
    pub fn check(&mut self, rules: &Rules, check: Check) -> bool {
        let passed = check.passed;
        if !passed {
            self.status = check.status;
        }
        if passed == self.is_available() {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let enough = if passed {
            rules.check_passes
        } else {
            rules.check_failures
        };
        let turned = self.against >= enough;
        if turned {
            self.unavailable = !passed;
            self.against = 0;
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Availability after each of `checks`: `p` passed, `f` failed.
    fn available(checks: &str) -> String {
        let mut state = Checks::default();
        let after = checks.chars().map(|check| {
            let passed = check == 'p';
            state.check(
                &Rules::default(),
                Check {
                    passed,
                    status: 200,
                },
            );
            if state.is_available() { '+' } else { '-' }
        });
        after.collect()
    }

    #[test]
    fn three_failures_take_out_and_two_passes_bring_back() {
        assert_eq!(available("fffpp"), "++--+");
        assert_eq!(available("fffpfpp"), "++----+", "in a row");
    }

    #[test]
    fn two_failures_and_a_pass_stay_in() {
        assert_eq!(available("ffpffpfff"), "++++++++-");
    }
}
