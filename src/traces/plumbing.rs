//! Spans that Lambda itself causes (spec: traces 4.4). Pure.
