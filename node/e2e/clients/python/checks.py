"""What a client's program says to the test that runs it (TestClients in node/e2e): a line each, on standard output."""
import sys
import time
import traceback

WAIT = 30  # seconds that one condition may take


def say(word, text=""):
    print(f"{word} {text}".rstrip().replace("\n", " | "), flush=True)


def do(command):
    """Asks the test for what only it can do, and gives its answer."""
    say("do", command)
    answer = sys.stdin.readline().strip()
    if not answer or answer.startswith("error"):
        raise RuntimeError(f"{command}: {answer or 'the test is gone'}")
    return answer.removeprefix("ok").strip()


def figure(text):
    say("figure", text)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def eventually(condition, what):
    """Polls until the condition gives something true, and gives that."""
    end = time.monotonic() + WAIT
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)
    return value


def run(checks):
    """Runs checks, which are functions, by their names."""
    for check in checks:
        say("check", check.__name__)
        try:
            check()
            say("ok")
        except Exception as e:
            traceback.print_exc()
            say("fail", f"{type(e).__name__}: {e}"[:2000])
    say("end")
