'use strict';
// cassandra-driver for Node, unmodified, against three nodes: suite.js ADDRESS all|smoke.
const assert = require('node:assert/strict');
const { Client, concurrent, mapping, policies, types } = require('cassandra-driver');

const { tell, figure, eventually, run } = require('./checks');
const { scalars, composites, plain } = require('./values');

const address = process.argv[2];
const long = process.argv[3] === 'all';
const rf3 = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}";
const rf1 = "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
const prepare = true;

const connect = (options = {}) => new Client({
  contactPoints: [address], localDataCenter: 'datacenter1', pooling: { warmup: true }, isMetadataSyncEnabled: true, refreshSchemaDelay: 10,
  queryOptions: { consistency: types.consistencies.quorum }, socketOptions: { readTimeout: 20_000 },
  policies: { reconnection: new policies.reconnection.ConstantReconnectionPolicy(200) }, ...options,
});

const client = connect();
const hosts = () => client.hosts.values();
const onHost = (n) => hosts().find((h) => h.address.startsWith(address.replace(/\d+$/, `${n}:`)));

async function nodesAreDiscovered() {
  assert.equal(hosts().length, 3);
  assert.ok(hosts().every((h) => h.isUp() && h.cassandraVersion === '5.0.0' && h.tokens.length === 16));
  assert.equal(client.controlConnection.protocolVersion, types.protocolVersion.v4);
  for (const host of hosts()) {
    const row = (await client.execute('SELECT host_id FROM system.local', [], { host })).first();
    assert.equal(String(row.host_id), String(host.hostId));
  }
}

async function statementsArePrepared() {
  await client.execute('CREATE TABLE js.prepared (k int, c text, v int, w int, PRIMARY KEY (k, c))');
  const insert = 'INSERT INTO js.prepared (k, c, v, w) VALUES (?, ?, ?, ?)';
  await client.execute(insert, [1, 'a', 1, 1], { prepare });
  await client.execute(insert, [1, 'a', 2, types.unset], { prepare });
  await client.execute(insert, [2, 'b', null, 3], { prepare });
  const select = 'SELECT v, w FROM js.prepared WHERE k = :key AND c = :other';
  assert.deepEqual((await client.execute(select, { other: 'a', key: 1 }, { prepare })).first().values(), [2, 1]);
  assert.deepEqual((await client.execute(select, { key: 2, other: 'b' }, { prepare })).first().values(), [null, 3]);
  assert.equal((await client.execute('SELECT v FROM js.prepared WHERE k = ? AND c = ?', [1, 'a'], { hints: ['int', 'text'] })).first().v, 2);
  assert.equal((await client.execute('SELECT v FROM js.prepared WHERE k = :k AND c = :c', { k: 1, c: 'a' }, { hints: { k: 'int', c: 'text' } })).first().v, 2);
  await assert.rejects(client.execute('SELECT nothing FROM js.prepared', [], { prepare }), { code: types.responseErrorCodes.invalid });
}

async function everyTypeBothWays() {
  await client.execute('CREATE TYPE js.address (street text, numbers frozen<set<int>>, at tuple<double, double>)');
  const kinds = Object.entries({ ...scalars, ...composites });
  await client.execute(`CREATE TABLE js.types (k int PRIMARY KEY, ${kinds.map(([kind], n) => `v${n} ${kind}`).join(', ')})`);
  for (const [n, [kind, values]] of kinds.entries()) {
    for (const [k, value] of [...values, null].entries()) {
      await client.execute(`INSERT INTO js.types (k, v${n}) VALUES (?, ?)`, [k, value], { prepare });
      const got = (await client.execute(`SELECT v${n} AS v FROM js.types WHERE k = ?`, [k], { prepare })).first().v;
      assert.deepEqual(plain(got), plain(value), kind);
    }
  }
}

