//! The names of the tables of a statement, as the tag `sql.tables` lists them. Pure; how a name is recognised is the
//! business of `pass`.

/// Each mention is compared with the names before it, so both are bounded: mentions, and bytes of names.
const MAX_MENTIONS: usize = 256;
const MAX_BYTES: usize = 4096;

/// Distinct names in the order of the statement, joined by commas.
#[derive(Debug, Default)]
pub struct Tables {
    joined: Vec<u8>,
    /// Where the last name begins, if it may still grow.
    open: Option<usize>,
    mentions: usize,
}

impl Tables {
    /// Forgets all names.
    pub fn clear(&mut self) {
        self.joined.clear();
        self.open = None;
        self.mentions = 0;
    }

    /// The names so far.
    pub fn joined(&self) -> &[u8] {
        &self.joined
    }

    /// Where to write a new name; nowhere if there were too many.
    pub fn begin(&mut self) -> Option<&mut Vec<u8>> {
        self.end();
        if self.mentions == MAX_MENTIONS {
            return None;
        }
        self.mentions += 1;
        self.open = Some(self.joined.len());
        if !self.joined.is_empty() {
            self.joined.push(b',');
        }
        Some(&mut self.joined)
    }

    /// Whether the last name may grow, and ends in a point.
    pub fn is_qualified(&self) -> bool {
        self.open.is_some() && self.joined.ends_with(b".")
    }

    /// Where to write the next part of the last name.
    pub fn last(&mut self) -> Option<&mut Vec<u8>> {
        self.open.map(|_| &mut self.joined)
    }

    /// The last name is complete: it goes again if it was there before.
    pub fn end(&mut self) {
        let Some(start) = self.open.take() else { return };
        let name = self.joined[start..].strip_prefix(b",").unwrap_or(&self.joined[start..]);
        let known = start > 0 && self.joined[..start].split(|&b| b == b',').any(|other| other == name);
        if known || name.is_empty() || self.joined.len() > MAX_BYTES {
            self.joined.truncate(start);
        }
    }
}
