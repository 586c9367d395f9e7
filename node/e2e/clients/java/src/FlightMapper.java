import com.datastax.oss.driver.api.core.CqlIdentifier;
import com.datastax.oss.driver.api.core.PagingIterable;
import com.datastax.oss.driver.api.mapper.annotations.Dao;
import com.datastax.oss.driver.api.mapper.annotations.DaoFactory;
import com.datastax.oss.driver.api.mapper.annotations.DaoKeyspace;
import com.datastax.oss.driver.api.mapper.annotations.Delete;
import com.datastax.oss.driver.api.mapper.annotations.Insert;
import com.datastax.oss.driver.api.mapper.annotations.Mapper;
import com.datastax.oss.driver.api.mapper.annotations.Query;
import com.datastax.oss.driver.api.mapper.annotations.Select;
import com.datastax.oss.driver.api.mapper.annotations.Update;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.util.List;
import java.util.Set;

/** The driver's object mapper. */
@Mapper
interface FlightMapper {
  @DaoFactory
  FlightDao flights(@DaoKeyspace CqlIdentifier keyspace);

  static void check(FlightMapper mapper) {
    FlightDao flights = mapper.flights(CqlIdentifier.fromCql("jv"));
    LocalDate day = LocalDate.of(2013, 7, 4);
    for (int number = 1; number <= 3; number++) flights.save(new Flight("JFK", day, number, Set.of("1A"), new Gate("B", 7), new BigDecimal("1.50")));
    Flight got = flights.find("JFK", day, 1);
    Checks.equal(List.of(got.getSeats(), got.getGate().getTerminal(), got.getDelay()), List.of(Set.of("1A"), "B", new BigDecimal("1.50")), "found");
    got.setSeats(Set.of("2A"));
    flights.update(got);
    flights.delay(new BigDecimal("2"), "JFK", day, 2);
    List<Integer> numbers = flights.of("JFK", day).map(Flight::getNumber).all();
    Checks.equal(numbers, List.of(3, 2, 1), "of a day");
    flights.delete(flights.find("JFK", day, 3));
    Checks.equal(flights.of("JFK", day).map(f -> f.getSeats() + " " + f.getDelay()).all(), List.of("[1A] 2", "[2A] 1.50"), "after changes");
  }
}

@Dao
interface FlightDao {
  @Insert
  void save(Flight flight);

  @Update
  void update(Flight flight);

  @Delete
  void delete(Flight flight);

  @Select
  Flight find(String origin, LocalDate day, int number);

  @Select(customWhereClause = "origin = :origin AND day = :day")
  PagingIterable<Flight> of(String origin, LocalDate day);

  @Query("UPDATE ${keyspaceId}.flights SET delay = :delay WHERE origin = :origin AND day = :day AND number = :number")
  void delay(BigDecimal delay, String origin, LocalDate day, int number);
}
