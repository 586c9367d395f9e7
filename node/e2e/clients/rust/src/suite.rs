//! A session with all nodes, and the checks that need no more.
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::Node;
use scylla::frame::Compression;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::PagingState;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::{Consistency, Statement};
use scylla::value::MaybeUnset;
use uuid::Uuid;

use crate::checks::{Failure, Outcome, equal, eventually, figure, holds};
use crate::values;

pub const RF3: &str = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}";
const RF1: &str = "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";

pub struct Suite {
    pub address: String,
    pub long: bool,
    pub session: Arc<Session>,
}

impl Suite {
    pub async fn new(address: &str, long: bool) -> Result<Suite, Failure> {
        let session = Arc::new(connect(address, None).await?);
        session.query_unpaged(format!("CREATE KEYSPACE rs {RF3}"), ()).await?;
        session.query_unpaged(format!("CREATE KEYSPACE single {RF1}"), ()).await?;
        session.use_keyspace("rs", false).await?;
        Ok(Suite { address: address.to_string(), long, session })
    }

    pub async fn run(&self, statement: impl Into<String>) -> Outcome {
        self.session.query_unpaged(statement.into(), ()).await?;
        Ok(())
    }

    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.session.get_cluster_state().get_nodes_info().to_vec()
    }

    /// What the driver knows of node n, from 1.
    pub fn node(&self, n: usize) -> Option<Arc<Node>> {
        self.nodes().into_iter().find(|h| h.address.ip().to_string().ends_with(&format!(".{n}")))
    }
}

pub async fn connect(address: &str, compression: Option<Compression>) -> Result<Session, Failure> {
    let profile = ExecutionProfile::builder().consistency(Consistency::Quorum).request_timeout(Some(Duration::from_secs(20))).build();
    let builder = SessionBuilder::new().known_node(address).compression(compression).default_execution_profile_handle(profile.into_handle());
    // the schema of keyspaces that events named is read again this often, by default once a minute; nothing else is
    Ok(builder.cluster_metadata_refresh_interval(Duration::from_millis(200)).build().await?)
}

/// A statement for one node alone.
pub fn on(node: &Node, statement: &str) -> Statement {
    let mut s = Statement::new(statement);
    s.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node.host_id), None)));
    s
}

pub async fn nodes_are_discovered(s: &Suite) -> Outcome {
    let nodes = eventually("three nodes", async || Some(s.nodes()).filter(|all| all.len() == 3 && all.iter().all(|n| n.is_connected()))).await?;
    equal(nodes.iter().map(|n| n.host_id).collect::<HashSet<_>>().len(), 3, "ids")?;
    equal(s.session.get_cluster_state().replica_locator().ring().iter().count(), 48, "tokens")?;
    for node in nodes {
        equal(node.datacenter.as_deref(), Some("datacenter1"), "datacenter")?;
        let rows = s.session.query_unpaged(on(&node, "SELECT host_id FROM system.local"), ()).await?.into_rows_result()?;
        equal(rows.single_row::<(Uuid,)>()?.0, node.host_id, "the node that answers")?;
    }
    Ok(())
}

pub async fn compressions(s: &Suite) -> Outcome {
    let text = "compressible ".repeat(20_000);
    for compression in [None, Some(Compression::Lz4), Some(Compression::Snappy)] {
        let other = connect(&s.address, compression).await?;
        let rows = other.query_unpaged("SELECT (text)? AS t FROM system.local", (&text,)).await?.into_rows_result()?;
        holds(rows.single_row::<(String,)>()?.0 == text, format!("{compression:?}"))?;
    }
    Ok(())
}

pub async fn statements_are_prepared(s: &Suite) -> Outcome {
    s.run("CREATE TABLE rs.prepared (k int, c text, v int, w int, PRIMARY KEY (k, c))").await?;
    let insert = s.session.prepare("INSERT INTO prepared (k, c, v, w) VALUES (?, ?, ?, ?)").await?;
    equal(insert.get_variable_pk_indexes().iter().map(|i| i.index).collect::<Vec<_>>(), vec![0], "partition key")?;
    s.session.execute_unpaged(&insert, (1, "a", 1, 1)).await?;
    s.session.execute_unpaged(&insert, (1, "a", 2, MaybeUnset::<i32>::Unset)).await?; // w stays
    s.session.execute_unpaged(&insert, (2, "b", None::<i32>, 3)).await?;
    let named = s.session.prepare("SELECT v, w FROM prepared WHERE k = :key AND c = :other").await?;
    for (k, c, want) in [(1, "a", (Some(2), Some(1))), (2, "b", (None, Some(3)))] {
        let values = std::collections::HashMap::from([("other", Box::new(c) as Box<dyn scylla::serialize::value::SerializeValue>), ("key", Box::new(k))]);
        let rows = s.session.execute_unpaged(&named, &values).await?.into_rows_result()?;
        equal(rows.single_row::<(Option<i32>, Option<i32>)>()?, want, "by names")?;
    }
    let wrong = s.session.prepare("SELECT nothing FROM prepared").await;
    holds(wrong.as_ref().is_err_and(|e| format!("{e:?}").contains("Invalid")), "no such column")
}

