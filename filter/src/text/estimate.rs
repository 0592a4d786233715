//! From counts of characters to tokens: a table for all models, and what each model's own reports
//! say the table is wrong by.
//!
//! The table is a least-squares fit of relative errors, with no negative coefficient, to OpenAI's
//! `o200k_base` over 912 excerpts of 200 to 4,000 characters: manual pages and handbooks in 20
//! languages, the Universal Declaration of Human Rights, source code, Markdown and JSON, each
//! weighted alike and prose in English, code and JSON twofold. On 912 other excerpts of the same
//! sources (median and 90th percentile of the absolute error; for comparison the median of bytes/4):
//!
//! | text | median | p90 | bytes/4 | | text | median | p90 | bytes/4 |
//! |---|---|---|---|---|---|---|---|---|
//! | English | 3 % | 26 % | 7 % | | Chinese | 7 % | 16 % | 11 % |
//! | Markdown | 6 % | 11 % | 8 % | | Japanese | 4 % | 12 % | 8 % |
//! | Python | 7 % | 16 % | 16 % | | Korean | 5 % | 11 % | 14 % |
//! | Rust | 12 % | 23 % | 14 % | | Hindi | 5 % | 15 % | 23 % |
//! | JSON | 7 % | 45 % | 13 % | | Bengali | 6 % | 12 % | 83 % |
//! | German | 8 % | 16 % | 6 % | | Tamil | 11 % | 15 % | 107 % |
//! | French | 6 % | 29 % | 9 % | | Thai | 7 % | 16 % | 76 % |
//! | Polish | 16 % | 22 % | 21 % | | Arabic | 6 % | 21 % | 43 % |
//! | Russian | 8 % | 21 % | 34 % | | Hebrew | 2 % | 5 % | 15 % |
//! | Greek | 9 % | 19 % | 22 % | | Vietnamese | 13 % | 25 % | 13 % |
//!
//! The 90th percentiles of English and JSON are tables, rulers and identifiers. An older tokenizer
//! with half the vocabulary (`cl100k_base`) needs up to three times as many tokens for scripts that
//! it did not learn, and the same for English and code: that is a model's property, and its
//! correction's business.

use super::counts::TextCounts;
use crate::values::units::Tokens;

/// What an image costs where nothing is known of its size: OpenAI's figure for 1024x1024 in high
/// detail, 85 and four tiles of 170.
const IMAGE: f64 = 765.0;

/// What a chat template puts around a message: OpenAI's three, and the role.
const MESSAGE: f64 = 4.0;

/// The tokens of a prompt before any correction; at least one.
pub fn raw(counts: &TextCounts) -> Tokens {
    whole(f64::from(counts.ids) + written(counts))
}

fn written(counts: &TextCounts) -> f64 {
    [
        (counts.letters, 0.150),
        (counts.words, 0.376),
        (counts.spaces, 0.066),
        (counts.breaks, 0.571),
        (counts.marks, 0.709),
        (counts.latin, 0.804),
        (counts.greek, 0.405),
        (counts.cyrillic, 0.345),
        (counts.hebrew, 0.423),
        (counts.arabic, 0.359),
        (counts.indic, 0.393),
        (counts.symbols, 0.844),
        (counts.kana, 0.706),
        (counts.han, 0.855),
        (counts.hangul, 0.702),
        // Fitted on the commonest emoji it is 0.31; rarer ones and rare ideographs take two or three.
        (counts.astral, 1.5),
        (counts.images, IMAGE),
        (counts.messages, MESSAGE),
    ]
    .iter()
    .map(|(count, tokens)| f64::from(*count) * tokens)
    .sum()
}

/// Rounded up: an estimate decides what fits, and half a token does not. Saturates.
fn whole(tokens: f64) -> Tokens {
    Tokens((tokens.ceil() as u32).max(1))
}

/// What one worker has learnt about its models' tokenizers.
#[derive(Clone, Debug)]
pub struct Estimator {
    models: Vec<Correction>,
}

/// Sums of estimated and reported tokens, old ones fading: their ratio is the correction. A ratio
/// of sums, as a mean of ratios would let the rounding and the template of tiny prompts speak.
#[derive(Clone, Copy, Debug)]
pub struct Correction {
    estimated: f64,
    actual: f64,
    samples: u32,
}

/// What a sum keeps at each step: a memory of about 200 requests.
const KEEP: f64 = 1.0 - 1.0 / 200.0;
/// One prompt counts for at most so many tokens, so that the longest do not speak for all.
const MOST: f64 = 8192.0;
/// How much the table is believed at first, in tokens.
const PRIOR: f64 = 2048.0;
/// No tokenizer is further off the table than this, either way.
const FURTHEST: f64 = 4.0;
/// A report further off than this is a mistake and teaches nothing.
const ABSURD: f64 = 16.0;

