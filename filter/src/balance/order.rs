//! The answer of a balancer: which endpoint, and where retries go if it does not answer.

/// Distinct endpoints in the order in which they are to be tried; the first is claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    // Inline: a decision allocates nothing, and no proxy retries eight times.
    endpoints: [u32; Order::LONGEST],
    len: u8,
}

impl Order {
    /// As many endpoints as an order can name.
    pub const LONGEST: usize = 8;

    /// The chosen endpoint; `None` if there was no candidate.
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.endpoints
            .iter()
            .take(self.len())
            .map(|&endpoint| endpoint as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there was no candidate.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `endpoint` before all others, of which those beyond `attempts` fall off.
    pub fn put_first(&mut self, endpoint: usize, attempts: usize) {
        let others = std::mem::take(self);
        self.push(endpoint as u32, attempts);
        for other in others.iter() {
            self.push(other as u32, attempts);
        }
    }

    /// Appends `endpoint`, unless it is named already or there are `attempts` of them.
    pub fn push(&mut self, endpoint: u32, attempts: usize) {
        let (named, free) = self.endpoints.split_at_mut(usize::from(self.len));
        if named.len() < attempts
            && !named.contains(&endpoint)
            && let Some(slot) = free.first_mut()
        {
            *slot = endpoint;
            self.len = self.len.saturating_add(1);
        }
    }
}
