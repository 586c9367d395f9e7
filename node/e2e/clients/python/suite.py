"""cassandra-driver for Python, unmodified, against three nodes: suite.py ADDRESS all|smoke."""
import sys
import threading
from collections import namedtuple

from cassandra import ConsistencyLevel, InvalidRequest, ProtocolVersion
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import mapper
from checks import do, equal, eventually, figure, run
from values import COMPOSITES, SCALARS, plain

ADDRESS, LONG = sys.argv[1], sys.argv[2] == "all"
RF3 = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"
RF1 = "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"


def connect(policy=None, **options):
    profile = ExecutionProfile(load_balancing_policy=policy or TokenAwarePolicy(DCAwareRoundRobinPolicy()), consistency_level=ConsistencyLevel.QUORUM, request_timeout=20)
    return Cluster([ADDRESS], execution_profiles={EXEC_PROFILE_DEFAULT: profile}, **options)


cluster = connect()
session = cluster.connect()
session.execute(f"CREATE KEYSPACE py {RF3}")
session.execute(f"CREATE KEYSPACE single {RF1}")
session.set_keyspace("py")


def nodes_are_discovered():
    hosts = eventually(lambda: len(cluster.metadata.all_hosts()) == 3 and all(h.is_up for h in cluster.metadata.all_hosts()) and cluster.metadata.all_hosts(), "three hosts")
    equal(len({h.host_id for h in hosts}), 3)
    equal({h.release_version for h in hosts}, {"5.0.0"})
    equal(cluster.protocol_version, ProtocolVersion.V5, "the version that was negotiated")
    equal(len(cluster.metadata.token_map.ring), 48, "tokens")
    answered = {session.execute("SELECT host_id FROM system.local", host=h).one().host_id for h in hosts}
    equal(answered, {h.host_id for h in hosts})


def versions_and_compressions():
    for version, compression in [(4, False), (4, "lz4"), (4, "snappy"), (5, False), (5, "lz4")]:
        with connect(protocol_version=version, compression=compression) as other:
            s = other.connect()
            text = "compressible " * 20_000
            got = s.execute("SELECT (text)%s AS t FROM system.local", [text]).one()
            equal(got.t, text, f"v{version}, {compression}")


def statements_are_prepared():
    session.execute("CREATE TABLE py.prepared (k int, c text, v int, w int, PRIMARY KEY (k, c))")
    insert = session.prepare("INSERT INTO prepared (k, c, v, w) VALUES (?, ?, ?, ?)")
    equal(insert.routing_key_indexes, [0])
    session.execute(insert, (1, "a", 1, 1))
    session.execute(insert, {"k": 1, "c": "a", "v": 2})  # w is unset, and stays
    session.execute(insert, (2, "b", None, 3))
    named = session.prepare("SELECT v, w FROM prepared WHERE k = :key AND c = :other")
    equal(tuple(session.execute(named, {"key": 1, "other": "a"}).one()), (2, 1))
    equal(tuple(session.execute(named, {"key": 2, "other": "b"}).one()), (None, 3))
    equal(session.execute("SELECT v FROM prepared WHERE k = %(k)s AND c = %(c)s", {"k": 1, "c": "a"}).one().v, 2)
    try:
        session.prepare("SELECT nothing FROM prepared")
    except InvalidRequest as e:
        equal("nothing" in str(e), True, str(e))


def every_type_both_ways():
    session.execute("CREATE TYPE py.address (street text, numbers frozen<set<int>>, at tuple<double, double>)")
    Address = namedtuple("Address", "street numbers at")
    cluster.register_user_type("py", "address", Address)
    home = Address("Main", {2, 1}, (1.5, -2.5))
    kinds = {**SCALARS, **COMPOSITES, "frozen<address>": [home, Address(None, None, None)], "address": [home], "map<text, frozen<address>>": [{"home": home}]}
    columns = {f"v{n}": kind for n, kind in enumerate(kinds)}
    session.execute("CREATE TABLE py.types (k int PRIMARY KEY, " + ", ".join(f"{c} {kind}" for c, kind in columns.items()) + ")")
    for column, kind in columns.items():
        insert, select = session.prepare(f"INSERT INTO types (k, {column}) VALUES (?, ?)"), session.prepare(f"SELECT {column} FROM types WHERE k = ?")
        for k, value in enumerate([*kinds[kind], None]):
            session.execute(insert, (k, value))
            equal(plain(session.execute(select, (k,)).one()[0]), plain(value), kind)
    for kind in [k for k in SCALARS if k != "duration"] if LONG else ["text", "timeuuid", "decimal"]:
        as_key(kind, [v for v in SCALARS[kind] if v not in ("", b"") and v == v])