impl Estimator {
    /// For `models` models, numbered from 0, of which nothing is known.
    pub fn new(models: usize) -> Self {
        let unknown = Correction {
            estimated: PRIOR,
            actual: PRIOR,
            samples: 0,
        };
        Self {
            models: vec![unknown; models],
        }
    }

    /// The estimate for a prompt to `model`, corrected by its reports; uncorrected for `None` or a
    /// model out of range. Token ids are counted, not estimated, and never corrected.
    pub fn tokens(&self, model: Option<usize>, counts: &TextCounts) -> Tokens {
        let learnt = model.and_then(|model| self.models.get(model));
        let ratio = learnt.map_or(1.0, Correction::ratio);
        whole(f64::from(counts.ids) + ratio * written(counts))
    }

    /// `model` reports that a prompt, for which [`raw`] gave `estimated_raw`, has `actual` tokens.
    ///
    /// Reports of none, or absurdly far off (16 times), are ignored. A prompt of token ids teaches
    /// nothing about text and should not be handed in.
    pub fn learn(&mut self, model: usize, estimated_raw: Tokens, actual: Tokens) {
        let (estimated, actual) = (f64::from(estimated_raw.0), f64::from(actual.0));
        let absurd = actual < estimated / ABSURD || actual > estimated * ABSURD;
        let Some(learnt) = self.models.get_mut(model) else {
            return;
        };
        if absurd || estimated == 0.0 || actual == 0.0 {
            return;
        }
        let weight = (MOST / estimated).min(1.0);
        learnt.estimated = learnt.estimated * KEEP + estimated * weight;
        learnt.actual = learnt.actual * KEEP + actual * weight;
        learnt.samples = learnt.samples.saturating_add(1);
    }

    /// What `model`'s reports have taught, if there were any.
    pub fn correction(&self, model: usize) -> Option<Correction> {
        let known = self.models.get(model).copied();
        known.filter(|correction| correction.samples > 0)
    }

    /// Goes on with what another estimator was taught of `model`.
    pub fn restore(&mut self, model: usize, correction: Correction) {
        if let Some(known) = self.models.get_mut(model) {
            *known = correction;
        }
    }

    /// How many reports `model` has learnt from.
    pub fn samples(&self, model: usize) -> u32 {
        self.models.get(model).map_or(0, |learnt| learnt.samples)
    }
}

impl Correction {
    fn ratio(&self) -> f64 {
        (self.actual / self.estimated).clamp(1.0 / FURTHEST, FURTHEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(letters: u32) -> TextCounts {
        TextCounts {
            letters,
            words: letters / 5,
            spaces: letters / 5,
            ..TextCounts::default()
        }
    }

    #[test]
    fn a_models_own_reports_correct_its_estimates() {
        let mut estimator = Estimator::new(2);
        for n in 1..400 {
            let raw = raw(&prompt(n * 10));
            estimator.learn(1, raw, Tokens(raw.0 * 3 / 2));
        }
        let (plain, corrected) = (
            raw(&prompt(10_000)),
            estimator.tokens(Some(1), &prompt(10_000)),
        );
        let ratio = f64::from(corrected.0) / f64::from(plain.0);
        assert!((1.45..1.51).contains(&ratio), "{ratio}");
        assert_eq!(estimator.tokens(Some(0), &prompt(10_000)), plain);
        assert_eq!(estimator.tokens(None, &prompt(10_000)), plain);
        assert_eq!((estimator.samples(0), estimator.samples(1)), (0, 399));
    }

    #[test]
    fn absurd_reports_teach_nothing_and_the_correction_is_bounded() {
        let mut estimator = Estimator::new(1);
        for report in [0, 1, 1_000_000] {
            estimator.learn(0, Tokens(1000), Tokens(report));
        }
        estimator.learn(7, Tokens(1000), Tokens(2000));
        assert_eq!(estimator.samples(0), 0);
        for _ in 0..10_000 {
            estimator.learn(0, Tokens(1000), Tokens(15_000));
        }
        let plain = raw(&prompt(10_000));
        assert!(estimator.tokens(Some(0), &prompt(10_000)).0 <= plain.0 * 4);
    }

    #[test]
    fn token_ids_are_exact_whatever_was_learnt() {
        let mut estimator = Estimator::new(1);
        for _ in 0..1000 {
            estimator.learn(0, Tokens(1000), Tokens(3000));
        }
        let ids = TextCounts {
            ids: 777,
            ..TextCounts::default()
        };
        assert_eq!(estimator.tokens(Some(0), &ids), Tokens(777));
    }
}
