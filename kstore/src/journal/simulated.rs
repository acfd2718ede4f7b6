//! A disk in memory that loses power: what was not synced is lost, kept or torn, as a rule says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcore::random::Random;
use parking_lot::{Condvar, Mutex};

use super::disk::{Disk, DiskFile};
use super::frame::SECTOR;

/// Which of the sectors that were not synced a power cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// The first one of each file alone.
    First,
    /// All but the first one of each file.
    AllButFirst,
    /// The last one of each file alone.
    Last,
    /// All but the last one of each file.
    AllButLast,
    /// Every other one.
    EveryOther,
    /// Each with even odds, by this seed.
    Random(u64),
}

impl Keep {
    /// Every rule, with two seeds.
    pub const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Everything,
        Self::First,
        Self::AllButFirst,
        Self::Last,
        Self::AllButLast,
        Self::EveryOther,
        Self::Random(1),
        Self::Random(2),
    ];
}

#[derive(Debug, Clone, Default)]
struct Data {
    synced: Arc<Vec<u8>>,
    now: Arc<Vec<u8>>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: BTreeMap<u64, Data>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    last: u64,
    operations: u64,
    /// The operation from which on everything fails.
    fails_from: Option<u64>,
    room: Option<u64>,
}

type Watcher = Arc<dyn Fn(&SimulatedDisk) + Send + Sync>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
    /// Whether syncs wait.
    held: Mutex<bool>,
    released: Condvar,
    waiting: AtomicUsize,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("files", &self.shared.state.lock().names).finish()
    }
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `watcher` with a copy of the disk before each operation that changes it.
    pub fn on_change(&self, watcher: impl Fn(&Self) + Send + Sync + 'static) {
        *self.shared.watcher.lock() = Some(Arc::new(watcher));
    }

    /// Every operation from the one after `operations` more on fails.
    pub fn fail_after(&self, operations: u64) {
        let mut state = self.shared.state.lock();
        state.fails_from = Some(state.operations + operations);
    }

    /// New files may take so many bytes altogether; `None` for no bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.shared.state.lock().room = bytes;
    }

    /// Syncs wait until they are let go.
    pub fn hold_syncs(&self) {
        *self.shared.held.lock() = true;
    }

    /// How many syncs wait.
    #[must_use]
    pub fn syncs_held(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// Syncs go on.
    pub fn release_syncs(&self) {
        *self.shared.held.lock() = false;
        self.shared.released.notify_all();
    }

    /// The disk after a power cut. Names that were not synced are kept where sectors are.
    #[must_use]
    pub fn after_power_cut(&self, keep: Keep) -> Self {
        let mut state = self.shared.state.lock().clone();
        state.fails_from = None;
        let random = Random::seeded(match keep {
            Keep::Random(seed) => seed,
            _ => 0,
        });
        if keep == Keep::Nothing || (matches!(keep, Keep::Random(_)) && random.chance(0.5)) {
            state.names = state.synced_names.clone();
        } else {
            state.synced_names = state.names.clone();
        }
        for data in state.files.values_mut().filter(|data| !data.dirty.is_empty()) {
            let dirty: Vec<usize> = std::mem::take(&mut data.dirty).into_iter().collect();
            let mut kept = data.synced.to_vec();
            kept.resize(data.now.len().max(kept.len()), 0);
            for (at, sector) in dirty.iter().enumerate() {
                let (first, last) = (at == 0, at + 1 == dirty.len());
                let keeps = match keep {
                    Keep::Nothing => false,
                    Keep::Everything => true,
                    Keep::First => first,
                    Keep::AllButFirst => !first,
                    Keep::Last => last,
                    Keep::AllButLast => !last,
                    Keep::EveryOther => at % 2 == 1,
                    Keep::Random(_) => random.chance(0.5),
                };
                if keeps {
                    let range = sector * SECTOR..((sector + 1) * SECTOR).min(data.now.len());
                    kept[range.clone()].copy_from_slice(&data.now[range]);
                }
            }
            data.synced = Arc::new(kept);
            data.now = Arc::clone(&data.synced);
        }
        Self::over(state)
    }

    /// Whether all is synced, so that a power cut keeps it whatever the rule.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let state = self.shared.state.lock();
        state.names == state.synced_names && state.files.values().all(|data| data.dirty.is_empty())
    }

    /// A copy in which one bit of a file is another one.
    #[must_use]
    pub fn with_flipped_bit(&self, name: &str, byte: usize, bit: u8) -> Self {
        let mut state = self.shared.state.lock().clone();
        if let Some(data) = state.names.get(name).copied().and_then(|id| state.files.get_mut(&id)) {
            let mut bytes = data.now.to_vec();
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
            data.now = Arc::new(bytes);
            data.synced = Arc::clone(&data.now);
        }
        Self::over(state)
    }

    /// The length of a file, if there is one of that name.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<usize> {
        let state = self.shared.state.lock();
        state.names.get(name).and_then(|id| state.files.get(id)).map(|data| data.now.len())
    }

    fn over(state: State) -> Self {
        let shared = Shared { state: Mutex::new(state), ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// One operation: it may fail, and whoever watches sees the disk before it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let watcher = self.shared.watcher.lock().clone();
        if let Some(watcher) = watcher {
            let copy = Self::over(self.shared.state.lock().clone());
            watcher(&copy);
        }
        let mut state = self.shared.state.lock();
        state.operations += 1;
        if state.fails_from.is_some_and(|from| state.operations > from) {
            return Err(io::Error::other("the disk fails"));
        }
        change(&mut state)
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.state.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.shared.state.lock().names.get(name).copied().ok_or_else(missing)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let id = self.change(|state| {
            if let Some(room) = &mut state.room {
                let full = || io::Error::from(io::ErrorKind::StorageFull);
                *room = room.checked_sub(length).ok_or_else(full)?;
            }
            state.last += 1;
            let zeros = Arc::new(vec![0; usize::try_from(length).unwrap_or_default()]);
            let data = Data { synced: Arc::clone(&zeros), now: zeros, dirty: BTreeSet::new() };
            state.files.insert(state.last, data);
            state.names.insert(name.to_owned(), state.last);
            Ok(state.last)
        })?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let id = state.names.remove(from).ok_or_else(missing)?;
            state.names.insert(to.to_owned(), id);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|state| state.names.remove(name).map(drop).ok_or_else(missing))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|state| {
            state.synced_names = state.names.clone();
            // What has no name any more cannot come back.
            let named: BTreeSet<u64> = state.names.values().copied().collect();
            state.files.retain(|id, _| named.contains(id));
            Ok(())
        })
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl DiskFile for SimulatedFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        let state = self.disk.shared.state.lock();
        state.files.get(&self.id).map(|data| data.now.to_vec()).ok_or_else(missing)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.disk.change(|state| {
            let data = state.files.get_mut(&self.id).ok_or_else(missing)?;
            let now = Arc::make_mut(&mut data.now);
            now.resize(now.len().max(offset + bytes.len()), 0);
            now[offset..offset + bytes.len()].copy_from_slice(bytes);
            let last = (offset + bytes.len()).div_ceil(SECTOR);
            data.dirty.extend(offset / SECTOR..last);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut held = self.disk.shared.held.lock();
        while *held {
            self.disk.shared.waiting.fetch_add(1, Ordering::SeqCst);
            self.disk.shared.released.wait(&mut held);
            self.disk.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(held);
        self.disk.change(|state| {
            let data = state.files.get_mut(&self.id).ok_or_else(missing)?;
            data.synced = Arc::clone(&data.now);
            data.dirty.clear();
            Ok(())
        })
    }
}
