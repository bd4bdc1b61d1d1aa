//! The chunked coding (RFC 9112, 7.1) as an incremental decoder: bytes in, runs of payload out.
//!
//! Strict: lines end in CR LF, sizes are hexadecimal digits alone, extensions and trailers are checked, skipped and
//! bounded. Pure; runs wherever a body is read.

use super::input::Refusal;

/// Bytes of chunk extensions and trailers together that a body may carry.
const EXTRAS_MAX: usize = 16 * 1024;

/// What follows in the input after the framing that [`Chunked::advance`] used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More input is needed to say.
    Unknown,
    /// This many bytes of payload (at least one).
    Payload(u64),
    /// Nothing: the body and its trailers are complete.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk's size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the size: optional blanks and extensions.
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Payload {
        left: u64,
    },
    PayloadCr,
    PayloadLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

/// A decoder at some place of a chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extras: usize,
}

impl Chunked {
    pub const fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extras: 0 }
    }

    /// Uses up the framing at the start of `input`: how many bytes of it, and what follows them. After an error the
    /// decoder is of no more use.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, Next), Refusal> {
        for (used, &byte) in input.iter().enumerate() {
            match self.state {
                State::Payload { left } => return Ok((used, Next::Payload(left))),
                State::End => return Ok((used, Next::End)),
                _ => self.state = self.step(byte)?,
            }
        }
        let next = match self.state {
            State::Payload { left } => Next::Payload(left),
            State::End => Next::End,
            _ => Next::Unknown,
        };
        Ok((input.len(), next))
    }

    /// Says that `n` bytes of the payload that [`Chunked::advance`] announced were taken out of the input.
    pub fn took(&mut self, n: u64) {
        if let State::Payload { left } = &mut self.state {
            *left = left.saturating_sub(n);
            if *left == 0 {
                self.state = State::PayloadCr;
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { digits: 16, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return Err(Refusal::bad("a chunk's size is out of range"));
            }
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                State::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => {
                return Err(Refusal::bad("a chunk must begin with its size in hexadecimal digits"));
            }
            (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Size { size, .. }, b';' | b' ' | b'\t') => self.extra(State::Extension { size })?,
            (State::Size { .. }, _) => return Err(Refusal::bad("a chunk's size must be hexadecimal digits alone")),
            (state @ State::Extension { .. }, byte) if is_text(byte) => self.extra(state)?,
            (State::Extension { .. }, _) => return Err(Refusal::bad("control character in a chunk extension")),
            (State::SizeLf { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { size }, b'\n') => State::Payload { left: size },
            (State::PayloadCr, b'\r') => State::PayloadLf,
            (State::PayloadLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::PayloadCr | State::PayloadLf, _) => {
                return Err(Refusal::bad("a chunk's data is longer than its size says"));
            }
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::TrailerName, b':') => self.extra(State::TrailerValue)?,
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => self.extra(State::TrailerName)?,
            (State::TrailerStart | State::TrailerName, _) => return Err(Refusal::bad("invalid name of a trailer")),
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_text(byte) => self.extra(State::TrailerValue)?,
            (State::TrailerValue, _) => return Err(Refusal::bad("control character in a trailer")),
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => State::End,
            (State::SizeLf { .. } | State::TrailerLf | State::LastLf, _) => {
                return Err(Refusal::bad("a line of the chunked coding must end in CR LF"));
            }
            (state @ (State::Payload { .. } | State::End), _) => state,
        })
    }

    fn extra(&mut self, state: State) -> Result<State, Refusal> {
        self.extras += 1;
        if self.extras > EXTRAS_MAX {
            return Err(Refusal::bad("too many bytes of chunk extensions and trailers"));
        }
        Ok(state)
    }
}

/// A byte that a field's value may have (RFC 9110, 5.5).
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// A byte that a token, for instance a field's name, may have (RFC 9110, 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
