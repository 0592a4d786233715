//! The response header `x-junheng-decision`: how the endpoint was chosen.
//!
//! A dictionary of RFC 9651 (Structured Field Values), so that any language has a parser for it:
//! `rule="short", pool="small", endpoint="10.0.1.1:8080", zone="a", attempt=1, input=37, output=256,
//! dropped=("tiny";by=window)`.

use std::fmt::{self, Display, Formatter, Write};
use std::net::SocketAddr;

use crate::values::units::Tokens;

/// Why a pool that the rule names did not get the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedBy {
    /// It does not serve the model.
    Model,
    /// Its context window is too small.
    Window,
    /// It has no endpoint that takes traffic.
    Endpoints,
}

/// A decision, ready to be shown.
pub struct Decision<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// The pool's name.
    pub pool: &'a str,
    /// The endpoint that answers.
    pub endpoint: SocketAddr,
    /// Where that stands, if the configuration says.
    pub zone: Option<&'a str>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// The estimated input, where there is a prompt.
    pub input: Option<Tokens>,
    /// The bound on the output, where one is declared.
    pub output: Option<Tokens>,
    /// Pools that stood before the chosen one, and what dropped them.
    pub dropped: &'a [(&'a str, DroppedBy)],
}

impl Display for Decision<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Decision {
            rule,
            pool,
            endpoint,
            attempt,
            ..
        } = self;
        write!(
            f,
            "rule=\"{rule}\", pool=\"{pool}\", endpoint=\"{endpoint}\""
        )?;
        if let Some(zone) = self.zone {
            write!(f, ", zone=\"{zone}\"")?;
        }
        write!(f, ", attempt={attempt}")?;
        if let Some(input) = self.input {
            write!(f, ", input={input}")?;
        }
        if let Some(output) = self.output {
            write!(f, ", output={output}")?;
        }
        if self.dropped.is_empty() {
            return Ok(());
        }
        f.write_str(", dropped=(")?;
        for (index, (pool, by)) in self.dropped.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            let by = match by {
                DroppedBy::Model => "model",
                DroppedBy::Window => "window",
                DroppedBy::Endpoints => "endpoints",
            };
            write!(f, "\"{pool}\";by={by}")?;
        }
        f.write_char(')')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_the_pools_that_were_passed_over_and_why() {
        let decision = Decision {
            rule: "all",
            pool: "long",
            endpoint: "10.0.0.1:80".parse().unwrap(),
            zone: Some("a"),
            attempt: 2,
            input: Some(Tokens(70_000)),
            output: None,
            dropped: &[("tiny", DroppedBy::Window), ("embed", DroppedBy::Model)],
        };
        assert_eq!(
            decision.to_string(),
            "rule=\"all\", pool=\"long\", endpoint=\"10.0.0.1:80\", zone=\"a\", attempt=2, input=70000, \
             dropped=(\"tiny\";by=window \"embed\";by=model)"
        );
    }
}
