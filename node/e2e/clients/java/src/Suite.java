import static com.datastax.oss.driver.api.core.config.DefaultDriverOption.*;

import com.datastax.oss.driver.api.core.AllNodesFailedException;
import com.datastax.oss.driver.api.core.ConsistencyLevel;
import com.datastax.oss.driver.api.core.CqlIdentifier;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.NodeUnavailableException;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.config.ProgrammaticDriverConfigLoaderBuilder;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.BatchStatementBuilder;
import com.datastax.oss.driver.api.core.cql.DefaultBatchType;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.QueryTrace;
import com.datastax.oss.driver.api.core.cql.ResultSet;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.data.UdtValue;
import com.datastax.oss.driver.api.core.metadata.Node;
import com.datastax.oss.driver.api.core.metadata.NodeState;
import com.datastax.oss.driver.api.core.metadata.schema.KeyspaceMetadata;
import com.datastax.oss.driver.api.core.metadata.schema.TableMetadata;
import com.datastax.oss.driver.api.core.servererrors.InvalidQueryException;
import com.datastax.oss.driver.api.core.type.DataTypes;
import com.datastax.oss.driver.api.core.type.UserDefinedType;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/** The Java driver 4, unmodified, against three nodes: Suite ADDRESS all|smoke. */
public final class Suite {
  private static final String RF3 = "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}";
  private static final String RF1 = "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";

  private final String address;
  private final boolean isLong;
  private final CqlSession session;

  private Suite(String address, boolean isLong) {
    this.address = address;
    this.isLong = isLong;
    this.session = connect(c -> {});
    session.execute("CREATE KEYSPACE jv " + RF3);
    session.execute("CREATE KEYSPACE single " + RF1);
  }

  public static void main(String[] args) {
    Suite s = new Suite(args[0], args[1].equals("all"));
    Map<String, Checks.Check> checks = new LinkedHashMap<>();
    checks.put("nodesAreDiscovered", s::nodesAreDiscovered);
    checks.put("versionsAndCompressions", s::versionsAndCompressions);
    checks.put("statementsArePrepared", s::statementsArePrepared);
    checks.put("everyTypeBothWays", s::everyTypeBothWays);
    checks.put("pagesAreTurned", s::pagesAreTurned);
    checks.put("batchesAreApplied", s::batchesAreApplied);
    checks.put("requestsAreTraced", s::requestsAreTraced);
    checks.put("schemaChangesAreTold", s::schemaChangesAreTold);
    checks.put("preparedStatementsSurviveAlter", s::preparedStatementsSurviveAlter);
    checks.put("objectsAreMapped", s::objectsAreMapped);
    checks.put("requestsReachAnOwner", s::requestsReachAnOwner);
    checks.put("aNodeMayDieUnderLoad", s::aNodeMayDieUnderLoad);
    checks.put("aNewNodeIsTold", s::aNewNodeIsTold);
    Checks.run(checks);
    System.exit(0);
  }

  private CqlSession connect(Consumer<ProgrammaticDriverConfigLoaderBuilder> set) {
    ProgrammaticDriverConfigLoaderBuilder config = DriverConfigLoader.programmaticBuilder()
        .withString(REQUEST_CONSISTENCY, ConsistencyLevel.QUORUM.name())
        .withDuration(REQUEST_TIMEOUT, Duration.ofSeconds(20))
        .withDuration(CONNECTION_INIT_QUERY_TIMEOUT, Duration.ofSeconds(20))
        .withDuration(METADATA_SCHEMA_WINDOW, Duration.ofMillis(10))
        .withDuration(METADATA_TOPOLOGY_WINDOW, Duration.ofMillis(10))
        .withInt(NETTY_IO_SHUTDOWN_QUIET_PERIOD, 0)
        .withInt(NETTY_ADMIN_SHUTDOWN_QUIET_PERIOD, 0)
        .withDuration(RECONNECTION_BASE_DELAY, Duration.ofMillis(200))
        .withDuration(RECONNECTION_MAX_DELAY, Duration.ofSeconds(1));
    set.accept(config);
    return CqlSession.builder().addContactPoint(new InetSocketAddress(address, 9042)).withLocalDatacenter("datacenter1").withConfigLoader(config.build()).build();
  }

  private List<Node> nodes() {
    return new ArrayList<>(session.getMetadata().getNodes().values());
  }

