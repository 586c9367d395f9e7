//! Many requests at once: where they go, and what happens to them when a node dies.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures::{StreamExt, TryStreamExt, stream};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use crate::checks::{Failure, Outcome, equal, eventually, figure, holds, tell};
use crate::suite::{Suite, connect, on};

const CONCURRENT: usize = 30;

pub async fn requests_reach_an_owner(s: &Suite) -> Outcome {
    s.run("CREATE TABLE single.t (k text, part int, v int, PRIMARY KEY ((k, part)))").await?;
    let other = connect(&s.address, None).await?;
    let all = || other.get_cluster_state().get_nodes_info().iter().filter(|n| n.is_connected()).count();
    eventually("connections to all nodes", async || (all() == 3).then_some(())).await?;
    let insert = other.prepare("INSERT INTO single.t (k, part, v) VALUES (?, ?, 1)").await?;
    let select = other.prepare("SELECT v FROM single.t WHERE k = ? AND part = ?").await?;
    tell("count".into()).await?;
    for statement in [&insert, &select] {
        let rows = 0..if s.long { 5000 } else { 500 };
        let work = stream::iter(rows).map(|i: i32| other.execute_unpaged(statement, (format!("key {i}"), i % 7)));
        work.buffer_unordered(CONCURRENT).try_for_each(async |_| Ok(())).await?;
    }
    tell("share".into()).await?;
    Ok(())
}

/// One that writes rows of a partition and reads each again.
struct Worker {
    session: Arc<Session>,
    insert: PreparedStatement,
    select: PreparedStatement,
    k: i32,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>, // rows of all workers
}

impl Worker {
    /// Works until stop, and gives the number of rows.
    async fn work(self) -> Result<i32, Failure> {
        let mut c = 0;
        while !self.stop.load(SeqCst) {
            self.session.execute_unpaged(&self.insert, (self.k, c, self.k)).await?;
            let rows = self.session.execute_unpaged(&self.select, (self.k, c)).await?.into_rows_result()?;
            equal(rows.single_row::<(i32,)>()?.0, self.k, "a row that was written")?;
            c += 1;
            self.done.fetch_add(1, SeqCst);
        }
        Ok(c)
    }
}

pub async fn a_node_may_die_under_load(s: &Suite) -> Outcome {
    s.run("CREATE TABLE rs.load (k int, c int, v int, PRIMARY KEY (k, c))").await?;
    let mut insert = s.session.prepare("INSERT INTO rs.load (k, c, v) VALUES (?, ?, ?)").await?;
    let mut select = s.session.prepare("SELECT v FROM rs.load WHERE k = ? AND c = ?").await?;
    insert.set_is_idempotent(true);
    select.set_is_idempotent(true);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..8)
        .map(|k| {
            let w = Worker { session: s.session.clone(), insert: insert.clone(), select: select.clone(), k, stop: stop.clone(), done: done.clone() };
            tokio::spawn(w.work())
        })
        .collect();
    let story = downs_and_ups(s, &done).await;
    stop.store(true, SeqCst);
    let mut written = Vec::new();
    for w in workers {
        written.push(w.await??); // before the story: an error of a worker is why it went wrong
    }
    story?;
    for (k, want) in written.iter().enumerate() {
        let rows = s.session.query_unpaged("SELECT count(*) FROM rs.load WHERE k = ?", (k as i32,)).await?.into_rows_result()?;
        equal(rows.single_row::<(i64,)>()?.0, *want as i64, "rows of a worker")?;
    }
    figure(format!("{} statements, no error, while nodes were killed and started again", 2 * done.load(SeqCst)));
    Ok(())
}

async fn downs_and_ups(s: &Suite, done: &AtomicUsize) -> Outcome {
    let progress = async |more: usize| {
        let goal = done.load(SeqCst) + more;
        eventually(format!("{more} more rows"), async || (done.load(SeqCst) >= goal).then_some(())).await
    };
    let connected = |n| s.node(n).is_some_and(|h| h.is_connected());
    for n in if s.long { vec![3, 1] } else { vec![3] } {
        progress(200).await?;
        tell(format!("kill {n}")).await?;
        progress(500).await?;
        eventually(format!("the driver learns that node {n} is down"), async || (!connected(n)).then_some(())).await?;
        tell(format!("start {n}")).await?;
        eventually(format!("the driver learns that node {n} is up"), async || connected(n).then_some(())).await?;
        progress(200).await?;
    }
    Ok(())
}

pub async fn a_new_node_is_told(s: &Suite) -> Outcome {
    tell("add".into()).await?;
    let node = eventually("the fourth node", async || s.node(4).filter(|n| n.is_connected())).await?;
    eventually("its tokens", async || (s.session.get_cluster_state().replica_locator().ring().iter().count() == 64).then_some(())).await?;
    let rows = s.session.query_unpaged(on(&node, "SELECT host_id FROM system.local"), ()).await?.into_rows_result()?;
    holds(rows.single_row::<(Uuid,)>()?.0 == node.host_id, "another node answers")
}
