//! The cluster of `standalone` on real etcd, with three API servers: `etcd_backend --endpoints
//! http://127.0.0.1:2379,…`.
//!
//! This process starts four others, starts again what dies, and ends them when it ends: an API
//! server on each of three ports, with controllers and a scheduler of which one copy leads; and
//! the node, which reaches whichever API server answers. With a TCP balancer in front, named by
//! `--balancer`, any of the servers and any member of etcd can go.

mod control_plane;
mod flags;
mod node;
mod supervisor;

use std::process::ExitCode;

use flags::{Flags, Role};
use kubrick_examples::program::start;

fn main() -> ExitCode {
    start("etcd_backend", run)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let flags = Flags::parse()?;
    match flags.role {
        Role::Supervisor => supervisor::run(&flags).await,
        Role::ApiServer => control_plane::run(&flags).await,
        Role::Node => node::run(&flags).await,
    }
}