def as_key(kind, values):
    """A type as partition and clustering key, where a value is found again by its bytes, and by its literal."""
    session.execute(f"CREATE TABLE py.key_{kind} (k {kind}, c {kind}, PRIMARY KEY (k, c))")
    insert = session.prepare(f"INSERT INTO py.key_{kind} (k, c) VALUES (?, ?)")
    select = session.prepare(f"SELECT k, c FROM py.key_{kind} WHERE k = ? AND c = ?")
    for v in values:
        session.execute(insert, (v, v))
        rows = [tuple(r) for r in session.execute(select, (v, v))]
        if kind == "decimal":  # the driver writes literals by way of a float, and a clustering key comes back as 1.23 for 1.2300
            equal(rows, [(v, v)], f"{kind} as key")
        else:
            equal([plain(r) for r in rows], [plain((v, v))], f"{kind} as key")
            equal(len(session.execute(f"SELECT k FROM py.key_{kind} WHERE k = %s", (v,)).all()), 1, f"{kind} as literal")


def pages_are_turned():
    rows = 5000 if LONG else 1000
    session.execute("CREATE TABLE py.pages (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = session.prepare("INSERT INTO pages (k, c, v) VALUES (?, ?, ?)")
    execute_concurrent_with_args(session, insert, [(c % 3, c, f"v{c}") for c in range(rows)], concurrency=50)
    equal(sorted(r.c for r in session.execute(SimpleStatement("SELECT * FROM pages", fetch_size=100))), list(range(rows)))
    page = session.execute(SimpleStatement("SELECT c FROM pages WHERE k = 1", fetch_size=7))
    equal([r.c for r in page.current_rows], [1, 4, 7, 10, 13, 16, 19])
    for host in cluster.metadata.all_hosts():  # another node goes on where this one stopped
        rest = session.execute(SimpleStatement("SELECT c FROM pages WHERE k = 1", fetch_size=3), paging_state=page.paging_state, host=host)
        equal([r.c for r in rest.current_rows], [22, 25, 28])


def batches_are_applied():
    session.execute("CREATE TABLE py.batched (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = session.prepare("INSERT INTO batched (k, c, v) VALUES (?, ?, ?)")
    for kind, key in [(BatchType.UNLOGGED, lambda i: i), (BatchType.LOGGED, lambda i: 100), (BatchType.LOGGED, lambda i: 200 + i)]:
        batch = BatchStatement(kind, consistency_level=ConsistencyLevel.QUORUM)
        for i in range(10):
            batch.add(insert, (key(i), i, "prepared"))
            batch.add("INSERT INTO py.batched (k, c, v) VALUES (%s, %s, 'text')", (key(i), i + 100))
        session.execute(batch)
    equal(session.execute("SELECT count(*) FROM batched").one()[0], 60)


def requests_are_traced():
    for host in cluster.metadata.all_hosts():
        answer = session.execute("SELECT * FROM py.batched WHERE k = 100", trace=True, host=host)
        trace = answer.get_query_trace(max_wait_sec=10)
        equal(trace.coordinator, host.address)
        equal(trace.parameters["consistency_level"], "QUORUM")
        equal(trace.duration is not None and len(trace.events) > 1, True, str(trace))


def schema_changes_are_told():
    with connect(schema_event_refresh_window=0) as watcher:
        watcher.connect()
        known = watcher.metadata.keyspaces
        session.execute(f"CREATE KEYSPACE told {RF3}")
        eventually(lambda: "told" in known, "the keyspace")
        session.execute("CREATE TYPE told.pair (a int, b text)")
        session.execute("CREATE TABLE told.t (k int PRIMARY KEY, v frozen<pair>) WITH comment = 'before'")
        eventually(lambda: "t" in known["told"].tables and "pair" in known["told"].user_types, "table and type")
        session.execute("ALTER TABLE told.t WITH comment = 'after'")
        session.execute("ALTER TABLE told.t ADD more map<text, int>")
        table = eventually(lambda: "more" in known["told"].tables["t"].columns and known["told"].tables["t"], "the column")
        equal((table.options["comment"], table.columns["v"].cql_type, table.primary_key[0].name), ("after", "frozen<pair>", "k"))
        session.execute("DROP TABLE told.t")
        eventually(lambda: "t" not in known["told"].tables, "the table's end")
        session.execute("DROP KEYSPACE told")
        eventually(lambda: "told" not in known, "the keyspace's end")
        equal(watcher.control_connection.wait_for_schema_agreement(), True)


def described_schema_can_be_run_again():
    keyspace = cluster.metadata.keyspaces["py"].export_as_string()
    equal("CREATE TYPE py.address" in keyspace and "CREATE TABLE py.prepared" in keyspace, True, keyspace)
    copy = keyspace.replace("KEYSPACE py ", "KEYSPACE again ").replace(" py.", " again.")
    for statement in copy.split(";\n"):
        if statement.strip():
            session.execute(statement)
    cluster.refresh_schema_metadata()
    equal(set(cluster.metadata.keyspaces["again"].tables), set(cluster.metadata.keyspaces["py"].tables))
    session.execute("DROP KEYSPACE again")


def prepared_statements_survive_alter():
    for version in (4, 5):
        with connect(protocol_version=version) as other:
            s = other.connect("py")
            s.execute(f"CREATE TABLE altered{version} (k int PRIMARY KEY, m text)")
            select = s.prepare(f"SELECT * FROM altered{version} WHERE k = ?")
            insert = s.prepare(f"INSERT INTO altered{version} (k, m) VALUES (?, ?)")
            s.execute(insert, (1, "m"))
            equal(tuple(s.execute(select, (1,)).one()), (1, "m"))
            session.execute(f"ALTER TABLE py.altered{version} ADD a int")  # before m in the row
            session.execute(f"UPDATE py.altered{version} SET a = 7 WHERE k = 1")
            for host in other.metadata.all_hosts():
                equal(s.execute(select, (1,), host=host).one()._asdict(), {"k": 1, "a": 7, "m": "m"}, f"v{version} after ADD")
            session.execute(f"ALTER TABLE py.altered{version} DROP m")
            for host in other.metadata.all_hosts():
                equal(s.execute(select, (1,), host=host).one()._asdict(), {"k": 1, "a": 7}, f"v{version} after DROP")


def requests_reach_an_owner():
    session.execute("CREATE TABLE single.t (k text, part int, v int, PRIMARY KEY ((k, part)))")
    with connect() as other:
        s = other.connect("single")
        insert, select = s.prepare("INSERT INTO t (k, part, v) VALUES (?, ?, ?)"), s.prepare("SELECT v FROM t WHERE k = ? AND part = ?")
        rows = [(f"key {i}", i % 7) for i in range(5000 if LONG else 500)]
        do("count")
        execute_concurrent_with_args(s, insert, [(k, p, 1) for k, p in rows], concurrency=30)
        execute_concurrent_with_args(s, select, rows, concurrency=30)
        do("share")


def a_node_may_die_under_load():
    session.execute("CREATE TABLE py.load (k int, c int, v int, PRIMARY KEY (k, c))")
    insert, select = session.prepare("INSERT INTO load (k, c, v) VALUES (?, ?, ?)"), session.prepare("SELECT v FROM load WHERE k = ? AND c = ?")
    insert.is_idempotent = select.is_idempotent = True
    stop, errors, done = threading.Event(), [], [0] * 8

    def work(k):
        while not stop.is_set():
            try:
                session.execute(insert, (k, done[k], k))
                equal(session.execute(select, (k, done[k])).one().v, k)
                done[k] += 1
            except Exception as e:
                errors.append(e)
                return

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(done))]
    for w in workers:
        w.start()
    try:
        for node in (3, 1) if LONG else (3,):
            downs_and_ups(node, lambda n: await_progress(done, errors, n))
    finally:
        stop.set()
        for w in workers:
            w.join()
    equal(errors, [])
    equal([session.execute("SELECT count(*) FROM load WHERE k = %s", (k,)).one()[0] for k in range(len(done))], done)
    figure(f"{2 * sum(done)} statements, no error, while nodes were killed and started again")


