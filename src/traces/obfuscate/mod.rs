//! What must not leave the function readable: statements, commands, documents, URLs, numbers of credit cards (spec:
//! traces 4.4). Pure; runs on the thread `trace-agent`.

pub mod sql;
