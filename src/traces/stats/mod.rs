//! Stats of spans: what is counted, by what keys, and how it goes out (spec: traces 4.8). Pure.