async function pagesAreTurned() {
  const rows = long ? 5000 : 1000;
  await client.execute('CREATE TABLE js.pages (k int, c int, v text, PRIMARY KEY (k, c))');
  await concurrent.executeConcurrent(client, 'INSERT INTO js.pages (k, c, v) VALUES (?, ?, ?)', Array.from({ length: rows }, (_, c) => [c % 3, c, `v${c}`]), { prepare });
  const seen = [];
  for await (const row of await client.execute('SELECT c FROM js.pages', [], { fetchSize: 100 })) seen.push(row.c);
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: rows }, (_, c) => c));
  const page = await client.execute('SELECT c FROM js.pages WHERE k = 1', [], { fetchSize: 7 });
  assert.deepEqual(page.rows.map((r) => r.c), [1, 4, 7, 10, 13, 16, 19]);
  for (const host of hosts()) { // another node goes on where this one stopped
    const rest = await client.execute('SELECT c FROM js.pages WHERE k = 1', [], { fetchSize: 3, pageState: page.pageState, host });
    assert.deepEqual(rest.rows.map((r) => r.c), [22, 25, 28]);
  }
  let streamed = 0;
  for await (const row of client.stream('SELECT * FROM js.pages', [], { prepare, fetchSize: 64, autoPage: true })) streamed += row.v === `v${row.c}` ? 1 : 0;
  assert.equal(streamed, rows);
}

async function batchesAreApplied() {
  await client.execute('CREATE TABLE js.batched (k int, c int, v text, PRIMARY KEY (k, c))');
  for (const [logged, key] of [[false, (i) => i], [true, () => 100], [true, (i) => 200 + i]]) {
    const queries = Array.from({ length: 10 }, (_, i) => ({ query: 'INSERT INTO js.batched (k, c, v) VALUES (?, ?, ?)', params: [key(i), i, 'batched'] }));
    await client.batch(queries, { prepare, logged });
  }
  assert.equal(Number((await client.execute('SELECT count(*) FROM js.batched')).first().count), 30);
}

async function requestsAreTraced() {
  for (const host of hosts()) {
    const result = await client.execute('SELECT * FROM js.batched WHERE k = 100', [], { traceQuery: true, host });
    const trace = await client.metadata.getTrace(result.info.traceId);
    assert.equal(String(trace.coordinator), host.address.split(':')[0]);
    assert.ok(trace.duration > 0 && trace.events.length > 1 && trace.parameters.consistency_level === 'QUORUM');
  }
}

async function schemaChangesAreTold() {
  const watcher = connect();
  await watcher.connect();
  await client.execute(`CREATE KEYSPACE told ${rf3}`);
  await eventually(() => watcher.metadata.keyspaces.told, 'the keyspace');
  await client.execute('CREATE TYPE told.pair (a int, b text)');
  await client.execute("CREATE TABLE told.t (k int PRIMARY KEY, v frozen<pair>) WITH comment = 'before'");
  const table = await eventually(() => watcher.metadata.getTable('told', 't'), 'the table');
  assert.deepEqual([table.comment, table.partitionKeys[0].name, table.columnsByName.v.type.info.name], ['before', 'k', 'pair']);
  await client.execute('ALTER TABLE told.t ADD more map<text, int>');
  await eventually(async () => (await watcher.metadata.getTable('told', 't')).columnsByName.more, 'the column');
  await client.execute('DROP TABLE told.t');
  await eventually(async () => !(await watcher.metadata.getTable('told', 't')), "the table's end");
  await client.execute('DROP KEYSPACE told');
  await eventually(() => !watcher.metadata.keyspaces.told, "the keyspace's end");
  assert.ok(await watcher.metadata.checkSchemaAgreement());
  await watcher.shutdown();
}

async function preparedStatementsSurviveAlter() {
  const select = 'SELECT * FROM js.altered WHERE k = ?';
  const everywhere = async (want) => {
    for (const host of hosts()) assert.deepEqual({ ...(await client.execute(select, [1], { prepare, host })).first() }, want);
  };
  await client.execute('CREATE TABLE js.altered (k int PRIMARY KEY, m text)');
  await client.execute('INSERT INTO js.altered (k, m) VALUES (?, ?)', [1, 'm'], { prepare });
  await everywhere({ k: 1, m: 'm' });
  await client.execute('ALTER TABLE js.altered ADD a int'); // before m in the row
  await client.execute('UPDATE js.altered SET a = 7 WHERE k = 1');
  await everywhere({ k: 1, a: 7, m: 'm' });
  await client.execute('ALTER TABLE js.altered DROP m');
  await everywhere({ k: 1, a: 7 });
}

