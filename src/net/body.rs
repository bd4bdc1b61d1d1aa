//! Bodies: their framing as an incremental reader, and the collector that makes a [`Body`] of them within the budget.
//!
//! A declared length is a claim, not a size to allocate: memory and budget grow with the bytes that came. Whoever wants
//! to stream instead of collect uses [`BodyReader`] itself. Runs on connection threads; no sockets of its own.

use std::sync::Arc;
use std::time::Duration;

use super::Body;
use super::budget::{Budget, GRAIN, Lease};
use super::chunked::{Chunked, Next};
use super::input::{Fault, Input, Patience, Refusal, Source};

/// The first piece of memory for a body that may be longer. Later ones double it.
const FIRST: usize = 64 * 1024;

const EARLY_END: Fault = Fault::Refused(Refusal::bad("the connection ended before the body did"));

/// How a body's end is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Content-Length`, or 0 without any.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

#[derive(Debug)]
enum Place {
    Length(u64),
    Chunked(Chunked),
}

/// A request's body at some place of being read.
#[derive(Debug)]
pub(super) struct BodyReader(Place);

impl BodyReader {
    pub const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(length) => Place::Length(length),
            Framing::Chunked => Place::Chunked(Chunked::new()),
        })
    }

    /// How many bytes are still to come, if the sender said so.
    pub const fn declared(&self) -> Option<u64> {
        match self.0 {
            Place::Length(left) => Some(left),
            Place::Chunked(_) => None,
        }
    }

    /// How many bytes of payload are certain to follow; 0 at the end of the body. Reads framing, never payload.
    pub fn ahead<S: Source>(&mut self, input: &mut Input<S>, patience: &mut Patience) -> Result<u64, Fault> {
        match &mut self.0 {
            Place::Length(left) => Ok(*left),
            Place::Chunked(chunked) => loop {
                let (used, next) = chunked.advance(input.pending())?;
                input.consume(used);
                match next {
                    Next::Payload(left) => return Ok(left),
                    Next::End => return Ok(0),
                    Next::Unknown if input.fill(Some(patience))? == 0 => return Err(EARLY_END),
                    Next::Unknown => {}
                }
            },
        }
    }

    /// Moves payload into the spare capacity of `out`, which must have some: how many bytes, 0 at the end of the body.
    pub fn read<S: Source>(
        &mut self,
        input: &mut Input<S>,
        out: &mut Vec<u8>,
        patience: &mut Patience,
    ) -> Result<usize, Fault> {
        let ahead = self.ahead(input, patience)?;
        if ahead == 0 {
            return Ok(0);
        }
        let n = input.read(out, usize::try_from(ahead).unwrap_or(usize::MAX), patience)?;
        self.took(n)?;
        Ok(n)
    }

    /// Copies payload to the start of `out`, which must not be empty: how many bytes, 0 at the end of the body.
    pub fn copy<S: Source>(
        &mut self,
        input: &mut Input<S>,
        out: &mut [u8],
        patience: &mut Patience,
    ) -> Result<usize, Fault> {
        let ahead = self.ahead(input, patience)?;
        if ahead == 0 {
            return Ok(0);
        }
        if input.pending().is_empty() {
            // Whether there was anything shows below.
            input.fill(Some(patience))?;
        }
        let n = input.pending().len().min(out.len()).min(usize::try_from(ahead).unwrap_or(usize::MAX));
        out[..n].copy_from_slice(&input.pending()[..n]);
        input.consume(n);
        self.took(n)?;
        Ok(n)
    }

    /// Reads and forgets up to `limit` bytes of payload. Whether that was the end of the body.
    pub fn discard<S: Source>(
        &mut self,
        input: &mut Input<S>,
        limit: u64,
        patience: &mut Patience,
    ) -> Result<bool, Fault> {
        let mut left = limit;
        loop {
            let ahead = self.ahead(input, patience)?;
            if ahead == 0 || left == 0 {
                return Ok(ahead == 0);
            }
            if input.pending().is_empty() && input.fill(Some(patience))? == 0 {
                return Err(EARLY_END);
            }
            let wanted = usize::try_from(ahead.min(left)).unwrap_or(usize::MAX);
            let n = input.pending().len().min(wanted);
            input.consume(n);
            left -= n as u64;
            self.took(n)?;
        }
    }

    fn took(&mut self, n: usize) -> Result<(), Fault> {
        match &mut self.0 {
            _ if n == 0 => return Err(EARLY_END),
            Place::Length(left) => *left = left.saturating_sub(n as u64),
            Place::Chunked(chunked) => chunked.took(n as u64),
        }
        Ok(())
    }
}

/// Why a body was not collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It cannot be read.
    Fault(Fault),
    /// It is longer than allowed. The rest of it is still to be read.
    TooLarge,
    /// There was no room for it. The rest of it is still to be read.
    Busy,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a body of at most `limit` bytes whole, holding its memory against `budget`.
pub(super) fn collect<S: Source>(
    reader: &mut BodyReader,
    input: &mut Input<S>,
    limit: usize,
    budget: &Arc<Budget>,
    patience: &mut Patience,
) -> Result<Body, Stop> {
    let limit = limit.min(budget.capacity());
    let mut lease = Lease::new(budget);
    let mut bytes = Vec::new();
    loop {
        let ahead = reader.ahead(input, patience)?;
        if ahead == 0 {
            break;
        }
        let left = u64::try_from(limit - bytes.len()).unwrap_or(u64::MAX);
        if ahead > left {
            return Err(Stop::TooLarge);
        }
        if bytes.len() == bytes.capacity() {
            let capacity = next_capacity(reader, bytes.len(), limit);
            lease.cover(capacity, patience).map_err(|_| Stop::Busy)?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        reader.read(input, &mut bytes, patience)?;
    }
    if bytes.capacity() - bytes.len() > GRAIN {
        bytes.shrink_to_fit();
        lease.shrink(bytes.capacity());
    }
    Ok(Body { bytes, _lease: lease })
}

/// Reads the first bytes of a body, at most `limit` of them and no more than there is room for now. Whether that is all of
/// it.
pub(super) fn collect_start<S: Source>(
    reader: &mut BodyReader,
    input: &mut Input<S>,
    limit: usize,
    budget: &Arc<Budget>,
    patience: &mut Patience,
) -> Result<(Body, bool), Fault> {
    let limit = limit.min(budget.capacity());
    let mut lease = Lease::new(budget);
    let mut bytes = Vec::new();
    let whole = loop {
        if reader.ahead(input, patience)? == 0 {
            break true;
        }
        if bytes.len() >= limit {
            break false;
        }
        if bytes.len() == bytes.capacity() {
            let capacity = next_capacity(reader, bytes.len(), limit);
            if lease.cover(capacity, &mut Patience::once(Duration::ZERO)).is_err() {
                break false;
            }
            bytes.reserve_exact(capacity - bytes.len());
        }
        reader.read(input, &mut bytes, patience)?;
    };
    if bytes.capacity() - bytes.len() > GRAIN {
        bytes.shrink_to_fit();
    }
    lease.shrink(bytes.capacity());
    Ok((Body { bytes, _lease: lease }, whole))
}

/// What to grow memory to that holds `have` bytes of a body of which `limit` bytes are wanted.
fn next_capacity(reader: &BodyReader, have: usize, limit: usize) -> usize {
    let left = reader.declared().map_or(limit, |left| usize::try_from(left).unwrap_or(limit));
    have.saturating_add(left).min(limit).min(have.saturating_mul(2).max(FIRST))
}

#[cfg(test)]
mod tests;
