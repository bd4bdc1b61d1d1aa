//! SQL statements: literals become `?`, comments go, lists collapse (spec: traces 4.4). Pure.
