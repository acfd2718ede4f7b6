//! The journal passes the suite on a real and on a simulated disk, and survives what it must.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and say counts"
)]

mod evidence;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evidence::say;
use kcore::random::Random;
use kstore::conformance::{Capabilities, suite};
use kstore::journal::disk::{Disk, DiskFile};
use kstore::journal::simulated::{Keep, SimulatedDisk};
use kstore::{
    Durability, Error, JournalOptions, JournalStore, KeyRange, MemoryOptions, Op, RangeOptions,
    Record, Revision, Store, StoreExt, Txn,
};
use parking_lot::Mutex;

const QUOTA: u64 = 1 << 20;
const BACKLOG: usize = 256;
const MAX_VALUE: usize = 128 << 10;

fn capabilities() -> Capabilities {
    Capabilities::default().leases().quota(QUOTA).watch_backlog(BACKLOG).max_value_bytes(MAX_VALUE)
}

fn options() -> JournalOptions {
    let memory = MemoryOptions::default()
        .quota_bytes(QUOTA)
        .watch_backlog(BACKLOG)
        .max_value_bytes(MAX_VALUE);
    JournalOptions::default().memory(memory).segment_bytes(1 << 20).snapshot_bytes(2 << 20)
}

fn in_directory() -> (tempfile::TempDir, JournalStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = JournalStore::with(directory.path().join("journal"), options()).unwrap();
    (directory, store)
}

fn durable() -> Capabilities {
    capabilities().durable(|directory: &tempfile::TempDir| {
        let place = directory.path().join("journal");
        async move { JournalStore::with(place, options()).unwrap() }
    })
}

suite!(journal_store, durable(), || async { in_directory() });
suite!(boxed_journal, durable(), || async {
    let (guard, store) = in_directory();
    (guard, Box::new(store) as Box<dyn Store>)
});
fn on(disk: SimulatedDisk) -> JournalStore {
    JournalStore::on(disk, options().random(Random::seeded(1)).inline()).unwrap()
}

// Closed by a power cut that loses all that it can.
fn simulated_and_durable() -> Capabilities {
    capabilities().virtual_time().durable(|disk: &Mutex<SimulatedDisk>| {
        let mut disk = disk.lock();
        *disk = disk.after_power_cut(Keep::Nothing);
        let store = on(disk.clone());
        async move { store }
    })
}

suite!(simulated_journal, simulated_and_durable(), || async {
    let disk = SimulatedDisk::new();
    (Mutex::new(disk.clone()), on(disk))
});
suite!(shared_journal, simulated_and_durable(), || async {
    let disk = SimulatedDisk::new();
    (Mutex::new(disk.clone()), Arc::new(on(disk)) as Arc<dyn Store>)
});

/// What a store holds, in full.
fn contents(store: &dyn Store) -> (Revision, Vec<Record>) {
    // Reads never wait.
    let page = store.range(KeyRange::all(), RangeOptions::default());
    let page = futures::FutureExt::now_or_never(page).unwrap().unwrap();
    (page.revision, page.records)
}

/// One step of a recorded trace, and what a crash may do to it.
async fn step(store: &dyn Store, random: &Random, mix: Mix) -> Durability {
    let key = || format!("k{}", random.below(12));
    let length = random.below(1200);
    let value = vec![u8::try_from(random.below(256)).unwrap(); usize::try_from(length).unwrap()];
    let volatile = mix == Mix::Volatile && random.chance(0.5);
    match random.below(10) {
        _ if volatile => {
            let put = Op::put(format!("volatile{}", random.below(3)), value);
            let txn = Txn::default().and_then(put).durability(Durability::Volatile);
            store.txn(txn).await.unwrap();
            return Durability::Volatile;
        }
        0 => drop(store.delete(key()).await.unwrap()),
        1 => {
            let txn = Txn::default().and_then(Op::put("a", value)).and_then(Op::delete(key()));
            store.txn(txn).await.unwrap();
        }
        2 => {
            let at = store.status().await.unwrap().revision;
            store.compact(at).await.unwrap();
        }
        _ => drop(store.put(key(), value).await.unwrap()),
    }
    Durability::Durable
}

/// What a trace is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    Durable,
    Volatile,
}

/// What each revision of a trace holds, and what was promised and shown of it so far.
struct Oracle {
    expected: BTreeMap<u64, Vec<Record>>,
    mix: Mix,
    promised: AtomicU64,
    shown: AtomicU64,
    tried: AtomicU64,
}

