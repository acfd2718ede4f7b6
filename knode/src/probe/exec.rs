//! The exec prober.

use std::time::Duration;

use super::{MAX_MESSAGE_BYTES, Outcome, Verdict};
use crate::Error;
use crate::runtime::{ContainerId, Exec, ExecOptions};

pub(super) async fn probe(
    exec: &dyn Exec,
    container: &ContainerId,
    command: &[String],
    timeout: Duration,
) -> Outcome {
    let options = ExecOptions::default().timeout(timeout).output_limit(MAX_MESSAGE_BYTES);
    match exec.exec_sync(container, command, options).await {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            let good = output.exit_code == 0;
            Outcome::new(if good { Verdict::Success } else { Verdict::Failure }, text)
        }
        Err(Error::TimedOut { .. }) => {
            let command = command.join(" ");
            Outcome::new(Verdict::Failure, format!("command {command:?} timed out"))
        }
        Err(error) => Outcome::new(Verdict::Unknown, error.to_string()),
    }
}