  private Node node(int number) {
    String want = address.substring(0, address.lastIndexOf('.') + 1) + number;
    return nodes().stream().filter(n -> n.getBroadcastRpcAddress().orElseThrow().getAddress().getHostAddress().equals(want)).findFirst().orElse(null);
  }

  private void nodesAreDiscovered() {
    Checks.equal(nodes().size(), 3, "nodes");
    Checks.equal(session.getContext().getProtocolVersion().toString(), "V5", "the version that was negotiated");
    Checks.equal(session.getMetadata().getTokenMap().orElseThrow().getTokenRanges().size(), 48, "ranges");
    for (Node n : nodes()) {
      Checks.equal(n.getCassandraVersion().toString(), "5.0.0", "release");
      Row row = session.execute(SimpleStatement.newInstance("SELECT host_id FROM system.local").setNode(n)).one();
      Checks.equal(row.getUuid(0), n.getHostId(), "the node that answered");
    }
  }

  private void versionsAndCompressions() {
    String text = "compressible ".repeat(20_000);
    for (String[] c : new String[][] {{"V4", "none"}, {"V4", "lz4"}, {"V4", "snappy"}, {"V5", "none"}, {"V5", "lz4"}}) {
      try (CqlSession other = connect(b -> b.withString(PROTOCOL_VERSION, c[0]).withString(PROTOCOL_COMPRESSION, c[1]))) {
        Row row = other.execute("SELECT (text)? AS t FROM system.local", text).one();
        Checks.equal(row.getString("t").equals(text), true, String.join(" ", c));
      }
    }
  }

  private void statementsArePrepared() {
    session.execute("CREATE TABLE jv.prepared (k int, c text, v int, w int, PRIMARY KEY (k, c))");
    PreparedStatement insert = session.prepare("INSERT INTO jv.prepared (k, c, v, w) VALUES (?, ?, ?, ?)");
    Checks.equal(insert.getPartitionKeyIndices(), List.of(0), "indices of the partition key");
    session.execute(insert.bind(1, "a", 1, 1));
    session.execute(insert.boundStatementBuilder().setInt("k", 1).setString("c", "a").setInt("v", 2).build()); // w is unset, and stays
    session.execute(insert.bind(2, "b", null, 3));
    PreparedStatement select = session.prepare("SELECT v, w FROM jv.prepared WHERE k = :key AND c = :other");
    Row row = session.execute(select.boundStatementBuilder().setString("other", "a").setInt("key", 1).build()).one();
    Checks.equal(List.of(row.getInt("v"), row.getInt("w")), List.of(2, 1), "named");
    Checks.equal(session.execute(select.bind(2, "b")).one().isNull("v"), true, "null");
    SimpleStatement named = SimpleStatement.newInstance("SELECT v FROM jv.prepared WHERE k = :k AND c = :c", Map.of("k", 1, "c", "a"));
    Checks.equal(session.execute(named).one().getInt(0), 2, "named, not prepared");
    Checks.equal(session.execute(named.setKeyspace("jv").setQuery("SELECT v FROM prepared WHERE k = :k AND c = :c")).one().getInt(0), 2, "in a keyspace of the request");
    try {
      session.prepare("SELECT nothing FROM jv.prepared");
      throw new AssertionError("an unknown column was prepared");
    } catch (InvalidQueryException e) {
      Checks.equal(e.getMessage().contains("nothing"), true, e.getMessage());
    }
  }