impl Oracle {
    /// Runs the trace in memory, where nothing is lost.
    fn new(seed: u64, steps: u64, mix: Mix) -> Self {
        let (store, random) = (kstore::MemoryStore::new(), Random::seeded(seed));
        let mut expected = BTreeMap::from([(Revision::FIRST.0, Vec::new())]);
        for _ in 0..steps {
            futures::executor::block_on(step(&store, &random, mix));
            let (revision, records) = contents(&store);
            expected.insert(revision.0, records);
        }
        let first = || AtomicU64::new(Revision::FIRST.0);
        Self { expected, mix, promised: first(), shown: first(), tried: AtomicU64::new(0) }
    }

    /// S1, S2, S3, S12: what is opened after a power cut is the state of one revision, and not of
    /// an older one than was promised; no revision that was shown can come again.
    fn check(&self, disk: &SimulatedDisk, options: &JournalOptions) {
        let promised = self.promised.load(Ordering::Relaxed);
        let shown = self.shown.load(Ordering::Relaxed);
        // The step that was cut may be there as a whole.
        let begun = self.expected.range(shown + 1..).next().map_or(shown, |(next, _)| *next);
        // Where all is synced the rules keep the same.
        let rules = if disk.is_settled() { &Keep::ALL[..1] } else { &Keep::ALL[..] };
        for keep in rules.iter().copied() {
            let cut = disk.after_power_cut(keep);
            let store = match JournalStore::on(cut, options.clone()) {
                Ok(store) => store,
                Err(error) => panic!("after a power cut that keeps {keep:?}: {error}"),
            };
            let (revision, records) = contents(&store);
            assert!(revision.0 >= shown, "{keep:?}: {shown} was shown, {revision} is left");
            match self.expected.get(&revision.0) {
                Some(expected) => {
                    assert!(revision.0 <= begun, "{keep:?}: {revision} was never begun");
                    assert_eq!(records, *expected, "{keep:?} at {revision}");
                }
                None => {
                    assert_eq!(self.mix, Mix::Volatile, "{keep:?}: {revision} never was");
                    let found = self.expected.range(promised..=begun);
                    let found = found.filter(|(_, expected)| **expected == records).count();
                    assert!(found > 0, "{keep:?}: {promised} was promised, {records:?} is left");
                }
            }
            self.tried.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn count(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs a trace on a disk that a bug may be planted in, and cuts the power before each of its
/// operations. Returns how many cuts were tried.
fn enumerate<D: Disk>(
    seed: u64,
    steps: u64,
    mix: Mix,
    plant: impl FnOnce(SimulatedDisk) -> D,
) -> u64 {
    let options = JournalOptions::default()
        .segment_bytes(16 << 10)
        .snapshot_bytes(12 << 10)
        .random(Random::seeded(seed))
        .inline();
    let (disk, oracle) = (SimulatedDisk::new(), Arc::new(Oracle::new(seed, steps, mix)));
    disk.on_change({
        let (oracle, options) = (Arc::clone(&oracle), options.clone());
        move |disk| oracle.check(disk, &options)
    });
    let store = JournalStore::on(plant(disk.clone()), options.clone()).unwrap();
    let random = Random::seeded(seed);
    for _ in 0..steps {
        let durability = futures::executor::block_on(step(&store, &random, mix));
        let revision = contents(&store).0;
        let before = oracle.shown.swap(revision.0, Ordering::Relaxed);
        // One that changes nothing promises nothing.
        if durability == Durability::Durable && revision.0 > before {
            oracle.promised.store(revision.0, Ordering::Relaxed);
        }
    }
    let last = contents(&store);
    drop(store);
    // Closed well, it goes on where it ended, whatever the power does now.
    let again = JournalStore::on(disk.after_power_cut(Keep::Nothing), options).unwrap();
    assert_eq!(contents(&again), last);
    oracle.tried.load(Ordering::Relaxed)
}

/// S1, S12: every point at which power can go, with every rule for what is kept. Every other
/// trace, so that halves run beside each other.
fn cut_everywhere(mix: Mix, half: u64) {
    let (traces, steps) = (count("KUBRICK_CRASH_TRACES", 100), count("KUBRICK_CRASH_STEPS", 1000));
    let seeds = (0..traces.max(2)).filter(|seed| seed % 2 == half);
    let tried: u64 = seeds.map(|seed| enumerate(seed, steps, mix, |disk| disk)).sum();
    let traces = traces.max(2) / 2;
    say(format!("{tried} power cuts over {traces} traces of {steps} operations, {mix:?}"));
    assert!(tried > steps);
}

#[test]
fn no_power_cut_loses_what_was_promised() {
    cut_everywhere(Mix::Durable, 0);
}

#[test]
fn no_power_cut_loses_what_was_promised_in_other_traces() {
    cut_everywhere(Mix::Durable, 1);
}

#[test]
fn no_power_cut_shows_volatile_revisions_again() {
    cut_everywhere(Mix::Volatile, 0);
}

#[test]
fn no_power_cut_shows_volatile_revisions_again_in_other_traces() {
    cut_everywhere(Mix::Volatile, 1);
}

/// What a careless journal forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgets {
    /// To sync files: it replies before the sync.
    Files,
    /// To sync the directory after it made or renamed something.
    Directory,
    /// To sync a file before it is given its name.
    Snapshots,
}

/// A disk on which something is not done that was asked for.
#[derive(Debug)]
struct Careless {
    disk: SimulatedDisk,
    forgets: Forgets,
}

#[derive(Debug)]
struct CarelessFile {
    file: Box<dyn DiskFile>,
    syncs: bool,
}

impl Careless {
    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let syncs = match self.forgets {
            Forgets::Files => false,
            Forgets::Directory => true,
            Forgets::Snapshots => !name.starts_with("snapshot"),
        };
        Box::new(CarelessFile { file, syncs })
    }
}

impl Disk for Careless {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name, length)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        if self.forgets == Forgets::Directory { Ok(()) } else { self.disk.sync() }
    }
    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

impl DiskFile for CarelessFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        self.file.read()
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        if self.syncs { self.file.sync() } else { Ok(()) }
    }
}

