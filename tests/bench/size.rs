//! Bytes of what is installed.

use std::fs;
use std::path::Path;

use crate::Subject;
use crate::start::count;
use crate::support::budgets;
use crate::table::Row;

fn bytes(path: &Path) -> f64 {
    count(fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len())
}

pub fn rows(subject: &Subject) -> Vec<Row> {
    let mut rows = vec![Row::at_most("binary", bytes(&subject.thimble), "B", count(budgets::BINARY_BYTES))];
    for arch in ["x86_64", "aarch64"] {
        let layer = subject.layers.join(format!("thimble-{arch}.zip"));
        rows.push(Row::at_most(format!("layer, {arch}"), bytes(&layer), "B", count(budgets::LAYER_BYTES)));
    }
    rows
}
