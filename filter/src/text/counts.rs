//! What a text is made of, per script: what its tokens are guessed from.

/// How much of what a text has. Counts wrap at 2³², which no body comes near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// ASCII from `@` to DEL: the letters, and ``@[\]^_`{|}~`` with them, as one comparison tells.
    pub letters: u32,
    /// Runs of these letters: words, or parts of words between digits and accents.
    pub words: u32,
    /// Spaces.
    pub spaces: u32,
    /// ASCII control characters: line ends, tabs.
    pub breaks: u32,
    /// The rest of ASCII: digits and punctuation.
    pub marks: u32,
    /// Latin letters beyond ASCII, and other characters of the blocks U+0080 and U+1000.
    pub latin: u32,
    /// U+0380 to U+03FF.
    pub greek: u32,
    /// U+0400 to U+053F.
    pub cyrillic: u32,
    /// U+0540 to U+05FF, with the end of Armenian.
    pub hebrew: u32,
    /// U+0600 to U+07FF.
    pub arabic: u32,
    /// U+0800 to U+0FFF: the scripts of India, Thai, Lao, Tibetan.
    pub indic: u32,
    /// U+2000 to U+2FFF: typographic punctuation, arrows, mathematics, boxes.
    pub symbols: u32,
    /// U+3000 to U+3FFF: kana and the punctuation of Chinese and Japanese.
    pub kana: u32,
    /// U+4000 to U+9FFF: ideographs; and U+E000 to U+FFFF, mostly their full-width punctuation.
    pub han: u32,
    /// U+A000 to U+DFFF: Hangul syllables, Yi.
    pub hangul: u32,
    /// U+10000 and beyond: emoji, rare ideographs.
    pub astral: u32,
    /// Tokens given as ids: exactly themselves.
    pub ids: u32,
    /// Images, whatever their size.
    pub images: u32,
    /// Messages, items or inputs: a template spends some tokens around each.
    pub messages: u32,
}

impl TextCounts {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: &TextCounts) {
        for (to, from) in self.each().into_iter().zip(other.clone().each()) {
            *to = to.wrapping_add(*from);
        }
    }

    /// The count that `char` adds to, beside the words.
    pub(crate) fn of(&mut self, char: char) -> &mut u32 {
        match char as u32 {
            0x20 => &mut self.spaces,
            0x00..0x20 => &mut self.breaks,
            0x21..0x40 => &mut self.marks,
            0x40..0x80 => &mut self.letters,
            0x80..0x380 | 0x1000..0x2000 => &mut self.latin,
            0x380..0x400 => &mut self.greek,
            0x400..0x540 => &mut self.cyrillic,
            0x540..0x600 => &mut self.hebrew,
            0x600..0x800 => &mut self.arabic,
            0x800..0x1000 => &mut self.indic,
            0x2000..0x3000 => &mut self.symbols,
            0x3000..0x4000 => &mut self.kana,
            0x4000..0xa000 | 0xe000..0x1_0000 => &mut self.han,
            0xa000..0xe000 => &mut self.hangul,
            _ => &mut self.astral,
        }
    }

    fn each(&mut self) -> [&mut u32; 19] {
        let Self {
            letters,
            words,
            spaces,
            breaks,
            marks,
            latin,
            greek,
            cyrillic,
            hebrew,
            arabic,
            indic,
            symbols,
            kana,
            han,
            hangul,
            astral,
            ids,
            images,
            messages,
        } = self;
        [
            letters, words, spaces, breaks, marks, latin, greek, cyrillic, hebrew, arabic, indic,
            symbols, kana, han, hangul, astral, ids, images, messages,
        ]
    }
}
