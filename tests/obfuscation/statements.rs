//! Statements to obfuscate: written by hand (`sql.txt`), and made from a grammar, the same ones each time.

use thimble::traces::obfuscate::sql::Dialect;

/// What literals are made of, so that one that survives is found.
pub const SECRETS: [&str; 2] = ["s3cret", "4711"];

/// A statement, and the value of `db.type` that comes with it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// `db.type`.
    pub db: &'static str,
}

impl Statement {
    /// What `db` means to us.
    pub fn dialect(&self) -> Dialect {
        Dialect::of(self.db.as_bytes())
    }
}

/// The values of `db.type` that both sides know.
pub const DATABASES: [&str; 5] = ["", "mssql", "mysql", "postgresql", "oracle"];

/// Those of `sql.txt`: each begins with a line `%% db.type`, or several of them; `*` is all of [`DATABASES`].
pub fn written() -> Vec<Statement> {
    let mut statements = Vec::new();
    for section in include_str!("sql.txt").split("\n%%").skip(1) {
        let (names, text) = section.split_once('\n').expect("a statement follows its header");
        for &db in DATABASES.iter().filter(|&&db| {
            let name = if db.is_empty() { "other" } else { db };
            names.split_whitespace().any(|given| given == name || given == "*")
        }) {
            statements.push(Statement { text: text.trim_end_matches('\n').to_owned(), db });
        }
    }
    statements
}

/// Makes statements from a seed (a linear congruential generator: any will do).
struct Maker {
    state: u64,
    db: &'static str,
}

impl Maker {
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn list(&mut self, limit: usize, separator: &str, one: fn(&mut Self) -> String) -> String {
        let count = 1 + self.below(limit);
        (0..count).map(|_| one(self)).collect::<Vec<_>>().join(separator)
    }

