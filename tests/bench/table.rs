//! The table of figures: what was measured beside what was promised.

/// One figure.
#[derive(Debug)]
pub struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    /// What else was measured, in words.
    more: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    None,
    AtMost(f64),
    Exactly(f64),
}

impl Row {
    /// A figure that explains others.
    pub fn plain(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, more: String::new(), target: Target::None }
    }

    /// A figure with a limit.
    pub fn at_most(what: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self { what: what.into(), value, unit, more: String::new(), target: Target::AtMost(limit) }
    }

    /// A figure with one right value.
    pub fn exactly(what: impl Into<String>, value: f64, unit: &'static str, expected: f64) -> Self {
        Self { what: what.into(), value, unit, more: String::new(), target: Target::Exactly(expected) }
    }

    /// Says more of the same behind the figure.
    pub fn and(self, more: String) -> Self {
        Self { more, ..self }
    }

    /// Whether the target was reached; `true` without one.
    #[allow(clippy::float_cmp)] // counts are exact
    pub fn reached(&self) -> bool {
        match self.target {
            Target::None => true,
            Target::AtMost(limit) => self.value <= limit,
            Target::Exactly(expected) => self.value == expected,
        }
    }

    /// The columns: figure, measured, target, mark.
    fn cells(&self) -> [String; 4] {
        let target = match self.target {
            Target::None => String::new(),
            Target::AtMost(limit) => format!("at most {} {}", number(limit), self.unit),
            Target::Exactly(expected) => format!("{} {}", number(expected), self.unit),
        };
        let mark = match self.target {
            Target::None => "",
            _ if self.reached() => "reached",
            _ => "MISSED",
        };
        let mut measured = format!("{} {}", number(self.value), self.unit);
        if !self.more.is_empty() {
            measured.push_str(", ");
            measured.push_str(&self.more);
        }
        [self.what.clone(), measured, target, mark.to_owned()]
    }
}

/// Counts whole and in groups of three, small figures with two digits after the point.
fn number(value: f64) -> String {
    if value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

const HEAD: [&str; 4] = ["figure", "measured", "target", ""];

/// For a terminal.
pub fn plain(rows: &[Row]) -> String {
    let cells: Vec<[String; 4]> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let [first, second, third] = [0, 1, 2].map(width);
    let lines = cells.iter().map(|[what, measured, target, mark]| {
        let line = format!("{what:<first$}  {measured:>second$}  {target:>third$}  {mark}");
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

/// For the README.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| figure | measured | target |\n|---|--:|--:|\n");
    for [what, measured, target, mark] in rows.iter().map(Row::cells) {
        let mark = if mark == "MISSED" { " (missed)" } else { "" };
        text.push_str(&format!("| {} | {measured} | {target}{mark} |\n", what.trim_start()));
    }
    text
}
