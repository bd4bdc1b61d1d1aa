//! What follows of a body that is not collected, as a blocking reader: bounded by the connection's input buffer.
//!
//! Waits no longer than the server's patience. Runs on connection threads; knows nothing of who reads.

use std::io::{self, ErrorKind, Read};

use super::input::Fault;

/// Fills a part of what it is given, or says why not; 0 at the end of the body.
pub(super) type Pull<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Fault> + 'a;

/// The rest of a request's body. Its end is a read of no bytes; a body that breaks off, is malformed, or comes too slowly
/// is an error, on which the connection tells the client what was wrong.
pub struct Rest<'a> {
    pull: &'a mut Pull<'a>,
    declared: Option<u64>,
    fault: Option<Fault>,
}

impl<'a> Rest<'a> {
    pub(super) fn new(pull: &'a mut Pull<'a>, declared: Option<u64>) -> Self {
        Self { pull, declared, fault: None }
    }

    /// How many bytes there were to come at first, if the client said so.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Why reading failed, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

impl Read for Rest<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let outcome = match self.fault {
            Some(fault) => Err(fault),
            None => (self.pull)(out),
        };
        outcome.map_err(|fault| {
            self.fault = Some(fault);
            match fault {
                Fault::Lost => ErrorKind::ConnectionAborted.into(),
                Fault::Refused(refusal) => io::Error::new(ErrorKind::InvalidData, refusal.reason),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::input::Refusal;

    #[test]
    fn a_fault_stays() {
        let mut calls = 0;
        let mut pull = |out: &mut [u8]| {
            calls += 1;
            out[0] = b'x';
            if calls == 1 { Ok(1) } else { Err(Fault::Refused(Refusal::bad("over"))) }
        };
        let mut rest = Rest::new(&mut pull, Some(7));
        let mut out = [0; 4];
        assert_eq!((rest.declared(), rest.read(&mut out).unwrap(), rest.fault()), (Some(7), 1, None));
        for _ in 0..2 {
            assert_eq!(rest.read(&mut out).unwrap_err().to_string(), "over");
        }
        assert_eq!(rest.fault(), Some(Fault::Refused(Refusal::bad("over"))));
        assert_eq!(calls, 2);
    }
}
