//! Active checks: some failures in a row take an endpoint out, some passes bring it back.
//!
//! Apart from the breaker, for they answer another question: checks see a server that is down and
//! nobody asks, the breaker one that answers its checks and nothing else.

use super::rules::Rules;

/// What the checks of one endpoint have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    pub unavailable: bool,
    /// Checks in a row that speak against what it is.
    pub against: u8,
}

impl Checks {
    pub fn is_available(&self) -> bool {
        !self.unavailable
    }

    /// Takes in one check; whether that made the endpoint available or unavailable.
    pub fn check(&mut self, rules: &Rules, passed: bool) -> bool {
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
            *self = Checks {
                unavailable: !passed,
                against: 0,
            };
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
            state.check(&Rules::default(), check == 'p');
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
