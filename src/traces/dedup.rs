//! Spans that arrive twice (spec: traces 4.2). Pure.
