//! The table of settings in the README is the one in the code.

use std::env;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- settings: written by `THIMBLE_WRITE_README=1 cargo test --test readme` -->\n";
const END: &str = "<!-- /settings -->";

#[test]
fn the_table_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the mark where the table begins");
    let (table, after) = rest.split_once(END).expect("the mark where the table ends");
    let current = thimble::config::reference();
    if env::var_os("THIMBLE_WRITE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{current}{END}{after}")).expect("README.md is writable");
    } else {
        assert_eq!(table, current, "{}", BEGIN.trim());
    }
}
