"""cqlsh, unmodified, as its users call it: cqlsh_suite.py ADDRESS all|smoke."""
import csv
import hashlib
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

from checks import WAIT, do, equal, figure, run

ADDRESS, LONG = sys.argv[1], sys.argv[2] == "all"
CQLSH = os.path.join(os.path.dirname(sys.executable), "cqlsh")
HOME = tempfile.mkdtemp()
ENV = {**os.environ, "HOME": HOME, "TERM": "xterm", "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}


def cqlsh(*args, status=0, address=ADDRESS):
    """Runs cqlsh to its end and gives what it wrote: standard output, standard error."""
    p = subprocess.run([CQLSH, address, "--request-timeout=30", "--connect-timeout=30", *args], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    equal(p.returncode, status, f"cqlsh {args}: status; {p.stdout} {p.stderr}")
    return p.stdout, p.stderr


def ask(statements, status=0):
    """Runs statements; those that have to succeed may say nothing on standard error."""
    out, err = cqlsh("-e", statements, status=status)
    if status == 0:
        equal(err, "", statements)
    return out


def has(text, *wanted):
    for w in wanted:
        if not re.search(w, text, re.M):
            raise AssertionError(f"no {w!r} in: {text}")


class Terminal:
    """cqlsh on a terminal of its own."""

    def __enter__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(CQLSH, [CQLSH, ADDRESS, "--no-color"], ENV)
        self.seen = ""
        self.expect(r"cqlsh> $")
        return self

    def __exit__(self, *_):
        os.write(self.fd, b"\x03\nexit\n")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text):
        self.seen = ""
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        end = time.monotonic() + WAIT
        while not re.search(pattern, self.seen):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"the terminal never showed {pattern!r}, but: {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")


def it_connects_without_a_warning():
    out, err = cqlsh("-e", "SHOW VERSION; SHOW HOST; SHOW REPLICAS 5 system_auth")
    has(out, r"^\[cqlsh 6\.2\.2 \| Cassandra 5\.0\.0 \| CQL spec 3\.4\.7 \| Native protocol v5\]$", rf"^Connected to \S+ at {ADDRESS}:9042$", r"^\['127[0-9.]+'\]$")
    equal(err, "")
    has(cqlsh("--protocol-version=4", "-e", "SHOW VERSION")[0], "Native protocol v4")


def values_are_shown():
    out = ask("EXPAND ON; SELECT * FROM sh.typed")
    rows = dict(re.findall(r"^ *(\w+) +\| (.*?) *$", out, re.M))
    equal(rows, {
        "k": "1", "a": "a", "b": "0x00ff", "d": "2013-07-04", "de": "1.50", "du": "1mo2d3h", "f": "NaN", "i": "::1", "l": "[2, 1]", "m": "{'x': {a: 1, b: ['y']}}",
        "p": "{a: 2, b: null}", "s": "{'a', 'b'}", "t": "12:34:56.789000000", "ts": "2013-07-04 12:34:56.789000+0000", "tu": "(1, 'z')",
        "u": "00000000-0000-0000-0000-000000000001", "v": "[1, 2.5, 3]", "vi": "100000000000000000000", "yes": "True",
    })
    has(ask("SELECT JSON k, l FROM sh.typed"), r'^ \{"k": 1, "l": \[2, 1\]\}$', r"^\(1 rows\)$")


def everything_is_described():
    has(ask("DESCRIBE CLUSTER; DESCRIBE KEYSPACES"), r"^Cluster: ", r"^Partitioner: org.apache.cassandra.dht.Murmur3Partitioner$", r"^Snitch: ", r"\bsh\b", r"\bsystem_views\b")
    out = ask("USE sh; DESCRIBE CLUSTER; DESCRIBE TABLES; DESCRIBE TYPES; DESCRIBE FUNCTIONS; DESCRIBE AGGREGATES")
    has(out, r"^Range ownership: ?$", rf"^ +-?\d+  \[.*{ADDRESS}.*\]$", r"\btyped\b", r"\bpair\b")
    has(ask("DESCRIBE FULL SCHEMA"), r"^CREATE KEYSPACE sh ", r"VIRTUAL KEYSPACE system_views", r"VIRTUAL TABLE system_schema.tables")
    equal("system_schema" in ask("DESCRIBE SCHEMA"), False)
    has(ask("DESCRIBE TYPE sh.pair"), r"^CREATE TYPE sh.pair \($", r"^    b frozen<list<text>>$")
    equal(ask("DESCRIBE TABLE sh.typed"), ask("USE sh; DESCRIBE typed"))
    kinds = ["TABLE", "INDEX", "MATERIALIZED VIEW", "FUNCTION", "AGGREGATE", "TYPE"]
    err = cqlsh("-e", "; ".join(f"DESCRIBE {k} sh.nothing" for k in kinds) + "; DESCRIBE KEYSPACE nothing; DESCRIBE nothing", status=2)[1]
    equal(len(re.findall(r"'nothing' not found in (?:keyspace )?'sh'$", err, re.M)), len(kinds), err)
    equal(len(re.findall(r"'nothing' not found in keyspaces$", err, re.M)), 2, err)