def await_progress(done, errors, more):
    goal = sum(done) + more
    eventually(lambda: sum(done) >= goal or errors, f"{more} more rows, {errors}")


def downs_and_ups(node, progress):
    host = next(h for h in cluster.metadata.all_hosts() if h.address.endswith(f".{node}"))
    progress(200)
    do(f"kill {node}")
    progress(500)
    eventually(lambda: host.is_up is False, f"the driver learns that node {node} is down")
    do(f"start {node}")
    eventually(lambda: host.is_up, f"the driver learns that node {node} is up")
    progress(200)


def a_new_node_is_told():
    do("add")
    host = eventually(lambda: next((h for h in cluster.metadata.all_hosts() if h.address.endswith(".4") and h.is_up), None), "the fourth node")
    eventually(lambda: len(cluster.metadata.token_map.ring) == 64, "its tokens")
    eventually(lambda: session.execute("SELECT host_id FROM system.local", host=host).one().host_id == host.host_id, "its answer")


def objects_are_mapped():
    with connect() as other:
        mapper.check(other.connect())


run([
    nodes_are_discovered, versions_and_compressions, statements_are_prepared, every_type_both_ways, pages_are_turned, batches_are_applied,
    requests_are_traced, schema_changes_are_told, described_schema_can_be_run_again, prepared_statements_survive_alter, objects_are_mapped,
    requests_reach_an_owner, a_node_may_die_under_load, a_new_node_is_told,
])
cluster.shutdown()
