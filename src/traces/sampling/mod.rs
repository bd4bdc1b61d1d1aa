//! Which traces are kept where the agent decides, and the rates that tracers are told (spec: traces 4.6). Pure.