def a_description_makes_the_same_again():
    before = ask("DESCRIBE KEYSPACE sh")
    ask("DROP KEYSPACE sh")
    script = os.path.join(HOME, "again.cql")
    with open(script, "w") as f:
        f.write(before)
    equal(cqlsh("-f", script), ("", ""))
    equal(ask("DESCRIBE KEYSPACE sh"), before)


def exit_codes_tell_what_happened():
    cqlsh("-e", "SELECT key FROM system.local")
    has(cqlsh("-e", "SELEC", status=2)[1], "SyntaxException")
    has(cqlsh("-e", "SELECT nothing FROM system.local", status=2)[1], r"InvalidRequest.*code=2200")
    has(cqlsh("-e", "SELECT key FROM system.local", status=1, address=ADDRESS.rsplit(".", 1)[0] + ".99")[1], "Connection error")
    script = os.path.join(HOME, "script.cql")
    with open(script, "w") as f:
        f.write("USE system;\nSELECT nothing FROM local;\nSELECT cluster_name FROM local;\n")
    out, err = cqlsh("-f", script, status=2)  # it goes on behind a statement that failed
    has(out, "cluster_name")
    has(err, r"script.cql:\d+:InvalidRequest")
    cqlsh("-f", script + ".not", status=1)


def scripts_are_sourced_and_captured():
    script, captured = os.path.join(HOME, "sourced.cql"), os.path.join(HOME, "captured")
    with open(script, "w") as f:
        f.write("-- a comment; with a semicolon\nCREATE TABLE sh.sourced (k int PRIMARY KEY, v text);\n/* two\nlines */ INSERT INTO sh.sourced (k, v)\n VALUES (1, 'a;b');\n")
    ask(f"SOURCE '{script}'; CAPTURE '{captured}'; SELECT * FROM sh.sourced; CAPTURE OFF")
    with open(captured) as f:
        has(f.read(), r"^ 1 \| a;b$")


def consistency_and_tracing_are_set():
    has(ask("CONSISTENCY QUORUM; CONSISTENCY; SERIAL CONSISTENCY LOCAL_SERIAL; SERIAL CONSISTENCY"), "Consistency level set to QUORUM", "level is QUORUM", "level is LOCAL_SERIAL")
    out = ask("TRACING ON; SELECT k FROM sh.typed WHERE k = 1; INSERT INTO sh.typed (k) VALUES (2)")
    has(out, r"^ +Execute CQL3 query \|", r"^ +Request complete \|", rf"\| +{re.escape(ADDRESS)} \|")
    sessions = re.findall(r"^Tracing session: (\S+)$", out, re.M)
    equal(len(sessions), 2)
    has(ask(f"SHOW SESSION {sessions[0]}"), r"^ +Request complete \|")
    has(ask("BEGIN UNLOGGED BATCH INSERT INTO sh.typed (k) VALUES (3); DELETE FROM sh.typed WHERE k = 2; APPLY BATCH; SELECT k FROM sh.typed"), r"^ 3$")


def pages_are_turned_on_a_terminal():
    ask("CREATE TABLE sh.pages (k int, c int, PRIMARY KEY (k, c))")
    ask("; ".join(f"INSERT INTO sh.pages (k, c) VALUES (1, {c})" for c in range(25)))
    with Terminal() as t:
        t.type("PAGING 10\n")
        t.expect(r"Page size: 10")
        t.type("SELECT * FROM sh.pages;\n")
        t.expect(r" 1 \| 9\r\n[\s\S]*---MORE---")
        equal(" 10\r\n" in t.seen, False, "one row more than a page")
        t.type("\n")
        t.expect(r" 1 \| 19\r\n[\s\S]*---MORE---")
        t.type("\n")
        t.expect(r" 1 \| 24\r\n[\s\S]*\(25 rows\)")