  private void everyTypeBothWays() throws Exception {
    session.execute("CREATE TYPE jv.address (street text, numbers frozen<set<int>>, at tuple<double, double>)");
    UserDefinedType type = Checks.eventually("the type", () -> session.getMetadata().getKeyspace("jv").flatMap(k -> k.getUserDefinedType("address")).orElse(null));
    UdtValue home = type.newValue("Main", new LinkedHashSet<>(List.of(1, 2)), DataTypes.tupleOf(DataTypes.DOUBLE, DataTypes.DOUBLE).newValue(1.5, -2.5));
    Map<String, List<?>> kinds = new LinkedHashMap<>(Values.all());
    kinds.put("tuple<int, text, frozen<list<int>>>", List.of(DataTypes.tupleOf(DataTypes.INT, DataTypes.TEXT, DataTypes.frozenListOf(DataTypes.INT)).newValue(1, null, List.of(7))));
    kinds.put("frozen<address>", List.of(home, type.newValue()));
    kinds.put("address", List.of(home));
    kinds.put("map<text, frozen<address>>", List.of(Map.of("home", home)));
    List<String> names = new ArrayList<>(kinds.keySet());
    StringBuilder columns = new StringBuilder("k int PRIMARY KEY");
    for (int n = 0; n < names.size(); n++) columns.append(", v").append(n).append(' ').append(names.get(n));
    session.execute("CREATE TABLE jv.types (" + columns + ")");
    for (int n = 0; n < names.size(); n++) {
      PreparedStatement insert = session.prepare("INSERT INTO jv.types (k, v" + n + ") VALUES (?, ?)");
      PreparedStatement select = session.prepare("SELECT v" + n + " FROM jv.types WHERE k = ?");
      List<Object> values = new ArrayList<>(kinds.get(names.get(n)));
      values.add(null);
      for (int k = 0; k < values.size(); k++) {
        session.execute(insert.bind(k, values.get(k)));
        Row row = session.execute(select.bind(k)).one();
        if (values.get(k) == null) Checks.equal(row.isNull(0) || row.getObject(0).toString().matches("[\\[{][]}]"), true, names.get(n) + " null");
        else if (values.get(k) instanceof UdtValue u) Checks.equal(row.getUdtValue(0).getFormattedContents(), u.getFormattedContents(), names.get(n));
        else if (!names.get(n).contains("address")) Checks.equal(row.getObject(0), values.get(k), names.get(n));
        else Checks.equal(row.getMap(0, String.class, UdtValue.class).get("home").getFormattedContents(), home.getFormattedContents(), names.get(n));
      }
    }
  }

  private void pagesAreTurned() {
    int rows = isLong ? 5000 : 1000;
    session.execute("CREATE TABLE jv.pages (k int, c int, v text, PRIMARY KEY (k, c))");
    PreparedStatement insert = session.prepare("INSERT INTO jv.pages (k, c, v) VALUES (?, ?, ?)");
    concurrently(rows, c -> session.executeAsync(insert.bind(c % 3, c, "v" + c)));
    boolean[] seen = new boolean[rows];
    int count = 0;
    for (Row row : session.execute(SimpleStatement.newInstance("SELECT c FROM jv.pages").setPageSize(100))) {
      count += seen[row.getInt(0)] ? 0 : 1;
      seen[row.getInt(0)] = true;
    }
    Checks.equal(count, rows, "rows of all pages");
    SimpleStatement select = SimpleStatement.newInstance("SELECT c FROM jv.pages WHERE k = 1");
    ResultSet page = session.execute(select.setPageSize(7));
    for (int i = 0; i < 7; i++) Checks.equal(page.one().getInt(0), 1 + 3 * i, "the first page");
    for (Node n : nodes()) { // another node goes on where this one stopped
      ResultSet rest = session.execute(select.setPageSize(3).setPagingState(page.getExecutionInfo().getPagingState()).setNode(n));
      Checks.equal(List.of(rest.one().getInt(0), rest.one().getInt(0), rest.one().getInt(0)), List.of(22, 25, 28), "the second page");
    }
  }

