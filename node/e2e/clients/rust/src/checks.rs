//! What a client's program says to the test that runs it (TestClients in node/e2e): a line each, on standard output.
use std::fmt::{Debug, Display};
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

/// What went wrong, as text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome = Result<(), Failure>;

const WAIT: Duration = Duration::from_secs(30); // that one condition may take

pub fn say(word: &str, text: &str) {
    let line = format!("{word} {text}").trim_end().replace('\n', " | ");
    println!("{line}");
    stdout().flush().expect("standard output");
}

pub fn figure(text: impl Display) {
    say("figure", &text.to_string());
}

/// Asks the test for what only it can do, and gives its answer.
pub async fn tell(command: String) -> Result<String, Failure> {
    tokio::task::spawn_blocking(move || {
        say("do", &command);
        let mut answer = String::new();
        if stdin().lock().read_line(&mut answer)? == 0 || answer.starts_with("error") {
            return Err(format!("{command}: {answer}").into());
        }
        Ok(answer.trim().to_string())
    })
    .await?
}

pub fn fail<T>(text: impl Display) -> Result<T, Failure> {
    Err(text.to_string().into())
}

pub fn holds(condition: bool, what: impl Display) -> Outcome {
    if condition { Ok(()) } else { fail(what) }
}

pub fn equal<T: PartialEq + Debug>(got: T, want: T, what: impl Display) -> Outcome {
    holds(got == want, format!("{what}: got {got:?}, want {want:?}"))
}

/// Polls until the condition gives something, and gives that.
pub async fn eventually<T>(what: impl Display, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if begun.elapsed() > WAIT {
            return fail(format!("waited in vain: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
