package shell

// topics are the offline help: every statement with an example, what the statements have in common, and the shell's own commands.
var topics = []topic{
	{"CREATE KEYSPACE", "a namespace for tables, and how often its rows are kept",
		`CREATE KEYSPACE [IF NOT EXISTS] name WITH replication = {'class': …} [AND durable_writes = true];`,
		`CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 3};`,
		"replication_factor is how many nodes of each data center keep a row. {'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2} says it for each."},
	{"ALTER KEYSPACE", "change how often rows are kept",
		`ALTER KEYSPACE [IF EXISTS] name WITH replication = {…};`,
		`ALTER KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 5};`, ""},
	{"DROP KEYSPACE", "remove a keyspace with all its tables and rows",
		`DROP KEYSPACE [IF EXISTS] name;`, `DROP KEYSPACE IF EXISTS shop;`, ""},
	{"USE", "the keyspace that tables without one are in",
		`USE name;`, `USE shop;`, ""},
	{"CREATE TABLE", "a table, and above all its key",
		`CREATE TABLE [IF NOT EXISTS] [keyspace.]name (
  column type [STATIC] [PRIMARY KEY], …
  [, PRIMARY KEY ((partition key), clustering key)]
) [WITH CLUSTERING ORDER BY (column DESC) AND option = value];`,
		`CREATE TABLE orders (
  customer uuid, placed timestamp, item text, price decimal,
  PRIMARY KEY ((customer), placed, item)
) WITH CLUSTERING ORDER BY (placed DESC);`,
		"The partition key decides on which nodes a row is; rows of one partition lie together, in the order of the clustering key. Ask for what you\n" +
			"will query by. WITH memory = true keeps the table in memory, on all its replicas. See HELP KEYS, HELP TYPES, HELP OPTIONS."},
	{"ALTER TABLE", "add, drop and rename columns, change options",
		`ALTER TABLE [IF EXISTS] name ADD [IF NOT EXISTS] column type [STATIC], …;
ALTER TABLE [IF EXISTS] name DROP [IF EXISTS] column, …;
ALTER TABLE [IF EXISTS] name RENAME [IF EXISTS] key_column TO new [AND …];
ALTER TABLE [IF EXISTS] name WITH option = value [AND …];`,
		`ALTER TABLE orders ADD gift boolean;`, "Only key columns can be renamed; a column's type stays."},
	{"DROP TABLE", "remove a table with its rows", `DROP TABLE [IF EXISTS] name;`, `DROP TABLE IF EXISTS orders;`, ""},
	{"TRUNCATE", "remove all rows of a table", `TRUNCATE [TABLE] name;`, `TRUNCATE orders;`, ""},
	{"CREATE TYPE", "a type with named fields",
		`CREATE TYPE [IF NOT EXISTS] [keyspace.]name (field type, …);`, `CREATE TYPE address (street text, city text, zip int);`,
		"A value is written {street: 'Main St', city: 'York', zip: 17401}; a column of it is address or frozen<address>."},
	{"ALTER TYPE", "add and rename fields",
		`ALTER TYPE [IF EXISTS] name ADD [IF NOT EXISTS] field type;
ALTER TYPE [IF EXISTS] name RENAME field TO new [AND …];`, `ALTER TYPE address ADD country text;`, ""},
	{"DROP TYPE", "remove a type that nothing uses", `DROP TYPE [IF EXISTS] name;`, `DROP TYPE IF EXISTS address;`, ""},
	{"SELECT", "read rows",
		`SELECT [JSON] [DISTINCT] * or selector [AS alias], … FROM table
  [WHERE relation AND …] [GROUP BY key columns] [ORDER BY clustering column [DESC]]
  [PER PARTITION LIMIT n] [LIMIT n] [ALLOW FILTERING];`,
		`SELECT placed, item, price FROM orders
WHERE customer = 6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47 AND placed >= '2024-01-01' LIMIT 10;`,
		"A selector is a column, count(*), a function, CAST(x AS type), writetime(column), ttl(column) or token(partition key).\n" +
			"See HELP WHERE and HELP FUNCTIONS. EXPAND ON shows wide rows one column a line."},
	{"INSERT", "write a row",
		`INSERT INTO table (column, …) VALUES (value, …) [IF NOT EXISTS] [USING TTL seconds AND TIMESTAMP micros];
INSERT INTO table JSON '{…}' [DEFAULT UNSET] [IF NOT EXISTS] [USING …];`,
		`INSERT INTO orders (customer, placed, item, price) VALUES (uuid(), toTimestamp(now()), 'lamp', 12.50) USING TTL 86400;`,
		"INSERT and UPDATE both write without looking: what is there is replaced, column by column."},
	{"UPDATE", "write columns of a row",
		`UPDATE table [USING TTL seconds AND TIMESTAMP micros] SET column = value, … WHERE key = value AND …
  [IF EXISTS or IF column = value AND …];`,
		`UPDATE orders SET price = 11.00 WHERE customer = 6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47 AND placed = '2024-05-01' AND item = 'lamp';`,
		"Collections and counters: c = c + value, c = value + c, c = c - value, c += value, m['key'] = value, udt.field = value."},
	{"DELETE", "remove columns, rows, ranges of rows or partitions",
		`DELETE [column, …] FROM table [USING TIMESTAMP micros] WHERE key = value AND … [IF EXISTS or IF …];`,
		`DELETE FROM orders WHERE customer = 6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47 AND placed < '2020-01-01';`, ""},
	{"BATCH", "several writes, done together",
		`BEGIN [UNLOGGED] BATCH [USING TIMESTAMP micros]
  INSERT …; UPDATE …; DELETE …;
APPLY BATCH;`,
		`BEGIN BATCH
  INSERT INTO orders (customer, placed, item) VALUES (6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47, '2024-05-01', 'lamp');
  INSERT INTO orders (customer, placed, item) VALUES (6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47, '2024-05-01', 'bulb');
APPLY BATCH;`, "Batches are for writes that belong together, not for speed; in one partition they are atomic."},

	{"KEYS", "partition key, clustering key, static columns",
		`PRIMARY KEY (a)              a is the partition key
PRIMARY KEY (a, b, c)        a is the partition key, b and c the clustering key
PRIMARY KEY ((a, b), c)      a and b together are the partition key`,
		`CREATE TABLE weather (city text, day date, hour int, temp float, country text STATIC, PRIMARY KEY ((city, day), hour));`,
		"A STATIC column has one value a partition."},
	{"WHERE", "which rows",
		`column = value                   every partition key column, or IN (…), or token(…)
column IN (value, …)
clustering > value AND clustering <= value
(c1, c2) > (1, 'x')              several clustering columns together
token(key) > value               a slice of the whole ring
column CONTAINS value, column CONTAINS KEY value, column LIKE 'x%'`,
		`SELECT * FROM weather WHERE city = 'York' AND day IN ('2024-05-01', '2024-05-02') AND hour >= 6;`,
		"Other columns need ALLOW FILTERING: then every row that the key leaves is read and looked at."},
	{"TYPES", "the types of columns",
		`text ascii            'it''s', $$it's$$
int bigint smallint tinyint varint      42
float double decimal  1.5, 1e10, NaN, Infinity
boolean               true
uuid timeuuid         6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47, uuid(), now()
timestamp             '2024-05-01 12:30:00+0200', ms since 1970
date time duration    '2024-05-01', '12:30:00.5', 1y2mo3d4h
inet blob             '127.0.0.1', 0xcafe
list<t> set<t> map<k, v>      [1, 2]  {1, 2}  {'a': 1}
tuple<t, …> vector<float, n>  (1, 'a')  [0.1, 0.2]
frozen<t>             a collection or user type as one value
counter               only counted up and down`, "", ""},
	{"LITERALS", "how values are written",
		`'text'  $$text$$  42  -1.5e3  true  null  0xcafe  6ab09bec-e68e-48d9-a5f8-97e6fb4c9b47  1h30m  PT1H30M
[1, 2]  {1, 2}  {'k': 1}  (1, 'x')  {field: 1}  (int) 3  f(x)
names: lower case unless in "Double Quotes"; strings in single ones`, `INSERT INTO t (k, "Name") VALUES (1, 'it''s');`, ""},
	{"FUNCTIONS", "what can be computed",
		`count(*) min(x) max(x) sum(x) avg(x)         over all rows, or each group of GROUP BY
writetime(column) ttl(column) token(key)
now() uuid() toTimestamp(x) toDate(x) toUnixTimestamp(x) minTimeuuid(x) maxTimeuuid(x)
CAST(x AS type)  a + b, a - b, a * b, a / b, a % b`,
		`SELECT customer, count(*), sum(price) FROM orders GROUP BY customer;`, ""},
	{"TTL", "values that end by themselves",
		`INSERT … USING TTL seconds;  UPDATE … USING TTL seconds …;  CREATE TABLE … WITH default_time_to_live = seconds;`,
		`SELECT ttl(price) FROM orders LIMIT 1;`, ""},
	{"OPTIONS", "options of CREATE TABLE and ALTER TABLE … WITH",
		`comment = 'text'                 default_time_to_live = seconds
gc_grace_seconds = seconds       memory = true
CLUSTERING ORDER BY (column DESC)`,
		`ALTER TABLE orders WITH comment = 'what was bought' AND default_time_to_live = 31536000;`,
		"Other options of Cassandra are kept and shown, and have no effect in nodedb."},

	{"HELP", "this help", `HELP [topic]`, `HELP CREATE TABLE`, ""},
	{"DESCRIBE", "show the schema",
		`DESCRIBE KEYSPACES, TABLES or TYPES
DESCRIBE [ONLY] KEYSPACE [name], TABLE name, TYPE name, or name
DESCRIBE [FULL] SCHEMA
DESCRIBE CLUSTER`, `DESCRIBE TABLE orders`, "DESC is the same. What is shown can be run again."},
	{"CONSISTENCY", "how many replicas must answer",
		`CONSISTENCY [ANY ONE TWO THREE QUORUM ALL LOCAL_ONE LOCAL_QUORUM EACH_QUORUM SERIAL LOCAL_SERIAL]`, `CONSISTENCY QUORUM`,
		"Without a level it shows the one in use, which is ONE at first."},
	{"SERIAL CONSISTENCY", "consistency of the condition in IF", `SERIAL CONSISTENCY [SERIAL or LOCAL_SERIAL]`, `SERIAL CONSISTENCY LOCAL_SERIAL`, ""},
	{"PAGING", "stop after each page of a result", `PAGING [ON or OFF or rows]`, `PAGING 50`, "At ---MORE--- Return goes on and q ends."},
	{"TRACING", "show what each statement did, on which node, and when", `TRACING [ON or OFF]`, `TRACING ON`, ""},
	{"EXPAND", "show rows one column a line", `EXPAND [ON or OFF]`, `EXPAND ON`, ""},
	{"SOURCE", "run a file", `SOURCE 'file'`, `SOURCE 'schema.cql'`, "What fails is told with its line, and the rest goes on."},
	{"COPY", "a table to and from CSV",
		`COPY table [(column, …)] TO 'file' or STDOUT [WITH option = value AND …]
COPY table [(column, …)] FROM 'file' or STDIN [WITH option = value AND …]`,
		`COPY orders (customer, placed, item) TO 'orders.csv' WITH HEADER = true`,
		"Options: HEADER (false), DELIMITER (','), NULL (''), PAGESIZE and MAXROWS (TO); SKIPROWS, TTL, ERRFILE (FROM).\n" +
			"Rows that can't be written are in the rejects file, with their reasons. nodedb load does more: TSV, NDJSON, .gz and .zst."},
	{"SHOW", "the server and its version", `SHOW VERSION
SHOW HOST
SHOW SESSION trace-id`, `SHOW VERSION`, ""},
	{"CLEAR", "clear the screen", `CLEAR`, "", ""},
	{"EXIT", "leave", `EXIT or QUIT, or Ctrl-D`, "", ""},
}
