//! Two implementations over one corpus. Each difference belongs to a class that says why; one without a class fails, and so
//! does a class without a difference.

/// A reason to differ.
pub struct Class {
    /// Why ours is right.
    pub why: &'static str,
    /// Whether it explains a difference: of the input, what is ours and what is theirs.
    pub explains: fn(&str, &str, &str) -> bool,
}

/// Runs `corpus` through both. At least `least` texts must be in it.
pub fn compare(
    corpus: &[String],
    least: usize,
    ours: &dyn Fn(&str) -> String,
    theirs: &dyn Fn(&str) -> String,
    classes: &[Class],
) {
    assert!(corpus.len() >= least, "{} texts", corpus.len());
    let mut counts = vec![0; classes.len()];
    let mut unexplained = Vec::new();
    for input in corpus {
        let (ours, theirs) = (ours(input), theirs(input));
        if ours == theirs {
            continue;
        }
        match classes.iter().position(|class| (class.explains)(input, &ours, &theirs)) {
            Some(class) => counts[class] += 1,
            None => unexplained.push(format!("  {input:?}\n  ours   {ours:?}\n  theirs {theirs:?}\n")),
        }
    }
    println!("{} texts, different:", corpus.len());
    for (class, count) in classes.iter().zip(&counts) {
        println!("{count:6} {}", class.why);
    }
    assert!(
        unexplained.is_empty(),
        "{} differences:\n{}",
        unexplained.len(),
        unexplained[..unexplained.len().min(40)].join("\n")
    );
    for (class, count) in classes.iter().zip(&counts) {
        assert!(*count > 0, "no longer different: {}", class.why);
    }
}

/// The same numbers in each run.
pub struct Dice(pub u64);

impl Dice {
    /// Below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// One of them.
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// Output of a function that appends.
pub fn output(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("what comes out of UTF-8 is UTF-8")
}
