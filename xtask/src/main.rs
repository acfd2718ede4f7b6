//! The chores of this workspace: `cargo xtask test | verify | fix | bench [AREA]`.

mod bench;
mod debian;
mod features;
mod run;
mod tools;

use anyhow::bail;

const USAGE: &str = "usage: cargo xtask <test|verify|fix|bench [area]>

  test    everything that must hold, with the real programs it needs
  verify  formatting, lints, each feature alone, documentation; writes nothing
  fix     formatting and what lints can mend themselves
  bench   measures, prints tables and writes target/bench/*.json";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["test", more @ ..] => run::test(more),
        ["verify"] => run::verify(),
        ["fix"] => run::fix(),
        ["bench", areas @ ..] => bench::bench(areas),
        _ => bail!("{USAGE}"),
    }
}
