//! Requests of the tracers that go on to other intakes (spec: traces 4.9). Runs on connection threads.
