import com.datastax.oss.driver.api.core.data.CqlDuration;
import com.datastax.oss.driver.api.core.data.CqlVector;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/** A value or more of every type, as the driver's users write them. Tuples and UDTs are made of what the session knows: see Suite. */
final class Values {
  static final UUID TIMEUUID = UUID.fromString("50554d6e-29bb-11e5-b345-feff819cdc9f");

  static Map<String, List<?>> all() throws UnknownHostException {
    Map<String, List<?>> v = new LinkedHashMap<>();
    v.put("ascii", List.of("", "plain ~"));
    v.put("bigint", List.of(Long.MIN_VALUE, 0L, Long.MAX_VALUE));
    v.put("blob", List.of(ByteBuffer.allocate(0), ByteBuffer.wrap(new byte[] {0, -1, 1})));
    v.put("boolean", List.of(true, false));
    v.put("date", List.of(LocalDate.EPOCH, LocalDate.of(1969, 12, 31), LocalDate.of(2013, 7, 4), LocalDate.ofEpochDay(Integer.MIN_VALUE)));
    v.put("decimal", List.of(BigDecimal.ZERO, new BigDecimal("-1.2300"), new BigDecimal("123456789012345678901234567890.12345678901234567890"), new BigDecimal("1E+20")));
    v.put("double", List.of(0.0, -1.5e300, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, Double.NaN, Double.MIN_VALUE));
    v.put("duration", List.of(CqlDuration.newInstance(0, 0, 0), CqlDuration.newInstance(1, 2, 3), CqlDuration.newInstance(-1, -2, -3), CqlDuration.newInstance(0, 0, Long.MAX_VALUE)));
    v.put("float", List.of(0f, -1.5f, Float.POSITIVE_INFINITY, Float.NaN));
    v.put("inet", List.of(InetAddress.getByName("127.0.0.1"), InetAddress.getByName("2001:db8::1")));
    v.put("int", List.of(Integer.MIN_VALUE, 0, Integer.MAX_VALUE));
    v.put("smallint", List.of(Short.MIN_VALUE, (short) 0, Short.MAX_VALUE));
    v.put("text", List.of("", "grüße 世界 🜁", "'quoted' $$ \0"));
    v.put("time", List.of(LocalTime.MIN, LocalTime.MAX, LocalTime.parse("12:34:56.789")));
    v.put("timestamp", List.of(Instant.parse("2013-07-04T12:34:56.789Z"), Instant.ofEpochMilli(-1), Instant.parse("-9999-01-01T00:00:00Z")));
    v.put("timeuuid", List.of(TIMEUUID));
    v.put("tinyint", List.of(Byte.MIN_VALUE, (byte) 0, Byte.MAX_VALUE));
    v.put("uuid", List.of(new UUID(0, 0), new UUID(-1, -1)));
    v.put("varchar", List.of("v"));
    v.put("varint", List.of(BigInteger.ZERO, BigInteger.ONE.negate(), BigInteger.valueOf(127), BigInteger.valueOf(128), BigInteger.TWO.pow(64).negate(), BigInteger.TEN.pow(60)));
    v.put("list<int>", List.of(List.of(1, 2, 1)));
    v.put("set<text>", List.of(new LinkedHashSet<>(List.of("", "a", "b"))));
    v.put("map<text, double>", List.of(Map.of("", Double.POSITIVE_INFINITY, "a", 1.0)));
    v.put("map<timeuuid, frozen<set<inet>>>", List.of(Map.of(TIMEUUID, Set.of(InetAddress.getByName("10.0.0.1"), InetAddress.getByName("::1")))));
    v.put("frozen<list<frozen<map<int, text>>>>", List.of(List.of(Map.of(1, "a", 2, ""), Map.of()), List.of()));
    v.put("vector<float, 3>", List.of(CqlVector.newInstance(1f, -2.5f, 0f)));
    v.put("vector<text, 2>", List.of(CqlVector.newInstance("a", "")));
    v.put("list<frozen<vector<float, 2>>>", List.of(List.of(CqlVector.newInstance(1f, 2f), CqlVector.newInstance(3f, 4f))));
    return v;
  }
}