def names_are_completed():
    with Terminal() as t:
        for typed, completed in [("SEL\t", "SELECT "), ("* FROM sh.typ\t", "sh.typed"), (" WHE\t", "WHERE "), ("\x15DESCRIBE KEYSPACE s\t\t", r"system_schema"),
                                 ("\x15INSERT INTO sh.pag\t", "sh.pages"), ("\x15CREATE TABLE sh.n (k ti\t\t", "timeuuid"), ("\x15CONSISTENCY QU\t", "QUORUM")]:
            t.type(typed)
            t.expect(completed)
        t.type("\x15SELECT k FROM sh.pages LIMIT 1;\n")
        t.expect(r"\(1 rows\)")


COLUMNS = ("year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour")


def checksum(file):
    """The number of lines, and a sum that is the same in any order of them."""
    with open(file, newline="") as f:
        rows = [",".join(r) for r in csv.reader(f)]
    return len(rows), sum(int.from_bytes(hashlib.sha256(r.encode()).digest(), "big") for r in rows) % (1 << 256)


def flights_are_copied_both_ways():
    source, copy = do(f"flights {0 if LONG else 5000}"), os.path.join(HOME, "copy.csv")
    kinds = {"carrier": "text", "tailnum": "text", "origin": "text", "dest": "text", "time_hour": "timestamp"}
    ask("CREATE TABLE sh.flights (" + ", ".join(f"{c} {kinds.get(c, 'int')}" for c in COLUMNS.split(",")) + ", PRIMARY KEY ((origin, month, day), sched_dep_time, carrier, flight))")
    options = "WITH HEADER = true AND NULL = 'NA' AND DATETIMEFORMAT = '%Y-%m-%dT%H:%M:%SZ'"
    want = checksum(source)
    began = time.monotonic()
    has(ask(f"COPY sh.flights ({COLUMNS}) FROM '{source}' {options}"), rf"^{want[0] - 1} rows imported from 1 files in .* \(0 skipped\)\.$")
    loaded = time.monotonic()
    has(ask("SELECT count(*) FROM sh.flights"), rf"^ +{want[0] - 1}$")
    counted = time.monotonic()
    has(ask(f"COPY sh.flights ({COLUMNS}) TO '{copy}' {options}"), rf"^{want[0] - 1} rows exported to 1 files")
    equal(checksum(copy), want)
    figure(f"COPY FROM {want[0] - 1} rows in {loaded - began:.1f} s, COPY TO in {time.monotonic() - counted:.1f} s, checksums equal")


ask("""CREATE KEYSPACE sh WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3};
    CREATE TYPE sh.pair (a int, b frozen<list<text>>);
    CREATE TABLE sh.typed (k int PRIMARY KEY, a ascii, b blob, d date, de decimal, du duration, f float, i inet, l list<int>, m map<text, frozen<pair>>, p pair,
        s set<text>, t time, ts timestamp, tu tuple<int, text>, u uuid, v vector<float, 3>, vi varint, yes boolean);
    INSERT INTO sh.typed (k, a, b, d, de, du, f, i, l, m, p, s, t, ts, tu, u, v, vi, yes) VALUES (1, 'a', 0x00ff, '2013-07-04', 1.50, 1mo2d3h, NaN, '::1', [2, 1],
        {'x': {a: 1, b: ['y']}}, {a: 2}, {'b', 'a'}, '12:34:56.789', '2013-07-04T12:34:56.789Z', (1, 'z'), 00000000-0000-0000-0000-000000000001, [1, 2.5, 3],
        100000000000000000000, true)""")
run([
    it_connects_without_a_warning, values_are_shown, everything_is_described, a_description_makes_the_same_again, exit_codes_tell_what_happened,
    scripts_are_sourced_and_captured, consistency_and_tracing_are_set, pages_are_turned_on_a_terminal, names_are_completed, flights_are_copied_both_ways,
])
