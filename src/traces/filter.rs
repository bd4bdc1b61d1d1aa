//! Which traces the user does not want (spec: traces 4.4). Pure.
