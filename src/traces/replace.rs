//! What the user wants replaced in tags (spec: traces 4.4). Pure.
