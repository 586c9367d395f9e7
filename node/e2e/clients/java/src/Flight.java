import com.datastax.oss.driver.api.mapper.annotations.ClusteringColumn;
import com.datastax.oss.driver.api.mapper.annotations.CqlName;
import com.datastax.oss.driver.api.mapper.annotations.Entity;
import com.datastax.oss.driver.api.mapper.annotations.PartitionKey;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.util.Set;

@Entity
@CqlName("flights")
public class Flight {
  @PartitionKey(0) private String origin;
  @PartitionKey(1) private LocalDate day;
  @ClusteringColumn private int number;
  private Set<String> seats;
  private Gate gate;
  private BigDecimal delay;

  public Flight() {}

  Flight(String origin, LocalDate day, int number, Set<String> seats, Gate gate, BigDecimal delay) {
    this.origin = origin;
    this.day = day;
    this.number = number;
    this.seats = seats;
    this.gate = gate;
    this.delay = delay;
  }

  public String getOrigin() { return origin; }
  public void setOrigin(String origin) { this.origin = origin; }
  public LocalDate getDay() { return day; }
  public void setDay(LocalDate day) { this.day = day; }
  public int getNumber() { return number; }
  public void setNumber(int number) { this.number = number; }
  public Set<String> getSeats() { return seats; }
  public void setSeats(Set<String> seats) { this.seats = seats; }
  public Gate getGate() { return gate; }
  public void setGate(Gate gate) { this.gate = gate; }
  public BigDecimal getDelay() { return delay; }
  public void setDelay(BigDecimal delay) { this.delay = delay; }
}
