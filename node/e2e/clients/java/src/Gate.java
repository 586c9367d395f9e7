import com.datastax.oss.driver.api.mapper.annotations.Entity;

@Entity
public class Gate {
  private String terminal;
  private int number;

  public Gate() {}

  Gate(String terminal, int number) {
    this.terminal = terminal;
    this.number = number;
  }

  public String getTerminal() { return terminal; }
  public void setTerminal(String terminal) { this.terminal = terminal; }
  public int getNumber() { return number; }
  public void setNumber(int number) { this.number = number; }
}
