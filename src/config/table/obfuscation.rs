//! The rows of obfuscation, with the Go agent's names and defaults. Those under `obfuscation.sql` are settings of its
//! obfuscator that its trace agent offers as features, or not at all.

use super::{BOOLEAN, Config, Given, NAMES, PLAIN, Problem, Row, flag, names, put};

/// The rows of a kind of JSON document.
macro_rules! json_obfuscation {
    ($env:literal, $yaml:literal, $field:ident, $default:literal, $what:literal) => {
        &[
            Row {
                env: &[concat!("APM_OBFUSCATION_", $env, "_ENABLED")],
                yaml: &[concat!("apm_config.obfuscation.", $yaml, ".enabled")],
                default: $default,
                form: BOOLEAN,
                doc: concat!("Whether the values in ", $what, " are replaced by ?."),
                read: |c, v| flag(&mut c.apm.obfuscation.$field.enabled, v),
                ..PLAIN
            },
            Row {
                env: &[concat!("APM_OBFUSCATION_", $env, "_KEEP_VALUES")],
                yaml: &[concat!("apm_config.obfuscation.", $yaml, ".keep_values")],
                form: NAMES,
                doc: "Keys in them whose values stay.",
                read: |c, v| put(&mut c.apm.obfuscation.$field.keep_values, names(v)),
                ..PLAIN
            },
            Row {
                env: &[concat!("APM_OBFUSCATION_", $env, "_OBFUSCATE_SQL_VALUES")],
                yaml: &[concat!("apm_config.obfuscation.", $yaml, ".obfuscate_sql_values")],
                form: NAMES,
                doc: "Keys in them whose values are SQL.",
                read: |c, v| put(&mut c.apm.obfuscation.$field.obfuscate_sql_values, names(v)),
                ..PLAIN
            },
        ]
    };
}

/// All of them.
pub const TABLES: &[&[Row]] = &[
    json_obfuscation!("ELASTICSEARCH", "elasticsearch", elasticsearch, "true", "bodies of Elasticsearch requests"),
    json_obfuscation!("OPENSEARCH", "opensearch", opensearch, "true", "bodies of OpenSearch requests"),
    json_obfuscation!("MONGODB", "mongodb", mongodb, "true", "MongoDB queries"),
    json_obfuscation!("SQL_EXEC_PLAN", "sql_exec_plan", sql_exec_plan, "false", "execution plans of SQL statements"),
    json_obfuscation!(
        "SQL_EXEC_PLAN_NORMALIZE",
        "sql_exec_plan_normalize",
        sql_exec_plan_normalize,
        "false",
        "normalised execution plans of SQL statements"
    ),
    OTHERS,
    SQL,
];

/// The features of the Go agent that mean something here.
fn features(c: &mut Config, given: &mut Given<'_>) -> Result<(), Problem> {
    let (sql, full_trace_id) = (&mut c.apm.obfuscation.sql, &mut c.apm.sampling.probabilistic.full_trace_id);
    for feature in names(given)? {
        match feature.as_str() {
            "table_names" => sql.table_names = true,
            "quantize_sql_tables" | "replace_sql_digits" => sql.replace_digits = true,
            "keep_sql_alias" => sql.keep_sql_alias = true,
            "probabilistic_sampler_full_trace_id" => *full_trace_id = true,
            "dollar_quoted_func" => sql.dollar_quoted_func = true,
            _ => {}
        }
    }
    Ok(())
}

