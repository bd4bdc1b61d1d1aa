//! The corpora of the fuzz targets, in the checks of those targets: what was found once is not found again.

#[path = "fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

#[test]
fn every_corpus_holds() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, check) in checks::ALL {
        let corpus = corpora.join(target);
        let entries = fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
        let mut inputs = 0;
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            let input = fs::read(&path).expect("a file");
            let outcome = std::panic::catch_unwind(|| check(&input));
            assert!(outcome.is_ok(), "{} fails", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", corpus.display());
    }
    // And no corpus without a target.
    for entry in fs::read_dir(&corpora).expect("the corpora") {
        let name = entry.expect("a directory entry").file_name();
        assert!(checks::ALL.iter().any(|(target, _)| *target == name), "{} has no target", name.display());
    }
}