  /** Runs n statements, some at a time. */
  private static void concurrently(int n, java.util.function.IntFunction<CompletionStage<?>> start) {
    List<CompletionStage<?>> window = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      window.add(start.apply(i));
      if (window.size() == 50 || i == n - 1) {
        window.forEach(s -> s.toCompletableFuture().join());
        window.clear();
      }
    }
  }

  private void batchesAreApplied() {
    session.execute("CREATE TABLE jv.batched (k int, c int, v text, PRIMARY KEY (k, c))");
    PreparedStatement insert = session.prepare("INSERT INTO jv.batched (k, c, v) VALUES (?, ?, ?)");
    for (int kind = 0; kind < 3; kind++) {
      BatchStatementBuilder batch = BatchStatement.builder(kind == 0 ? DefaultBatchType.UNLOGGED : DefaultBatchType.LOGGED);
      for (int i = 0; i < 10; i++) {
        int key = kind == 1 ? 100 : kind * 100 + i;
        batch.addStatement(insert.bind(key, i, "prepared"));
        batch.addStatement(SimpleStatement.newInstance("INSERT INTO jv.batched (k, c, v) VALUES (?, ?, 'text')", key, i + 100));
      }
      session.execute(batch.build());
    }
    Checks.equal(session.execute("SELECT count(*) FROM jv.batched").one().getLong(0), 60L, "rows");
  }

  private void requestsAreTraced() {
    for (Node n : nodes()) {
      ResultSet rows = session.execute(SimpleStatement.newInstance("SELECT * FROM jv.batched WHERE k = 100").setTracing(true).setNode(n));
      QueryTrace trace = rows.getExecutionInfo().getQueryTrace();
      Checks.equal(trace.getCoordinatorAddress().getAddress(), n.getBroadcastRpcAddress().orElseThrow().getAddress(), "coordinator");
      Checks.equal(trace.getDurationMicros() > 0 && trace.getEvents().size() > 1, true, trace.getEvents().toString());
      Checks.equal(trace.getParameters().get("consistency_level"), "QUORUM", "level");
    }
  }

  private void schemaChangesAreTold() throws Exception {
    try (CqlSession watcher = connect(c -> {})) {
      session.execute("CREATE KEYSPACE told " + RF3);
      Checks.eventually("the keyspace", () -> watcher.getMetadata().getKeyspace("told").isPresent());
      session.execute("CREATE TYPE told.pair (a int, b text)");
      session.execute("CREATE TABLE told.t (k int PRIMARY KEY, v frozen<pair>) WITH comment = 'before'");
      TableMetadata table = Checks.eventually("the table", () -> told(watcher).getTable("t").orElse(null));
      Checks.equal(table.getOptions().get(CqlIdentifier.fromCql("comment")), "before", "comment");
      Checks.equal(table.describe(false).contains("frozen<\"told\".\"pair\">"), true, table.describe(false));
      session.execute("ALTER TABLE told.t ADD more map<text, int>");
      Checks.eventually("the column", () -> told(watcher).getTable("t").orElseThrow().getColumn("more").isPresent());
      session.execute("DROP TABLE told.t");
      Checks.eventually("the table's end", () -> told(watcher).getTable("t").isEmpty());
      session.execute("DROP KEYSPACE told");
      Checks.eventually("the keyspace's end", () -> watcher.getMetadata().getKeyspace("told").isEmpty());
      Checks.equal(watcher.checkSchemaAgreement(), true, "schema agreement");
    }
  }

  private static KeyspaceMetadata told(CqlSession watcher) {
    return watcher.getMetadata().getKeyspace("told").orElseThrow();
  }

  private void preparedStatementsSurviveAlter() {
    for (String version : List.of("V4", "V5")) {
      try (CqlSession other = connect(c -> c.withString(PROTOCOL_VERSION, version))) {
        String table = "jv.altered" + version;
        other.execute("CREATE TABLE " + table + " (k int PRIMARY KEY, m text)");
        PreparedStatement select = other.prepare("SELECT * FROM " + table + " WHERE k = 1");
        other.execute(other.prepare("INSERT INTO " + table + " (k, m) VALUES (?, ?)").bind(1, "m"));
        everywhere(other, select, "[k:1, m:'m']");
        session.execute("ALTER TABLE " + table + " ADD a int"); // before m in the row
        session.execute("UPDATE " + table + " SET a = 7 WHERE k = 1");
        everywhere(other, select, "[k:1, a:7, m:'m']");
        session.execute("ALTER TABLE " + table + " DROP m");
        everywhere(other, select, "[k:1, a:7]");
      }
    }
  }

  private void everywhere(CqlSession other, PreparedStatement select, String want) {
    for (Node n : other.getMetadata().getNodes().values()) {
      Checks.equal(other.execute(select.bind().setNode(n)).one().getFormattedContents(), want, "on " + n.getEndPoint());
    }
  }

  private void objectsAreMapped() {
    session.execute("CREATE TYPE jv.gate (terminal text, number int)");
    session.execute("CREATE TABLE jv.flights (origin text, day date, number int, seats set<text>, gate frozen<gate>, delay decimal, PRIMARY KEY ((origin, day), number))"
        + " WITH CLUSTERING ORDER BY (number DESC)");
    FlightMapper.check(new FlightMapperBuilder(session).build());
  }

  private void requestsReachAnOwner() throws Exception {
    session.execute("CREATE TABLE single.t (k text, part int, v int, PRIMARY KEY ((k, part)))");
    PreparedStatement insert = session.prepare("INSERT INTO single.t (k, part, v) VALUES (?, ?, ?)");
    PreparedStatement select = session.prepare("SELECT v FROM single.t WHERE k = ? AND part = ?");
    int rows = isLong ? 5000 : 500;
    Checks.tell("count");
    concurrently(rows, i -> session.executeAsync(insert.bind("key " + i, i % 7, i)));
    concurrently(rows, i -> session.executeAsync(select.bind("key " + i, i % 7)));
    Checks.tell("share");
  }

  private void aNodeMayDieUnderLoad() throws Exception {
    session.execute("CREATE TABLE jv.load (k int, c int, v int, PRIMARY KEY (k, c))");
    PreparedStatement insert = session.prepare(SimpleStatement.newInstance("INSERT INTO jv.load (k, c, v) VALUES (?, ?, ?)").setIdempotent(true));
    PreparedStatement select = session.prepare(SimpleStatement.newInstance("SELECT v FROM jv.load WHERE k = ? AND c = ?").setIdempotent(true));
    AtomicBoolean stop = new AtomicBoolean();
    AtomicLong rows = new AtomicLong();
    List<Throwable> errors = java.util.Collections.synchronizedList(new ArrayList<>());
    int[] done = new int[8];
    List<Thread> workers = new ArrayList<>();
    for (int w = 0; w < done.length; w++) {
      int k = w;
      workers.add(new Thread(() -> {
        try {
          for (; !stop.get(); done[k]++, rows.incrementAndGet()) {
            session.execute(insert.bind(k, done[k], k));
            Checks.equal(session.execute(select.bind(k, done[k])).one().getInt(0), k, "what was written");
          }
        } catch (Throwable e) {
          errors.add(e);
        }
      }));
    }
    workers.forEach(Thread::start);
    try {
      for (int number : isLong ? new int[] {3, 1} : new int[] {3}) downAndUp(number, rows, errors);
    } finally {
      stop.set(true);
      for (Thread w : workers) w.join();
    }
    Checks.equal(errors, List.of(), "errors");
    for (int k = 0; k < done.length; k++) {
      Checks.equal(session.execute(SimpleStatement.newInstance("SELECT count(*) FROM jv.load WHERE k = ?", k).setIdempotent(true)).one().getLong(0), (long) done[k], "rows");
    }
    Checks.say("figure", 2 * rows.get() + " statements, no error, while nodes were killed and started again");
  }

  private void downAndUp(int number, AtomicLong rows, List<Throwable> errors) throws Exception {
    progress(rows, errors, 200);
    Checks.tell("kill " + number);
    progress(rows, errors, 500);
    Checks.eventually("the driver learns that the node is down", () -> node(number).getState() == NodeState.DOWN);
    Checks.tell("start " + number);
    Checks.eventually("the driver learns that the node is up", () -> node(number).getState() == NodeState.UP && node(number).getOpenConnections() > 0);
    progress(rows, errors, 200);
  }

  private static void progress(AtomicLong rows, List<Throwable> errors, long more) throws Exception {
    long goal = rows.get() + more;
    Checks.eventually(more + " more rows", () -> rows.get() >= goal || !errors.isEmpty());
  }

  private void aNewNodeIsTold() throws Exception {
    Checks.tell("add");
    Node added = Checks.eventually("the fourth node", () -> node(4));
    Checks.eventually("its connections", () -> added.getOpenConnections() > 0);
    Checks.eventually("its tokens", () -> session.getMetadata().getTokenMap().orElseThrow().getTokenRanges(added).size() > 0);
    UUID answered = Checks.eventually("its pool", () -> hostIdSaidBy(added));
    Checks.equal(answered, added.getHostId(), "the node that answered");
  }

  /** Null while the driver has no pool for the node yet: it counts connections before it takes the pool that they belong to into use. */
  private UUID hostIdSaidBy(Node node) {
    try {
      return session.execute(SimpleStatement.newInstance("SELECT host_id FROM system.local").setNode(node)).one().getUuid(0);
    } catch (AllNodesFailedException e) {
      if (e.getAllErrors().get(node).stream().allMatch(NodeUnavailableException.class::isInstance)) return null;
      throw e;
    }
  }
}