async function objectsAreMapped() {
  await client.execute("CREATE TABLE js.flights (origin text, day date, number int, airline text static, seats set<text>, delay decimal, PRIMARY KEY ((origin, day), number)) WITH CLUSTERING ORDER BY (number DESC)");
  const flights = new mapping.Mapper(client, { models: { Flight: { tables: ['flights'], keyspace: 'js', mappings: new mapping.UnderscoreCqlToCamelCaseMappings() } } }).forModel('Flight');
  const day = types.LocalDate.fromString('2013-07-04');
  for (const number of [1, 2, 3]) await flights.insert({ origin: 'JFK', day, number, airline: 'UA', seats: ['1A', '1B'], delay: types.BigDecimal.fromString('1.50') });
  await flights.update({ origin: 'JFK', day, number: 1, seats: mapping.q.append(['2A']) });
  const got = await flights.get({ origin: 'JFK', day, number: 1 });
  assert.deepEqual([got.airline, got.seats, String(got.delay)], ['UA', ['1A', '1B', '2A'], '1.50']);
  const found = await flights.find({ origin: 'JFK', day, number: mapping.q.gte(2) }, { fields: ['number'], orderBy: { number: 'asc' } });
  assert.deepEqual(found.toArray().map((f) => f.number), [2, 3]);
  await flights.remove({ origin: 'JFK', day, number: 2 });
  assert.equal((await flights.findAll()).toArray().length, 2);
}

async function requestsReachAnOwner() {
  await client.execute('CREATE TABLE single.t (k text, part int, v int, PRIMARY KEY ((k, part)))');
  const other = connect({ keyspace: 'single' });
  await other.connect();
  const rows = Array.from({ length: long ? 5000 : 500 }, (_, i) => [`key ${i}`, i % 7]);
  await tell('count');
  await concurrent.executeConcurrent(other, 'INSERT INTO t (k, part, v) VALUES (?, ?, ?)', rows.map((r) => [...r, 1]), { prepare });
  await concurrent.executeConcurrent(other, 'SELECT v FROM t WHERE k = ? AND part = ?', rows, { prepare });
  await tell('share');
  await other.shutdown();
}

async function aNodeMayDieUnderLoad() {
  await client.execute('CREATE TABLE js.load (k int, c int, v int, PRIMARY KEY (k, c))');
  const options = { prepare, isIdempotent: true };
  const done = new Array(8).fill(0);
  let stop = false;
  const work = async (k) => {
    for (; !stop; done[k]++) {
      await client.execute('INSERT INTO js.load (k, c, v) VALUES (?, ?, ?)', [k, done[k], k], options);
      assert.equal((await client.execute('SELECT v FROM js.load WHERE k = ? AND c = ?', [k, done[k]], options)).first().v, k);
    }
  };
  const sum = () => done.reduce((a, b) => a + b);
  const progress = (more) => { const goal = sum() + more; return eventually(() => sum() >= goal, `${more} more rows`); };
  const story = async () => {
    for (const n of long ? [3, 1] : [3]) {
      await progress(200);
      await tell(`kill ${n}`);
      await progress(500);
      await eventually(() => !onHost(n).isUp(), `the driver learns that node ${n} is down`);
      await tell(`start ${n}`);
      await eventually(() => onHost(n).isUp(), `the driver learns that node ${n} is up`);
      await progress(200);
    }
  };
  const workers = Promise.all(done.map((_, k) => work(k)));
  try {
    await Promise.race([story(), workers]); // an error ends it at once
  } finally {
    stop = true;
  }
  await workers;
  for (const [k, want] of done.entries()) {
    assert.equal(Number((await client.execute('SELECT count(*) FROM js.load WHERE k = ?', [k], options)).first().count), want);
  }
  figure(`${2 * sum()} statements, no error, while nodes were killed and started again`);
}

async function aNewNodeIsTold() {
  await tell('add');
  const host = await eventually(() => onHost(4)?.isUp() && onHost(4), 'the fourth node');
  await eventually(() => host.tokens?.length === 16, 'its tokens');
  await eventually(async () => String((await client.execute('SELECT host_id FROM system.local', [], { host })).first().host_id) === String(host.hostId), 'its answer');
}

async function main() {
  await client.connect();
  await client.execute(`CREATE KEYSPACE js ${rf3}`);
  await client.execute(`CREATE KEYSPACE single ${rf1}`);
  await run([
    nodesAreDiscovered, statementsArePrepared, everyTypeBothWays, pagesAreTurned, batchesAreApplied, requestsAreTraced, schemaChangesAreTold,
    preparedStatementsSurviveAlter, objectsAreMapped, requestsReachAnOwner, aNodeMayDieUnderLoad, aNewNodeIsTold,
  ]);
  await client.shutdown();
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
