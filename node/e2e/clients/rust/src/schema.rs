//! Changes of the schema, as the driver learns them by events alone.
use scylla::cluster::metadata::Keyspace;

use crate::checks::{Outcome, equal, eventually};
use crate::suite::{RF3, Suite, connect, on};

pub async fn schema_changes_are_told(s: &Suite) -> Outcome {
    let watcher = connect(&s.address, None).await?;
    let told = async |what: &str, holds: fn(Option<&Keyspace>) -> bool| eventually(what, async || holds(watcher.get_cluster_state().get_keyspace("told")).then_some(())).await;
    s.run(format!("CREATE KEYSPACE told {RF3}")).await?;
    told("the keyspace", |k| k.is_some()).await?;
    s.run("CREATE TYPE told.pair (a int, b text)").await?;
    s.run("CREATE TABLE told.t (k int PRIMARY KEY, v frozen<pair>)").await?;
    told("table and type", |k| k.is_some_and(|k| k.user_defined_types.contains_key("pair") && k.tables.get("t").is_some_and(|t| t.partition_key == ["k"]))).await?;
    s.run("ALTER TABLE told.t ADD more map<text, int>").await?;
    told("the column", |k| k.is_some_and(|k| k.tables["t"].columns.contains_key("more"))).await?;
    s.run("DROP TABLE told.t").await?;
    told("the table's end", |k| k.is_some_and(|k| k.tables.is_empty())).await?;
    s.run("DROP KEYSPACE told").await?;
    told("the keyspace's end", |k| k.is_none()).await?;
    watcher.await_schema_agreement().await?;
    Ok(())
}

pub async fn prepared_statements_survive_alter(s: &Suite) -> Outcome {
    const SELECT: &str = "SELECT * FROM rs.altered WHERE k = ?";
    s.run("CREATE TABLE rs.altered (k int PRIMARY KEY, m text)").await?;
    s.run("INSERT INTO rs.altered (k, m) VALUES (1, 'm')").await?;
    let mut statements = Vec::new();
    for node in s.nodes() {
        statements.push(s.session.prepare(on(&node, SELECT)).await?);
    }
    for statement in &statements {
        let rows = s.session.execute_unpaged(statement, (1,)).await?.into_rows_result()?;
        equal(rows.single_row::<(i32, String)>()?, (1, "m".to_string()), "before")?;
    }
    s.run("ALTER TABLE rs.altered ADD a int").await?; // before m in the row
    s.run("UPDATE rs.altered SET a = 7 WHERE k = 1").await?;
    for statement in &statements {
        let rows = s.session.execute_unpaged(statement, (1,)).await?.into_rows_result()?;
        equal(rows.single_row::<(i32, i32, String)>()?, (1, 7, "m".to_string()), "after ADD")?;
    }
    s.run("ALTER TABLE rs.altered DROP m").await?;
    for statement in &statements {
        let rows = s.session.execute_unpaged(statement, (1,)).await?.into_rows_result()?;
        equal(rows.single_row::<(i32, i32)>()?, (1, 7), "after DROP")?;
    }
    Ok(())
}