pub async fn every_type_both_ways(s: &Suite) -> Outcome {
    figure(format!("{} types", values::both_ways(&s.session).await?));
    Ok(())
}

pub async fn pages_are_turned(s: &Suite) -> Outcome {
    let rows = if s.long { 5000 } else { 1000 };
    s.run("CREATE TABLE rs.pages (k int, c int, v text, PRIMARY KEY (k, c))").await?;
    let insert = s.session.prepare("INSERT INTO pages (k, c, v) VALUES (?, ?, ?)").await?;
    futures::future::try_join_all((0..rows).map(|c| s.session.execute_unpaged(&insert, (c % 3, c, format!("v{c}"))))).await?;
    let all = s.session.query_iter(Statement::new("SELECT c FROM pages").with_page_size(100), ()).await?;
    let mut seen: Vec<i32> = all.rows_stream::<(i32,)>()?.map_ok(|r| r.0).try_collect().await?;
    seen.sort();
    equal(seen, (0..rows).collect(), "rows of all pages")?;
    let select = "SELECT c FROM pages WHERE k = 1";
    let (page, state) = s.session.query_single_page(Statement::new(select).with_page_size(7), (), PagingState::start()).await?;
    equal(numbers(page)?, vec![1, 4, 7, 10, 13, 16, 19], "the first page")?;
    let ControlFlow::Continue(state) = state.into_paging_control_flow() else { return Err("one page only".into()) };
    for node in s.nodes() {
        // another node goes on where this one stopped
        let (rest, _) = s.session.query_single_page(on(&node, select).with_page_size(3), (), state.clone()).await?;
        equal(numbers(rest)?, vec![22, 25, 28], "the second page")?;
    }
    Ok(())
}

fn numbers(page: scylla::response::query_result::QueryResult) -> Result<Vec<i32>, Failure> {
    let rows = page.into_rows_result()?;
    let all = rows.rows::<(i32,)>()?.map(|r| r.map(|r| r.0)).collect::<Result<_, _>>()?;
    Ok(all)
}

pub async fn batches_are_applied(s: &Suite) -> Outcome {
    s.run("CREATE TABLE rs.batched (k int, c int, v text, PRIMARY KEY (k, c))").await?;
    let insert = s.session.prepare("INSERT INTO batched (k, c, v) VALUES (?, ?, ?)").await?;
    let keys: [(BatchType, fn(i32) -> i32); 3] = [(BatchType::Unlogged, |i| i), (BatchType::Logged, |_| 100), (BatchType::Logged, |i| 200 + i)];
    for (kind, key) in keys {
        let mut batch = Batch::new(kind);
        let mut rows = Vec::new();
        for i in 0..10 {
            batch.append_statement(insert.clone());
            rows.push((key(i), i, "prepared"));
            batch.append_statement("INSERT INTO rs.batched (k, c, v) VALUES (?, ?, ?)");
            rows.push((key(i), i + 100, "text"));
        }
        s.session.batch(&batch, rows).await?;
    }
    let rows = s.session.query_unpaged("SELECT count(*) FROM rs.batched", ()).await?.into_rows_result()?;
    equal(rows.single_row::<(i64,)>()?.0, 60, "rows")
}

pub async fn requests_are_traced(s: &Suite) -> Outcome {
    for node in s.nodes() {
        let mut select = on(&node, "SELECT * FROM rs.batched WHERE k = 100");
        select.set_tracing(true);
        let id = s.session.query_unpaged(select, ()).await?.tracing_id().ok_or("no trace")?;
        let trace = s.session.get_tracing_info(&id).await?;
        equal(trace.coordinator, Some(node.address.ip()), "coordinator")?;
        let level = trace.parameters.as_ref().and_then(|p| p.get("consistency_level").cloned());
        equal(level.as_deref(), Some("QUORUM"), "level")?;
        holds(trace.duration.is_some_and(|d| d > 0) && trace.events.len() > 1, format!("{trace:?}"))?;
    }
    Ok(())
}
