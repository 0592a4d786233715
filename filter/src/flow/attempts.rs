//! How many endpoints were tried for a response.
//!
//! Envoy's property `upstream.request_attempt_count` is the truth, and reading it is the dearest
//! call of a response. With `include_attempt_count_in_response` Envoy's router also writes the
//! count into the header `x-envoy-attempt-count`, in place of what an endpoint wrote there, and all
//! headers are read anyway. Without that option the header is whatever an endpoint writes: a count
//! above 1 would charge failures to endpoints that were never tried.
//!
//! So the header saves the property only where it says 1, which charges nothing, and only as long
//! as every answer of an endpoint carried exactly one: Envoy's option writes it into all. A count
//! above 1 is compared with the property. The first answer that contradicts this ends the trust,
//! for this worker and configuration: whether the option is set does not change in between.

use crate::values::headers::Headers;

const HEADER: &str = "x-envoy-attempt-count";
/// More than any order of endpoints names.
const MOST: u32 = 16;

/// Whether the header counts attempts.
#[derive(Debug, Default)]
pub(super) struct AttemptHeader {
    distrusted: bool,
}

impl AttemptHeader {
    /// The attempts of a response with these `headers`, 1 to 16. `from_endpoint` tells whether an
    /// endpoint made the response, `property` reads the property; each is called only if needed.
    pub fn attempts(
        &mut self,
        headers: &Headers,
        from_endpoint: impl FnOnce() -> bool,
        property: impl FnOnce() -> Option<u32>,
    ) -> u32 {
        let attempts = if self.distrusted {
            property()
        } else {
            let mut values = headers.all(HEADER);
            match (values.next(), values.next()) {
                (Some(b"1"), None) => Some(1),
                // The proxy's own answers need not carry it.
                (None, _) => {
                    self.distrusted = from_endpoint();
                    property()
                }
                (Some(value), second) => {
                    let counted = property();
                    self.distrusted = second.is_some() || number(value) != counted;
                    counted
                }
            }
        };
        attempts.unwrap_or(1).clamp(1, MOST)
    }
}

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of answers of endpoints, each with these headers and this property, in a row.
    fn read(answers: &[(&[&str], Option<u32>)]) -> Vec<u32> {
        let mut header = AttemptHeader::default();
        let answers = answers.iter().map(|(values, property)| {
            let headers = Headers::from_pairs(values.iter().map(|value| (HEADER, *value)));
            header.attempts(&headers, || true, || *property)
        });
        answers.collect()
    }

    /// The property is never 9 here unless it is to be seen that it was read.
    const READ: Option<u32> = Some(9);

    #[test]
    fn one_attempt_is_believed_without_a_look_at_the_property() {
        assert_eq!(read(&[(&["1"], READ), (&["1"], READ)]), [1, 1]);
    }

    #[test]
    fn more_attempts_are_believed_if_the_property_says_so_and_trust_stays() {
        assert_eq!(read(&[(&["3"], Some(3)), (&["1"], READ)]), [3, 1]);
    }

    #[test]
    fn an_endpoint_that_claims_attempts_ends_the_trust() {
        assert_eq!(read(&[(&["3"], Some(1)), (&["1"], READ)]), [1, 9]);
        assert_eq!(read(&[(&["3"], None), (&["1"], READ)]), [1, 9]);
    }

    #[test]
    fn an_answer_without_the_header_ends_the_trust() {
        assert_eq!(read(&[(&[], Some(2)), (&["1"], READ)]), [2, 9]);
    }

    #[test]
    fn a_doubled_or_unreadable_header_ends_the_trust() {
        for values in [
            &["1", "1"][..],
            &["1", "3"],
            &["1, 3"],
            &[""],
            &["-1"],
            &["01x"],
        ] {
            assert_eq!(
                read(&[(values, Some(2)), (&["1"], READ)]),
                [2, 9],
                "{values:?}"
            );
        }
    }

    #[test]
    fn the_proxys_own_answer_without_the_header_leaves_the_trust() {
        let mut header = AttemptHeader::default();
        let none = Headers::default();
        assert_eq!(header.attempts(&none, || false, || Some(2)), 2);
        let one = Headers::from_pairs([(HEADER, "1")]);
        assert_eq!(header.attempts(&one, || true, || READ), 1);
    }

    #[test]
    fn no_count_is_below_one_or_above_sixteen() {
        assert_eq!(
            read(&[(&["0"], Some(0)), (&["4000000000"], Some(4_000_000_000))]),
            [1, 16]
        );
    }
}
