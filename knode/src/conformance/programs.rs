//! What containers of the suite do, without saying how.

use crate::runtime::ContainerConfig;

/// What a container, or a command inside one, does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Runs until it is asked to end, for an hour at least.
    Sleep,
    /// Ends at once with this code.
    Exit(i32),
    /// Writes lines, then ends with zero.
    Print {
        /// To standard output.
        stdout: Vec<String>,
        /// To standard error, after the others.
        stderr: Vec<String>,
    },
    /// Writes `tick` every 50 ms.
    Tick,
    /// Writes `ready`; asked to end, does so with code 7.
    EndWhenAsked,
    /// Writes `ready`; asked to end, goes on.
    IgnoreRequests,
    /// Writes its environment, `NAME=value` a line.
    PrintEnvironment,
    /// Writes the file at this path of the container.
    PrintFile(String),
    /// Writes so many bytes to standard output.
    Flood(usize),
    /// Is no command at all: it must be called `kubrick-no-such-command`.
    Missing,
}

/// `program` for a backend whose `image` has a POSIX shell: containerd with busybox, or the host.
#[must_use]
pub fn shell_program(image: &str, program: &Program) -> ContainerConfig {
    let config = ContainerConfig::default().image(image);
    let shell = |script: String| config.clone().command(["sh", "-c"]).args([script]);
    match program {
        Program::Sleep => config.clone().command(["sleep"]).args(["3600"]),
        Program::Exit(code) => shell(format!("exit {code}")),
        Program::Print { stdout, stderr } => {
            let lines = stdout.iter().map(|line| format!("echo '{line}'"));
            let errors = stderr.iter().map(|line| format!("echo '{line}' >&2"));
            shell(lines.chain(errors).collect::<Vec<_>>().join("; "))
        }
        Program::Tick => shell("while :; do echo tick; sleep 0.05; done".to_owned()),
        Program::EndWhenAsked => {
            shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done".to_owned())
        }
        Program::IgnoreRequests => {
            shell("trap '' TERM; echo ready; while :; do sleep 1; done".to_owned())
        }
        Program::PrintEnvironment => config.clone().command(["env"]),
        // Where there is no mount namespace, a container's files are below this directory.
        Program::PrintFile(path) => shell(format!("cat \"${{KUBRICK_ROOT:-}}{path}\"")),
        Program::Flood(bytes) => shell(format!("head -c {bytes} /dev/zero | tr '\\0' x")),
        Program::Missing => config.clone().command(["kubrick-no-such-command"]),
    }
}
