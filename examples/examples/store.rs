//! A store to use with etcdctl, and what an operator does with one.
//!
//! `store serve --data-dir D --listen 127.0.0.1:12379` serves etcd's v3 API from a journal; the
//! others work on its directory, most of them while it is served.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kstore::journal::{self, RestoreOptions};
use kstore::{
    EtcdFace, EtcdFaceOptions, JournalOptions, JournalStore, MemoryOptions, Revision, Store as _,
};
use kubrick_examples::program::{asked_to_stop, start};

const USAGE: &str = "usage: store serve   --data-dir D [--listen 127.0.0.1:12379] [--quota BYTES]
       store backup  --data-dir D --file F
       store restore --data-dir D --file F [--bump REVISIONS]
       store verify  --data-dir D
       store compact --data-dir D [--revision R]
       store stat    --data-dir D";

/// The width of a progress bar, in characters.
const WIDTH: usize = 40;

/// What the command line says.
struct Arguments {
    command: String,
    data_dir: PathBuf,
    listen: SocketAddr,
    file: Option<PathBuf>,
    bump: u64,
    revision: Option<u64>,
    quota: Option<u64>,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let command = arguments.next().with_context(|| USAGE.to_owned())?;
        let mut this = Self {
            command,
            data_dir: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 12379)),
            file: None,
            bump: 0,
            revision: None,
            quota: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            let number = || {
                value.parse::<u64>().with_context(|| format!("{name} {value}: not a whole number"))
            };
            match name.as_str() {
                "--data-dir" => this.data_dir = value.into(),
                "--file" => this.file = Some(value.into()),
                "--bump" => this.bump = number()?,
                "--revision" => this.revision = Some(number()?),
                "--quota" => this.quota = Some(number()?),
                "--listen" => {
                    this.listen = value.parse().with_context(|| {
                        format!("--listen {value}: not an address like 127.0.0.1:12379")
                    })?;
                }
                other => bail!("{other} is not known\n{USAGE}"),
            }
        }
        if this.data_dir.as_os_str().is_empty() {
            bail!("--data-dir is needed\n{USAGE}");
        }
        Ok(this)
    }

    fn file(&self) -> anyhow::Result<&PathBuf> {
        self.file.as_ref().with_context(|| format!("{} needs --file", self.command))
    }
}

/// A bar on a terminal; elsewhere nothing, for a log has no use for one.
struct Bar {
    label: &'static str,
    shown: usize,
}

impl Bar {
    fn new(label: &'static str) -> Self {
        Self { label, shown: usize::MAX }
    }

    fn show(&mut self, done: u64, all: u64) {
        let share = (done.min(all) * 100).checked_div(all).unwrap_or(100) as usize;
        if share == self.shown || !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = share;
        let full = share * WIDTH / 100;
        let (bar, rest) = ("#".repeat(full), ".".repeat(WIDTH - full));
        let end = if share == 100 { "\n" } else { "" };
        eprint!("\r{} [{bar}{rest}] {share:3} %{end}", self.label);
        // A bar that cannot be shown is no reason to stop.
        let _ = std::io::stderr().flush();
    }
}

fn main() -> ExitCode {
    start("store", || {
        let arguments = Arguments::parse()?;
        match arguments.command.as_str() {
            "serve" => serve(&arguments),
            "backup" => backup(&arguments),
            "restore" => restore(&arguments),
            "verify" => verify(&arguments),
            "compact" => compact(&arguments),
            "stat" => stat(&arguments),
            other => bail!("{other} is not known\n{USAGE}"),
        }
    })
}

#[tokio::main]
async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut memory = MemoryOptions::default();
    if let Some(quota) = arguments.quota {
        memory = memory.quota_bytes(quota);
    }
    let options = JournalOptions::default().memory(memory);
    let store = JournalStore::with(&arguments.data_dir, options)?;
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", arguments.listen))?;
    let address = listener.local_addr()?;
    println!("serving etcd's API at {address}: etcdctl --endpoints {address} endpoint status");
    let url = format!("http://{address}");
    let face = EtcdFaceOptions::default().name("store").client_urls([url]);
    EtcdFace::with_options(store.clone(), face).serve(listener, asked_to_stop()).await?;
    // The next start reads a snapshot instead of the log.
    tokio::time::timeout(Duration::from_secs(30), store.save()).await??;
    Ok(())
}

fn backup(arguments: &Arguments) -> anyhow::Result<()> {
    let (file, mut bar) = (arguments.file()?, Bar::new("backup"));
    let written = journal::backup(&arguments.data_dir, file, &mut |done, all| bar.show(done, all))?;
    println!(
        "{}: revision {}, {} keys, {} bytes",
        file.display(),
        written.revision,
        written.records,
        written.bytes
    );
    Ok(())
}

fn restore(arguments: &Arguments) -> anyhow::Result<()> {
    let (file, mut bar) = (arguments.file()?, Bar::new("restore"));
    let options = RestoreOptions::default().bump(arguments.bump);
    let progress = &mut |done, all| bar.show(done, all);
    let written = journal::restore(file, &arguments.data_dir, &options, progress)?;
    println!(
        "{}: revision {}, {} keys",
        arguments.data_dir.display(),
        Revision(written.revision.0 + arguments.bump),
        written.records
    );
    Ok(())
}

fn verify(arguments: &Arguments) -> anyhow::Result<()> {
    let mut bar = Bar::new("verify");
    let found = journal::verify(&arguments.data_dir, &mut |done, all| bar.show(done, all))?;
    for damage in &found.damage {
        println!("{damage}");
    }
    println!("{} files, {} frames, {} damaged", found.files, found.frames, found.damage.len());
    if found.damage.is_empty() {
        return Ok(());
    }
    bail!("{} is damaged: restore a backup", arguments.data_dir.display())
}

#[tokio::main]
async fn compact(arguments: &Arguments) -> anyhow::Result<()> {
    let before = journal::inspect(&arguments.data_dir)?;
    let store = JournalStore::open(&arguments.data_dir)?;
    let through = arguments.revision.map_or(store.status().await?.revision, Revision);
    store.compact(through).await?;
    store.save().await?;
    drop(store);
    let after = journal::inspect(&arguments.data_dir)?;
    println!(
        "compacted through {through}: {} bytes in use (before: {}), {} on disk (before: {})",
        after.bytes, before.bytes, after.disk_bytes, before.disk_bytes
    );
    Ok(())
}

fn stat(arguments: &Arguments) -> anyhow::Result<()> {
    let found = journal::inspect(&arguments.data_dir)?;
    println!("revision   {}", found.revision);
    println!("compacted  {}", found.compacted);
    println!("keys       {}", found.keys);
    println!("bytes      {}", found.bytes);
    println!("on disk    {}", found.disk_bytes);
    println!("logs       {}", found.logs);
    println!("snapshots  {}", found.snapshots);
    println!("digest     {:08x}", found.digest);
    Ok(())
}
