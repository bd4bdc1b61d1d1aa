//! A connection whose answer is read even if the peer stopped reading the request.
//!
//! An intake may refuse a large body by its head (413, a bad key, a rate limit) and close. The client then fails to
//! write, and would never look at the answer that explains it: the payload would be sent in vain again and again.
//! Here a broken write is taken as the end of writing; reading decides. Runs on the worker's thread, below TLS.

use std::io::ErrorKind;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Wraps what the connectors before it opened.
#[derive(Debug)]
pub(super) struct EarlyAnswers;

impl<In: Transport> Connector<In> for EarlyAnswers {
    type Out = EarlyTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, opened: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(opened.map(|inner| EarlyTransport { inner, broken: false }))
    }
}

#[derive(Debug)]
pub(super) struct EarlyTransport<T> {
    inner: T,
    /// The peer takes nothing more.
    broken: bool,
}

impl<T: Transport> Transport for EarlyTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(e)) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.broken = true;
                Ok(())
            }
            result => result,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.broken && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
