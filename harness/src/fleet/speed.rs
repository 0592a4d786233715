//! How long a model server takes: a service-time model of prefill, decode and batching.
//!
//! Time to first token grows with the prompt (prefill is compute bound), time per output token is
//! nearly constant (decode is bound by memory bandwidth), and every other running request slows
//! both a little, as continuous batching shares the accelerator among them. That is the shape
//! which Orca (Yu et al., OSDI 2022) and vLLM (Kwon et al., SOSP 2023) measured; the presets only
//! keep the ratios between generations of hardware, so that "unlike" endpoints are unlike in the
//! way real ones are.

use std::time::Duration;

/// A server's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Microseconds of prefill per input token on an idle server.
    pub prefill_us: f64,
    /// Microseconds per output token on an idle server.
    pub decode_us: f64,
    /// What each other running request adds to both, as a share of the idle time.
    pub batching: f64,
    /// Requests that run at once; the others wait, first come first served.
    pub slots: usize,
    /// Tokens that fit the KV cache; only reported, never enforced.
    pub kv_tokens: u64,
}

impl Speed {
    /// A current accelerator: 25,000 tokens/s of prefill, 8 ms an output token.
    pub const FAST: Speed = Speed {
        prefill_us: 40.0,
        decode_us: 8_000.0,
        batching: 0.02,
        slots: 64,
        kv_tokens: 1_000_000,
    };
    /// The generation before: 1.8 times the prefill, 1.4 times the decode.
    pub const MEDIUM: Speed = Speed {
        prefill_us: 72.0,
        decode_us: 11_000.0,
        batching: 0.03,
        slots: 32,
        kv_tokens: 500_000,
    };
    /// An inference card: 4 times the prefill, 2.5 times the decode.
    pub const SLOW: Speed = Speed {
        prefill_us: 160.0,
        decode_us: 20_000.0,
        batching: 0.05,
        slots: 16,
        kv_tokens: 200_000,
    };
    /// Answers at once and never queues, where only the answer matters.
    pub const INSTANT: Speed = Speed {
        prefill_us: 0.0,
        decode_us: 0.0,
        batching: 0.0,
        slots: 100_000,
        kv_tokens: 1_000_000,
    };

    /// The time from a slot to the first token of a prompt of `tokens`, `others` running beside it.
    pub fn prefill(&self, tokens: u32, others: usize) -> Duration {
        self.stretched(self.prefill_us * f64::from(tokens), others)
    }

    /// The time from one output token to the next, `others` running beside it.
    pub fn decode(&self, others: usize) -> Duration {
        self.stretched(self.decode_us, others)
    }

    fn stretched(&self, idle_us: f64, others: usize) -> Duration {
        Duration::from_secs_f64(idle_us * (1.0 + self.batching * others as f64) / 1e6)
    }
}

/// The tokens of `text` as the simulated tokenizer counts them: one every four bytes, rounded up.
pub fn tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_prompt_takes_proportionally_longer() {
        let one = Speed::FAST.prefill(1_000, 0);
        assert_eq!(one, Duration::from_millis(40));
        assert_eq!(Speed::FAST.prefill(3_000, 0), one * 3);
    }

    #[test]
    fn each_running_request_slows_the_others() {
        let alone = Speed::SLOW.decode(0);
        assert_eq!(
            Speed::SLOW.decode(20),
            alone * 2,
            "20 others at 5 % each double the time"
        );
    }
}