    fn gap(&mut self) -> &'static str {
        match self.below(12) {
            0 => "\n\t",
            1 => "  ",
            2 => " /* 4711 s3cret */ ",
            3 => " -- 4711 'it''s' s3cret\n",
            4 if ["", "mysql"].contains(&self.db) => " # s3cret\n",
            _ => " ",
        }
    }

    fn literal(&mut self) -> String {
        let common = [
            "4711",
            "-4711",
            "4711.5",
            ".4711",
            "4711e10",
            "4711E-3",
            "0x4711",
            "340282366920938463463374607431768211456",
            "'s3cret'",
            "'it''s s3cret'",
            "''",
            "'s3cret, (4711) -- /* '",
            "'s3crét 🦀'",
            "NULL",
            "true",
            "FALSE",
            "X'4711'",
        ];
        let own: &[&str] = match self.db {
            "mysql" => &["'s3cret\\'s'", "'s3cret\\\\'", "_utf8'4711'", "?", "b'101'"],
            "postgresql" => &["$1", "E's3cret\\'s'", "$$s3cret $ '4711$$", "$tag$s3cret$$4711$tag$", "B'101'", "$2"],
            "mssql" => &["N's3cret'", "@p1", "@name"],
            "oracle" => &[":name", ":1", "q'[s3cret 'x']'", "N's3cret'"],
            _ => &["%s", "%(name)s", "?", ":name", "@name"],
        };
        if self.below(3) == 0 { self.pick(own).to_owned() } else { self.pick(&common).to_owned() }
    }

    fn name(&mut self) -> String {
        let name = self.pick(&["users", "id", "created_at", "t1", "col_2024", "größe", "ユーザー", "Data"]);
        match (self.below(4), self.db) {
            (0, "mysql") => format!("`{name}`"),
            (0, "mssql") => format!("[{name}]"),
            (0, "postgresql" | "oracle") => format!("\"{name}\""),
            _ => name.to_owned(),
        }
    }

    fn column(&mut self) -> String {
        match self.below(5) {
            0 => format!("{}.{}", self.name(), self.name()),
            1 => format!("a.{}", self.pick(&["id", "name", "*"])),
            _ => self.name(),
        }
    }

    fn expression(&mut self) -> String {
        match self.below(14) {
            0 => format!("count({})", self.column()),
            1 => format!("coalesce({}, {})", self.column(), self.literal()),
            2 => format!("CAST({} AS {})", self.literal(), self.pick(&["int", "text", "varchar(20)"])),
            3 => format!("{} + {}", self.column(), self.literal()),
            4 => format!("{} || {}", self.literal(), self.column()),
            5 => {
                format!("CASE WHEN {} THEN {} ELSE {} END", self.condition(0), self.literal(), self.literal())
            }
            6 => self.literal(),
            7 if self.db == "postgresql" => {
                let operator = self.pick(&["->", "->>", "#>", "#>>"]);
                format!("{} {operator} 's3cret'", self.column())
            }
            8 if self.db == "postgresql" => format!("{}::{}", self.literal(), self.pick(&["jsonb", "text", "date"])),
            _ => self.column(),
        }
    }

    fn selected(&mut self) -> String {
        let alias = match self.below(6) {
            0 => " AS total",
            1 => " as \"Total\"",
            2 => " total",
            _ => "",
        };
        format!("{}{alias}", self.expression())
    }

    fn condition(&mut self, depth: usize) -> String {
        let column = self.column();
        match self.below(13) {
            0 => format!("{column} IN ({})", self.list(5, ", ", Self::literal)),
            1 => format!("{column} in({})", self.list(3, ",", Self::literal)),
            2 => format!("{column} BETWEEN {} AND {}", self.literal(), self.literal()),
            3 => format!("{column} IS NOT NULL"),
            4 => format!("{column} LIKE 's3cret%'"),
            5 if depth > 0 => format!("({} OR {})", self.condition(depth - 1), self.condition(depth - 1)),
            6 if depth > 0 => format!("{column} NOT IN ({})", self.select(depth - 1)),
            7 if depth > 0 => format!("EXISTS ({})", self.select(depth - 1)),
            8 if self.db == "postgresql" => {
                let operator = self.pick(&["@>", "<@", "?", "?|", "?&", "~*", "!~"]);
                format!("{column} {operator} 's3cret'")
            }
            9 if self.db == "postgresql" => format!("{column} = ANY(ARRAY[{}])", self.list(3, ",", Self::literal)),
            _ => {
                let operator = self.pick(&["=", " = ", "<>", " != ", " >= ", " < "]);
                format!("{column}{operator}{}", self.literal())
            }
        }
    }

    fn select(&mut self, depth: usize) -> String {
        let gap = self.gap();
        let mut text = format!("SELECT{gap}{}", self.list(4, ", ", Self::selected));
        text += &format!("{}FROM {}", self.gap(), self.name());
        text += self.pick(&["", "", " a", " AS a"]);
        if self.below(3) == 0 {
            let join = self.pick(&["JOIN", "LEFT JOIN", "INNER JOIN"]);
            text += &format!(" {join} {} ON {} = {}", self.name(), self.column(), self.column());
        }
        if self.below(4) > 0 {
            text += &format!("{}WHERE {}", self.gap(), self.condition(depth));
            if self.below(2) == 0 {
                text += &format!(" AND {}", self.condition(depth));
            }
        }
        match self.below(6) {
            0 => text += &format!(" ORDER BY {} DESC", self.column()),
            1 => text += &format!(" GROUP BY {} HAVING count(*) > {}", self.column(), self.literal()),
            2 => text += " LIMIT 4711 OFFSET 4711",
            3 if self.db == "mysql" => text += " limit 4711, 4711",
            _ => {}
        }
        text
    }

    fn values(&mut self) -> String {
        format!("({})", self.list(5, ", ", Self::literal))
    }

    fn assignment(&mut self) -> String {
        format!("{} = {}", self.column(), self.literal())
    }

    fn statement(&mut self) -> String {
        let text = match self.below(16) {
            0 | 1 => {
                let columns = self.list(4, ", ", Self::name);
                format!("INSERT INTO {} ({columns}) VALUES {}", self.name(), self.list(4, ", ", Self::values))
            }
            2 => {
                let rows = self.list(3, ",", Self::values);
                let rest = self.pick(&["ON CONFLICT DO NOTHING", "RETURNING id", "ON DUPLICATE KEY UPDATE id = 4711"]);
                format!("insert into {} values {rows} {rest}", self.name())
            }
            3 | 4 => {
                let set = self.list(4, ", ", Self::assignment);
                format!("UPDATE {} SET {set} WHERE {}", self.name(), self.condition(1))
            }
            5 => format!("DELETE FROM {} WHERE {}", self.name(), self.condition(1)),
            6 => format!("WITH x AS ({}), y AS ({}) {}", self.select(0), self.select(0), self.select(0)),
            7 => format!("{} UNION ALL {}", self.select(1), self.select(1)),
            8 => {
                let kind = self.pick(&["EXEC p ", "CALL p", "{call p"]);
                let rest = if kind.starts_with('{') { "}" } else { "" };
                format!("{kind}({}){rest}", self.list(3, ", ", Self::literal))
            }
            9 => format!("CREATE TABLE {} ({} int NOT NULL, {} text DEFAULT 's3cret')", self.name(), "a", "b"),
            10 => format!("BEGIN; {}; COMMIT;", self.select(0)),
            _ => self.select(2),
        };
        if self.below(8) == 0 { text + ";" } else { text }
    }
}

/// `count` of them for each database.
pub fn made(count: usize) -> Vec<Statement> {
    let mut statements = Vec::new();
    for (seed, db) in DATABASES.into_iter().enumerate() {
        let mut maker = Maker { state: 0x7415_b1e5 + seed as u64, db };
        statements.extend((0..count).map(|_| Statement { text: maker.statement(), db }));
    }
    statements
}

/// The one of a seed.
pub fn one(seed: u64, db: &'static str) -> Statement {
    Statement { text: Maker { state: seed, db }.statement(), db }
}