/// The enumeration finds what it is for.
#[test]
fn planted_bugs_are_caught() {
    for forgets in [Forgets::Files, Forgets::Directory, Forgets::Snapshots] {
        let run = move || enumerate(1, 60, Mix::Durable, |disk| Careless { disk, forgets });
        let caught = std::panic::catch_unwind(run);
        assert!(caught.is_err(), "a journal that forgets {forgets:?} was not caught");
    }
    say("3 careless disks caught by power cuts");
}

/// S8: a full disk refuses what needs room, loses nothing, and goes on when there is room again.
#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = SimulatedDisk::new();
    let options = JournalOptions::default().segment_bytes(64 << 10).inline();
    let store = JournalStore::on(disk.clone(), options.clone()).unwrap();
    disk.set_room(Some(0));
    let (mut written, mut refused) = (0, None);
    for n in 0..1000 {
        match store.put(format!("k{n}"), vec![7; 1000]).await {
            Ok(_) => written += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.unwrap();
    assert!(refused.to_string().contains("free space on its disk"), "{refused}");
    assert!(!refused.is_ambiguous(), "nothing was done");
    assert_eq!(store.status().await.unwrap().keys, written, "reads go on");
    store.delete("k0").await.unwrap();
    store.compact(store.status().await.unwrap().revision).await.unwrap();
    disk.set_room(None);
    store.put("more", "1").await.unwrap();
    drop(store);
    let store = JournalStore::on(disk.after_power_cut(Keep::Nothing), options).unwrap();
    assert_eq!(store.status().await.unwrap().keys, written);
}

/// Set in the child that is killed: where its journal is.
const CHILD: &str = "KUBRICK_JOURNAL_CHILD";

/// Not a test of its own: the child of the next one, which writes until it is killed and says
/// what it was promised.
#[test]
fn child_that_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = JournalStore::with(directory, options()).unwrap();
    runtime.block_on(async {
        let writers = (0..8).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..u64::MAX {
                    let value = format!("{writer}.{n}");
                    store.put(format!("k{writer}"), value.clone()).await.unwrap();
                    println!("promised {value}");
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

/// S1: a process that is killed loses nothing that it promised.
#[test]
fn a_killed_process_loses_nothing_it_promised() {
    use std::io::BufRead as _;
    let directory = tempfile::tempdir().unwrap();
    let kills = count("KUBRICK_KILLS", 200);
    let mut promised: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 0..kills {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let Ok(line) = line else { break };
            let Some((_, value)) = line.split_once("promised ") else { continue };
            let Some((writer, n)) = value.split_once('.') else { continue };
            // The last line may have been cut.
            if let Ok(n) = n.parse() {
                promised.insert(format!("k{writer}"), n);
            }
            seen += 1;
            if seen == 50 + 20 * (kill % 10) {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = JournalStore::with(directory.path(), options()).unwrap();
        let found: BTreeMap<String, u64> = contents(&store)
            .1
            .into_iter()
            .map(|record| {
                let value = String::from_utf8(record.value.bytes.to_vec()).unwrap();
                let (_, n) = value.split_once('.').unwrap();
                (String::from_utf8(record.key.to_vec()).unwrap(), n.parse().unwrap())
            })
            .collect();
        for (key, n) in &promised {
            assert!(found.get(key).is_some_and(|found| found >= n), "{key}: {n} was promised");
        }
        // Each child begins with nothing promised, over what its predecessor left.
        promised.clear();
    }
    say(format!("{kills} processes killed, nothing lost"));
}

/// S10: every bit of the log, flipped, is refused, or was never a promise.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let options = JournalOptions::default().segment_bytes(4096).random(Random::seeded(1)).inline();
    let disk = SimulatedDisk::new();
    let store = JournalStore::on(disk.clone(), options.clone()).unwrap();
    for n in 0..4 {
        futures::executor::block_on(store.put(format!("k{n}"), vec![0; 300])).unwrap();
    }
    let expected = contents(&store);
    drop(store);
    let name = "log-00000000000000000001";
    let (mut refused, mut harmless) = (0, 0);
    let bits = (0..disk.length(name).unwrap()).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
    for (byte, bit) in bits {
        let flipped = disk.with_flipped_bit(name, byte, bit);
        match JournalStore::on(flipped, options.clone()) {
            Ok(store) => {
                assert_eq!(contents(&store), expected, "bit {bit} of byte {byte} was lost");
                harmless += 1;
            }
            Err(Error::Damaged { file, .. }) => {
                assert_eq!(file, name);
                refused += 1;
            }
            Err(error) => panic!("byte {byte}: {error}"),
        }
    }
    say(format!("{refused} flipped bits refused, {harmless} where nothing was promised"));
    assert!(refused > 8 * 2048, "{refused}");
}

/// S2: what is not synced is shown to nobody.
#[tokio::test]
async fn nothing_is_shown_before_it_is_synced() {
    let disk = SimulatedDisk::new();
    let store = JournalStore::on(disk.clone(), options()).unwrap();
    store.put("a", "1").await.unwrap();
    let mut watch = store.watch(KeyRange::all(), Default::default()).await.unwrap();
    disk.hold_syncs();
    let (writer, second) = (store.clone(), store.clone());
    let write = tokio::spawn(async move { writer.put("a", "2").await });
    // A transaction that reads what is not durable waits for it, too.
    let read = tokio::spawn(async move {
        second.txn(Txn::default().and_then(Op::range(KeyRange::all(), Default::default()))).await
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!write.is_finished());
    assert_eq!(store.get("a").await.unwrap().unwrap().value.bytes, "1");
    assert_eq!(store.status().await.unwrap().revision, Revision(2));
    let told = futures::FutureExt::now_or_never(futures::StreamExt::next(&mut watch));
    assert!(told.is_none(), "{told:?}");
    disk.release_syncs();
    assert_eq!(write.await.unwrap().unwrap(), Revision(3));
    assert_eq!(store.get("a").await.unwrap().unwrap().value.bytes, "2");
    assert!(futures::StreamExt::next(&mut watch).await.unwrap().is_ok());
    read.await.unwrap().unwrap();
}

/// What is volatile is answered and shown while a sync is on its way, but not before what came
/// before it.
#[tokio::test]
async fn what_is_volatile_waits_for_no_sync_of_its_own() {
    let disk = SimulatedDisk::new();
    let store = JournalStore::on(disk.clone(), options()).unwrap();
    let volatile = |value: &'static str| {
        Txn::default().and_then(Op::put("v", value)).durability(Durability::Volatile)
    };
    // The first one reserves revisions, and that is synced.
    store.txn(volatile("1")).await.unwrap();
    disk.hold_syncs();
    let shown = store.txn(volatile("2")).await.unwrap().revision;
    assert_eq!(store.get("v").await.unwrap().unwrap().modified, shown);
    let writer = store.clone();
    let durable = tokio::spawn(async move { writer.put("d", "1").await });
    while store.get("v").await.unwrap().unwrap().value.bytes == "2" && !durable.is_finished() {
        // Pushed behind the durable one at the latest in the second round.
        let second = store.clone();
        let behind = tokio::spawn(async move { second.txn(volatile("3")).await });
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if !behind.is_finished() {
            disk.release_syncs();
            behind.await.unwrap().unwrap();
        }
    }
    durable.await.unwrap().unwrap();
    assert_eq!(store.get("v").await.unwrap().unwrap().value.bytes, "3");
}

/// S3: after a crash no revision comes again, and whoever watched from before it hears of that.
#[tokio::test]
async fn a_crash_skips_what_was_reserved_for_what_it_lost() {
    let (disk, options) = (SimulatedDisk::new(), options().random(Random::seeded(1)).inline());
    let store = JournalStore::on(disk.clone(), options.clone()).unwrap();
    store.put("d", "1").await.unwrap();
    let volatile = Txn::default().and_then(Op::put("v", "1")).durability(Durability::Volatile);
    store.txn(volatile.clone()).await.unwrap();
    let lost = store.txn(volatile).await.unwrap().revision;
    let store = JournalStore::on(disk.after_power_cut(Keep::Everything), options).unwrap();
    let record = store.get("v").await.unwrap().unwrap();
    assert!(record.modified < lost, "the second one was lost");
    let revision = store.put("d", "2").await.unwrap();
    assert!(revision > lost, "{revision} comes after {lost}");
    let late = store.watch(KeyRange::all(), kstore::WatchOptions::default().after(lost)).await;
    assert!(matches!(late, Err(Error::Compacted { .. })), "{late:?}");
}

/// What callers pushed and did not wait for is bounded.
#[tokio::test]
async fn what_waits_for_a_stalled_disk_is_bounded() {
    let disk = SimulatedDisk::new();
    let memory = MemoryOptions::default();
    let store = JournalStore::on(disk.clone(), options().memory(memory)).unwrap();
    store.put("a", "1").await.unwrap();
    disk.hold_syncs();
    let value = kstore::Bytes::from(vec![7; 1 << 20]);
    let mut pushed = 0;
    for n in 0..100 {
        let put = store.put(format!("k{n}"), value.clone());
        // Its caller gives up.
        drop(futures::FutureExt::now_or_never(put));
        pushed = n;
    }
    assert_eq!(pushed, 99);
    disk.release_syncs();
    store.put("b", "1").await.unwrap();
    let keys = store.status().await.unwrap().keys;
    assert!((60..80).contains(&keys), "{keys} were taken in");
}

/// S9: a sync that failed is never tried again; what is durable can still be read.
#[tokio::test]
async fn a_failed_sync_ends_all_writing() {
    let disk = SimulatedDisk::new();
    let store = JournalStore::on(disk.clone(), options()).unwrap();
    store.put("a", "1").await.unwrap();
    disk.fail_after(1);
    let failed = store.put("a", "2").await.unwrap_err();
    assert!(failed.is_ambiguous(), "{failed}");
    assert!(store.put("b", "3").await.unwrap_err().is_ambiguous());
    let record = store.get("a").await.unwrap().unwrap();
    assert_eq!(record.value.bytes, "1", "S2: nobody is shown what may be lost");
    drop(store);
    let store = JournalStore::on(disk.after_power_cut(Keep::Nothing), options()).unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value.bytes, "1");
}

/// S10: where a journal has to be and is not, nothing is begun.
#[tokio::test]
async fn an_empty_directory_is_refused_where_a_journal_has_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let existing = || JournalStore::with(directory.path(), options().existing());
    let missing = existing().unwrap_err();
    assert!(missing.to_string().contains("mount its disk"), "{missing}");
    assert!(matches!(existing().unwrap_err(), Error::Missing { .. }), "and nothing was made");
    JournalStore::open(directory.path()).unwrap().put("a", "1").await.unwrap();
    assert!(existing().unwrap().get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_second_opener_and_foreign_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = JournalStore::open(directory.path()).unwrap();
    let second = JournalStore::open(directory.path()).unwrap_err();
    assert!(matches!(&second, Error::InUse { place } if place.contains("tmp")), "{second}");
    drop(store);
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    let foreign = JournalStore::open(directory.path()).unwrap_err();
    assert!(foreign.to_string().contains("notes.txt"), "{foreign}");
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || JournalStore::with(directory.path(), options()).unwrap();
    let store = open();
    let lease = store.leases().unwrap().grant(std::time::Duration::from_secs(600)).await.unwrap();
    let held = Txn::default().and_then(Op::put_with_lease("held", "1", lease));
    store.txn(held).await.unwrap();
    for n in 0..2000 {
        store.put(format!("k{}", n % 50), vec![7; 2000]).await.unwrap();
        if n % 100 == 0 {
            store.compact(store.status().await.unwrap().revision).await.unwrap();
        }
    }
    store.delete("k7").await.unwrap();
    let before = contents(&store);
    drop(store);
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().collect();
    let names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    assert!(files.len() < 8, "S8: what a snapshot replaces is removed: {names:?}");
    let store = open();
    assert_eq!(contents(&store), before);
    let left = store.leases().unwrap().time_to_live(lease).await.unwrap();
    assert_eq!(left.keys, ["held"]);
    // S3: no revision comes twice.
    assert_eq!(store.put("new", "1").await.unwrap(), before.0.next());
    store.leases().unwrap().revoke(lease).await.unwrap();
    drop(store);
    assert!(open().get("held").await.unwrap().is_none());
}
