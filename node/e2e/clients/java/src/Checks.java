import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

/** What a client's program says to the test that runs it (TestClients in node/e2e): a line each, on standard output. */
final class Checks {
  private static final long WAIT_NS = 30_000_000_000L; // that one condition may take
  private static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));

  interface Check {
    void run() throws Exception;
  }

  static void say(String word, String text) {
    System.out.println((word + " " + text).strip().replace("\n", " | "));
    System.out.flush();
  }

  /** Asks the test for what only it can do. */
  static void tell(String command) throws IOException {
    say("do", command);
    String answer = ANSWERS.readLine();
    if (answer == null || answer.startsWith("error")) throw new IllegalStateException(command + ": " + answer);
  }

  static void equal(Object got, Object want, String what) {
    if (!Objects.equals(got, want)) throw new AssertionError(what + ": got " + got + ", want " + want);
  }

  /** Polls until the condition gives something that is neither null nor false, and gives that. */
  static <T> T eventually(String what, Callable<T> condition) throws Exception {
    for (long end = System.nanoTime() + WAIT_NS; ; Thread.sleep(20)) {
      T value = condition.call();
      if (value != null && !Boolean.FALSE.equals(value)) return value;
      if (System.nanoTime() > end) throw new AssertionError("waited in vain: " + what);
    }
  }

  static void run(Map<String, Check> checks) {
    checks.forEach((name, check) -> {
      say("check", name);
      try {
        check.run();
        say("ok", "");
      } catch (Throwable e) {
        e.printStackTrace();
        String text = e.toString();
        say("fail", text.substring(0, Math.min(text.length(), 2000)));
      }
    });
    say("end", "");
  }
}
