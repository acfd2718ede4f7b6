//! The seam's suite over [`FunctionRuntime`], and a mistake that it finds.

use std::path::PathBuf;

use async_trait::async_trait;
use knode::Result;
use knode::conformance::{Capabilities, Fixture, Program, failing, suite};
use knode::runtime::{
    ContainerConfig, Containers, Events, Exec, FsUsage, Image, Images, PullOptions, Runtime,
    RuntimeStatus, Sandboxes, Stats, Version,
};

use super::*;

async fn sleep(mut call: Call) -> i32 {
    call.asked_to_end().await;
    143
}

async fn exit(call: Call) -> i32 {
    call.args[0].parse().unwrap()
}

/// Writes its arguments; those after `--` to standard error.
async fn print(call: Call) -> i32 {
    let mut lines = call.args.iter();
    lines.by_ref().take_while(|line| *line != "--").for_each(|line| call.print(line));
    lines.for_each(|line| call.complain(line));
    0
}

async fn tick(call: Call) -> i32 {
    loop {
        call.print("tick");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn end_when_asked(mut call: Call) -> i32 {
    call.print("ready");
    call.asked_to_end().await;
    7
}

async fn ignore(call: Call) -> i32 {
    call.print("ready");
    std::future::pending().await
}

struct Place {
    directory: tempfile::TempDir,
    /// The runtime has a mistake.
    mistaken: bool,
}

impl Place {
    fn new(mistaken: bool) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), mistaken }
    }
}

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn Runtime> {
        let functions = [
            ("sleep", Function::new(sleep)),
            ("exit", Function::new(exit)),
            ("print", Function::new(print)),
            ("tick", Function::new(tick)),
            ("end-when-asked", Function::new(end_when_asked)),
            ("ignore", Function::new(ignore)),
        ];
        let runtime = FunctionRuntime::new(Clock::system(), functions);
        if self.mistaken { Arc::new(Credulous(runtime)) } else { Arc::new(runtime) }
    }

    fn program(&self, program: &Program) -> ContainerConfig {
        let config = |image: &str| ContainerConfig::default().image(image);
        match program {
            Program::Exit(code) => config("exit").args([code.to_string()]),
            Program::Print { stdout, stderr } => {
                let mark = ["--".to_owned()];
                config("print").args([&stdout[..], &mark, stderr].concat())
            }
            Program::Tick => config("tick"),
            Program::EndWhenAsked => config("end-when-asked"),
            Program::IgnoreRequests => config("ignore"),
            _ => config("sleep"),
        }
    }

    fn scratch(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

fn capabilities() -> Capabilities {
    Capabilities::default().simulated().addresses().logs()
}

suite!(function_runtime, capabilities(), || async { Place::new(false) });

/// The same runtime with a mistake: it says that it pulled what does not exist.
#[derive(Debug)]
struct Credulous(FunctionRuntime);

#[async_trait]
impl Images for Credulous {
    async fn pull(&self, image: &str, _options: PullOptions) -> Result<String> {
        Ok(image.to_owned())
    }
    async fn status(&self, image: &str) -> Result<Option<Image>> {
        self.0.images().status(image).await
    }
    async fn list(&self) -> Result<Vec<Image>> {
        self.0.images().list().await
    }
    async fn remove(&self, image: &str) -> Result<()> {
        self.0.images().remove(image).await
    }
    async fn fs_info(&self) -> Result<Vec<FsUsage>> {
        self.0.fs_info().await
    }
}

#[async_trait]
impl Runtime for Credulous {
    fn sandboxes(&self) -> &dyn Sandboxes {
        &self.0
    }
    fn containers(&self) -> &dyn Containers {
        &self.0
    }
    fn images(&self) -> &dyn Images {
        self
    }
    fn exec(&self) -> &dyn Exec {
        &self.0
    }
    fn stats(&self) -> Option<&dyn Stats> {
        None
    }
    fn events(&self) -> Option<&dyn Events> {
        None
    }
    async fn version(&self) -> Result<Version> {
        self.0.version().await
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        Runtime::status(&self.0).await
    }
}

#[test]
fn a_mistake_fails_exactly_the_case_that_names_it() {
    let failed = failing(capabilities(), || async { Place::new(true) });
    assert_eq!(failed, ["pull_of_an_unknown_image_fails"]);
}