const OTHERS: &[Row] = &[
    Row {
        env: &["APM_OBFUSCATION_HTTP_REMOVE_QUERY_STRING", "APM_CONFIG_OBFUSCATION_HTTP_REMOVE_QUERY_STRING"],
        yaml: &["apm_config.obfuscation.http.remove_query_string"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether the queries of URLs are removed.",
        read: |c, v| flag(&mut c.apm.obfuscation.http.remove_query_string, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_HTTP_REMOVE_PATHS_WITH_DIGITS", "APM_CONFIG_OBFUSCATION_HTTP_REMOVE_PATHS_WITH_DIGITS"],
        yaml: &["apm_config.obfuscation.http.remove_paths_with_digits"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether the parts of URLs' paths that have digits are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.http.remove_paths_with_digits, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_REDIS_ENABLED"],
        yaml: &["apm_config.obfuscation.redis.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether the arguments of Redis commands are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.redis.enabled, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_REDIS_REMOVE_ALL_ARGS"],
        yaml: &["apm_config.obfuscation.redis.remove_all_args"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether one ? takes the place of all arguments of a Redis command.",
        read: |c, v| flag(&mut c.apm.obfuscation.redis.remove_all_args, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_VALKEY_ENABLED"],
        yaml: &["apm_config.obfuscation.valkey.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether the arguments of Valkey commands are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.valkey.enabled, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_VALKEY_REMOVE_ALL_ARGS"],
        yaml: &["apm_config.obfuscation.valkey.remove_all_args"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether one ? takes the place of all arguments of a Valkey command.",
        read: |c, v| flag(&mut c.apm.obfuscation.valkey.remove_all_args, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_MEMCACHED_ENABLED"],
        yaml: &["apm_config.obfuscation.memcached.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether Memcached commands are removed.",
        read: |c, v| flag(&mut c.apm.obfuscation.memcached.enabled, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_MEMCACHED_KEEP_COMMAND"],
        yaml: &["apm_config.obfuscation.memcached.keep_command"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether of a Memcached command its first line stays.",
        read: |c, v| flag(&mut c.apm.obfuscation.memcached.keep_command, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_CREDIT_CARDS_ENABLED"],
        yaml: &["apm_config.obfuscation.credit_cards.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether tags that hold a credit card's number are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.credit_cards.enabled, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_CREDIT_CARDS_LUHN"],
        yaml: &["apm_config.obfuscation.credit_cards.luhn"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether a number is a card's only if its check digit is right.",
        read: |c, v| flag(&mut c.apm.obfuscation.credit_cards.luhn, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_CREDIT_CARDS_KEEP_VALUES"],
        yaml: &["apm_config.obfuscation.credit_cards.keep_values"],
        form: NAMES,
        doc: "Tags in which no card's number is looked for.",
        read: |c, v| put(&mut c.apm.obfuscation.credit_cards.keep_values, names(v)),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_REMOVE_STACK_TRACES"],
        yaml: &["apm_config.obfuscation.remove_stack_traces"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether stack traces of errors are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.remove_stack_traces, v),
        ..PLAIN
    },
];

/// The Go agent has the first row alone; it comes first, so that a setting of its own decides.
const SQL: &[Row] = &[
    Row {
        env: &["APM_FEATURES"],
        yaml: &["apm_config.features"],
        form: NAMES,
        doc: "Features of the Go agent: table_names, quantize_sql_tables, replace_sql_digits, keep_sql_alias and \
              dollar_quoted_func do what the settings below do, probabilistic_sampler_full_trace_id makes that \
              sampler look at all of a trace's id; others do nothing.",
        read: features,
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_TABLE_NAMES"],
        yaml: &["apm_config.obfuscation.sql.table_names"],
        form: BOOLEAN,
        doc: "Whether the names of tables in SQL statements become the tag sql.tables.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.table_names, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_REPLACE_DIGITS"],
        yaml: &["apm_config.obfuscation.sql.replace_digits"],
        form: BOOLEAN,
        doc: "Whether digits in the names of tables and columns are replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.replace_digits, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_KEEP_SQL_ALIAS"],
        yaml: &["apm_config.obfuscation.sql.keep_sql_alias"],
        form: BOOLEAN,
        doc: "Whether AS and the alias after it stay.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.keep_sql_alias, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_DOLLAR_QUOTED_FUNC"],
        yaml: &["apm_config.obfuscation.sql.dollar_quoted_func"],
        form: BOOLEAN,
        doc: "Whether what stands between two $func$ is obfuscated as a statement, and not replaced by ?.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.dollar_quoted_func, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_KEEP_NULL"],
        yaml: &["apm_config.obfuscation.sql.keep_null"],
        form: BOOLEAN,
        doc: "Whether NULL stays.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.keep_null, v),
        ..PLAIN
    },
    Row {
        env: &["APM_OBFUSCATION_SQL_KEEP_BOOLEAN"],
        yaml: &["apm_config.obfuscation.sql.keep_boolean"],
        form: BOOLEAN,
        doc: "Whether TRUE and FALSE stay.",
        read: |c, v| flag(&mut c.apm.obfuscation.sql.keep_boolean, v),
        ..PLAIN
    },
];
