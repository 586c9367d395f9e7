//! A value or more of every type, as the driver's users write them.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;

use scylla::client::session::Session;
use scylla::deserialize::value::DeserializeValue;
use scylla::serialize::value::SerializeValue;
use scylla::value::{CqlDate, CqlDecimal, CqlDuration, CqlTime, CqlTimestamp, CqlTimeuuid, CqlVarint};
use scylla::{DeserializeValue as Deserialize, SerializeValue as Serialize};
use uuid::Uuid;

use crate::checks::{Failure, Outcome, equal};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Address {
    street: Option<String>,
    numbers: Option<BTreeSet<i32>>,
    at: Option<(Option<f64>, Option<f64>)>,
}

fn varint(bytes: &[u8]) -> CqlVarint {
    CqlVarint::from_signed_bytes_be(bytes.to_vec())
}

fn decimal(bytes: &[u8], exponent: i32) -> CqlDecimal {
    CqlDecimal::from_signed_be_bytes_and_exponent(bytes.to_vec(), exponent)
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| s.to_string()).collect()
}

/// Writes values of a type and reads them again; null, too.
async fn both<T>(session: &Session, n: &mut usize, kind: &str, values: Vec<T>) -> Outcome
where
    T: SerializeValue + Debug + for<'r> DeserializeValue<'r, 'r>,
{
    *n += 1;
    session.query_unpaged(format!("CREATE TABLE rs.type{n} (k int PRIMARY KEY, v {kind})"), ()).await?;
    let insert = session.prepare(format!("INSERT INTO rs.type{n} (k, v) VALUES (?, ?)")).await?;
    let select = session.prepare(format!("SELECT v FROM rs.type{n} WHERE k = ?")).await?;
    for (k, value) in values.into_iter().map(Some).chain([None]).enumerate() {
        session.execute_unpaged(&insert, (k as i32, &value)).await?;
        let rows = session.execute_unpaged(&select, (k as i32,)).await?.into_rows_result()?;
        let (got,) = rows.single_row::<(Option<T>,)>()?;
        equal(format!("{got:?}"), format!("{value:?}"), kind)?;
    }
    Ok(())
}

pub async fn both_ways(session: &Session) -> Result<usize, Failure> {
    let n = &mut 0;
    scalars(session, n).await?;
    composites(session, n).await?;
    Ok(*n)
}

async fn scalars(s: &Session, n: &mut usize) -> Outcome {
    let timeuuid: CqlTimeuuid = "50554d6e-29bb-11e5-b345-feff819cdc9f".parse()?;
    both(s, n, "ascii", texts(&["", "plain ~"])).await?;
    both(s, n, "bigint", vec![i64::MIN, 0, i64::MAX]).await?;
    both(s, n, "blob", vec![vec![], [0u8, 255, 1].repeat(1000)]).await?;
    both(s, n, "boolean", vec![true, false]).await?;
    both(s, n, "date", vec![CqlDate(0), CqlDate(1 << 31), CqlDate((1 << 31) - 1), CqlDate(u32::MAX)]).await?;
    both(s, n, "decimal", vec![decimal(&[0], 0), decimal(&[0xCF, 0xF4], 4), decimal(&[0x7F; 30], 20), decimal(&[1], -20), decimal(&[0xFF], 40)]).await?;
    both(s, n, "double", vec![0.0, -0.0, -1.5e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 5e-324]).await?;
    let duration = |months, days, nanoseconds| CqlDuration { months, days, nanoseconds };
    both(s, n, "duration", vec![duration(0, 0, 0), duration(1, 2, 3), duration(-1, -2, -3), duration(0, 0, i64::MAX)]).await?;
    both(s, n, "float", vec![0.0f32, -1.5, f32::INFINITY, f32::NAN]).await?;
    both(s, n, "inet", vec!["127.0.0.1".parse::<IpAddr>()?, "2001:db8::1".parse()?, "::".parse()?]).await?;
    both(s, n, "int", vec![i32::MIN, 0, i32::MAX]).await?;
    both(s, n, "smallint", vec![i16::MIN, 0, i16::MAX]).await?;
    both(s, n, "text", texts(&["", "grüße 世界 🜁", "'quoted' $$ \0"])).await?;
    both(s, n, "time", vec![CqlTime(0), CqlTime(86_399_999_999_999)]).await?;
    both(s, n, "timestamp", vec![CqlTimestamp(1_372_941_296_789), CqlTimestamp(-1), CqlTimestamp(i64::MIN), CqlTimestamp(i64::MAX)]).await?;
    both(s, n, "timeuuid", vec![timeuuid]).await?;
    both(s, n, "tinyint", vec![i8::MIN, 0, i8::MAX]).await?;
    both(s, n, "uuid", vec![Uuid::nil(), Uuid::max()]).await?;
    both(s, n, "varchar", texts(&["v"])).await?;
    both(s, n, "varint", vec![varint(&[0]), varint(&[0xFF]), varint(&[0x7F]), varint(&[0, 0x80]), varint(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]), varint(&[0x55; 40])]).await
}

async fn composites(s: &Session, n: &mut usize) -> Outcome {
    s.query_unpaged("CREATE TYPE rs.address (street text, numbers frozen<set<int>>, at frozen<tuple<double, double>>)", ()).await?;
    let timeuuid: CqlTimeuuid = "50554d6e-29bb-11e5-b345-feff819cdc9f".parse()?;
    let home = Address { street: Some("Main".into()), numbers: Some([2, 1].into()), at: Some((Some(1.5), Some(-2.5))) };
    let none = Address { street: None, numbers: None, at: None };
    both(s, n, "list<int>", vec![vec![1, 2, 1]]).await?;
    both(s, n, "set<text>", vec![BTreeSet::from_iter(texts(&["b", "a", ""]))]).await?;
    both(s, n, "map<text, double>", vec![BTreeMap::from([("a".to_string(), 1.0), (String::new(), f64::INFINITY)])]).await?;
    both(s, n, "map<timeuuid, frozen<set<inet>>>", vec![BTreeMap::from([(timeuuid, BTreeSet::<IpAddr>::from(["::1".parse()?, "10.0.0.1".parse()?]))])]).await?;
    both(s, n, "frozen<list<frozen<map<int, text>>>>", vec![vec![BTreeMap::from([(1, "a".to_string()), (2, String::new())]), BTreeMap::new()], vec![]]).await?;
    both(s, n, "tuple<int, text, frozen<list<varint>>>", vec![(Some(1), Some("a".to_string()), Some(vec![varint(&[0x55; 12])])), (None, None, None)]).await?;
    both(s, n, "vector<float, 3>", vec![vec![1.0f32, -2.5, 0.0]]).await?;
    both(s, n, "list<frozen<vector<float, 2>>>", vec![vec![vec![1.0f32, 2.0], vec![3.0, 4.0]]]).await?;
    both(s, n, "vector<text, 2>", vec![texts(&["", "a"])]).await?; // an empty element at the end is null to the driver
    both(s, n, "frozen<address>", vec![home.clone(), none]).await?;
    both(s, n, "address", vec![home.clone()]).await?;
    both(s, n, "map<text, frozen<address>>", vec![BTreeMap::from([("home".to_string(), home)])]).await
}
