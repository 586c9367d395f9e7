//! scylla, ScyllaDB's Rust driver, unmodified, against three nodes: suite ADDRESS all|smoke.
mod checks;
mod load;
mod schema;
mod suite;
mod values;

use std::pin::Pin;

use checks::{Failure, Outcome, say};
use suite::Suite;

type Check = for<'a> fn(&'a Suite) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Checks by their names, in the order in which they run: later ones use tables of earlier ones.
macro_rules! checks {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((stringify!($name), |s| Box::pin($module::$name(s)))),+]
    };
}

const CHECKS: &[(&str, Check)] = checks![
    suite::nodes_are_discovered,
    suite::compressions,
    suite::statements_are_prepared,
    suite::every_type_both_ways,
    suite::pages_are_turned,
    suite::batches_are_applied,
    suite::requests_are_traced,
    schema::schema_changes_are_told,
    schema::prepared_statements_survive_alter,
    load::requests_reach_an_owner,
    load::a_node_may_die_under_load,
    load::a_new_node_is_told,
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let suite = Suite::new(&args[1], args[2] == "all").await?;
    for (name, check) in CHECKS {
        say("check", name);
        match check(&suite).await {
            Ok(()) => say("ok", ""),
            Err(e) => say("fail", &e.to_string()),
        }
    }
    say("end", "");
    Ok(())
}
