//! What a scripted runtime remembers: a few hundred bytes a pod, and no task.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use kcore::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Behavior;
use crate::runtime::{
    ContainerConfig, ContainerEvent, ContainerEventKind, ContainerId, ContainerState,
    ContainerStatus, ContainerSummary, Exit, MAX_GRACE, SandboxConfig, SandboxId, SandboxState,
    SandboxStatus, SandboxSummary,
};

/// Events that a subscriber may lag behind.
const EVENT_CAPACITY: usize = 1024;
const KILL: i32 = 9;

/// Names and values whose names are shared: those of two pods are the same.
type Pairs = Box<[(Arc<str>, Box<str>)]>;

#[derive(Debug)]
pub(super) struct Sandbox {
    name: Box<str>,
    namespace: Arc<str>,
    pub(super) uid: Box<str>,
    pub(super) attempt: u32,
    pub(super) state: SandboxState,
    created_at: Timestamp,
    ip: Option<Ipv4Addr>,
    labels: Pairs,
    annotations: Pairs,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) sandbox: u64,
    pub(super) name: Box<str>,
    pub(super) attempt: u32,
    image: Arc<str>,
    labels: Pairs,
    annotations: Pairs,
    created_at: Timestamp,
    pub(super) behavior: Arc<Behavior>,
    pub(super) started: Option<Instant>,
    /// When it will end, and how.
    ending: Option<(Instant, i32)>,
    exit: Option<Box<Exit>>,
    /// What probes find, whatever the script says.
    pub(super) healthy: Option<bool>,
}

impl Container {
    pub(super) fn state(&self) -> ContainerState {
        match (&self.exit, self.started) {
            (Some(_), _) => ContainerState::Exited,
            (None, Some(_)) => ContainerState::Running,
            (None, None) => ContainerState::Created,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Subscriber {
    pub(super) queue: Mutex<(VecDeque<ContainerEvent>, u64)>,
    pub(super) changed: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Clock,
    next_address: u32,
    pub(super) images: BTreeSet<Arc<str>>,
    pub(super) sandboxes: BTreeMap<u64, Sandbox>,
    pub(super) containers: BTreeMap<u64, Container>,
    /// Who ends when.
    timers: BTreeSet<(Instant, u64)>,
    words: BTreeSet<Arc<str>>,
    free_addresses: BTreeSet<u32>,
    subscribers: Vec<Weak<Subscriber>>,
    last_id: u64,
}

pub(super) fn sandbox_id(number: u64) -> SandboxId {
    format!("{number:016x}").into()
}

pub(super) fn container_id(number: u64) -> ContainerId {
    format!("{number:016x}").into()
}

pub(super) fn number(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok().filter(|_| id.len() == 16)
}

fn expand(pairs: &Pairs) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

impl State {
    pub(super) fn new(clock: Clock, first_address: Ipv4Addr) -> Self {
        Self {
            clock,
            next_address: first_address.to_bits(),
            images: BTreeSet::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            timers: BTreeSet::new(),
            words: BTreeSet::new(),
            free_addresses: BTreeSet::new(),
            subscribers: Vec::new(),
            last_id: 0,
        }
    }

    /// Does what is due, and says when more will be.
    pub(super) fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                return Some(at);
            }
            self.timers.pop_first();
            let ending = self.containers.get(&id).and_then(|container| container.ending);
            if let Some((_, code)) = ending.filter(|(planned, _)| *planned == at) {
                self.end(id, exit(code, self.clock.at(at)));
            }
        }
        None
    }

    pub(super) fn subscribe(&mut self) -> Arc<Subscriber> {
        let subscriber = Arc::new(Subscriber::default());
        self.subscribers.retain(|other| other.strong_count() > 0);
        self.subscribers.push(Arc::downgrade(&subscriber));
        subscriber
    }

    pub(super) fn add_sandbox(&mut self, config: &SandboxConfig) -> u64 {
        let ip = (!config.host_network).then(|| {
            let address = self.free_addresses.pop_first().unwrap_or(self.next_address);
            if address == self.next_address {
                self.next_address = address.wrapping_add(1);
            }
            Ipv4Addr::from_bits(address)
        });
        let sandbox = Sandbox {
            name: config.name.as_str().into(),
            namespace: self.word(&config.namespace),
            uid: config.uid.as_str().into(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: self.clock.now(),
            ip,
            labels: self.pairs(&config.labels),
            annotations: self.pairs(&config.annotations),
        };
        let id = self.next_id();
        self.sandboxes.insert(id, sandbox);
        id
    }

    pub(super) fn remove_sandbox(&mut self, id: u64) {
        for container in self.containers_of(id) {
            self.remove_container(container);
        }
        if let Some(ip) = self.sandboxes.remove(&id).and_then(|sandbox| sandbox.ip) {
            self.free_addresses.insert(ip.to_bits());
        }
    }

    pub(super) fn containers_of(&self, sandbox: u64) -> Vec<u64> {
        let of_it = self.containers.iter().filter(|(_, container)| container.sandbox == sandbox);
        of_it.map(|(id, _)| *id).collect()
    }

    pub(super) fn add_container(
        &mut self,
        sandbox: u64,
        config: &ContainerConfig,
        behavior: Arc<Behavior>,
    ) -> u64 {
        let container = Container {
            sandbox,
            name: config.name.as_str().into(),
            attempt: config.attempt,
            image: self.word(&config.image),
            labels: self.pairs(&config.labels),
            annotations: self.pairs(&config.annotations),
            created_at: self.clock.now(),
            behavior,
            started: None,
            ending: None,
            exit: None,
            healthy: None,
        };
        let id = self.next_id();
        self.containers.insert(id, container);
        self.emit(id, ContainerEventKind::Created);
        id
    }

    /// Starts a created container, or fails it as its script says.
    pub(super) fn start(&mut self, id: u64) -> Result<(), String> {
        let Some(container) = self.containers.get_mut(&id) else { return Ok(()) };
        if let Some(message) = container.behavior.start_error.clone() {
            self.end(id, Exit::start_error(&message, self.clock.now()));
            return Err(message);
        }
        let now = Instant::now();
        container.started = Some(now);
        let ending = container.behavior.exit_after.map(|after| now + after);
        let code = container.behavior.exit_code;
        self.emit(id, ContainerEventKind::Started);
        if let Some(at) = ending {
            self.plan_end(id, at, code);
        }
        self.advance();
        Ok(())
    }

    /// Asks a running container to end; it ends when its script says, or is killed after `grace`.
    pub(super) fn request_end(&mut self, id: u64, grace: Duration) {
        let Some(container) = self.containers.get(&id) else { return };
        if container.state() != ContainerState::Running {
            return;
        }
        let grace = grace.min(MAX_GRACE);
        let on_request = container.behavior.on_request.filter(|ends| ends.after < grace);
        let (after, code) = on_request.map_or((grace, 128 + KILL), |e| (e.after, e.exit_code));
        self.plan_end(id, Instant::now() + after, code);
        self.advance();
    }

    /// Plans an end, unless an earlier one is planned.
    pub(super) fn plan_end(&mut self, id: u64, at: Instant, code: i32) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if let Some((earlier, _)) = container.ending {
            if earlier <= at {
                return;
            }
            self.timers.remove(&(earlier, id));
        }
        container.ending = Some((at, code));
        self.timers.insert((at, id));
        for subscriber in self.subscribers.iter().filter_map(Weak::upgrade) {
            subscriber.changed.notify_one();
        }
    }

    /// When a container will end, if that is planned.
    pub(super) fn end_of(&self, id: u64) -> Option<Instant> {
        self.containers.get(&id)?.ending.map(|(at, _)| at)
    }

    fn end(&mut self, id: u64, exit: Exit) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        container.exit = Some(Box::new(exit));
        self.emit(id, ContainerEventKind::Stopped);
    }

    pub(super) fn remove_container(&mut self, id: u64) {
        let Some(container) = self.containers.get(&id) else { return };
        if container.state() == ContainerState::Running {
            self.end(id, exit(128 + KILL, self.clock.now()));
        }
        self.emit(id, ContainerEventKind::Deleted);
        if let Some((at, _)) = self.containers.remove(&id).and_then(|container| container.ending) {
            self.timers.remove(&(at, id));
        }
    }

    fn emit(&self, id: u64, kind: ContainerEventKind) {
        if self.subscribers.is_empty() {
            return;
        }
        let Some(container) = self.containers.get(&id) else { return };
        let sandbox = sandbox_id(container.sandbox);
        let event = ContainerEvent::new(container_id(id), sandbox, kind, self.clock.now());
        for subscriber in self.subscribers.iter().filter_map(Weak::upgrade) {
            let mut queue = subscriber.queue.lock();
            if queue.0.len() == EVENT_CAPACITY {
                queue.0.pop_front();
                queue.1 += 1;
            }
            queue.0.push_back(event.clone());
            drop(queue);
            subscriber.changed.notify_one();
        }
    }

    pub(super) fn sandbox_status(&self, id: u64) -> Option<SandboxStatus> {
        let sandbox = self.sandboxes.get(&id)?;
        let config = SandboxConfig::default()
            .name(&*sandbox.name)
            .namespace(&*sandbox.namespace)
            .uid(&*sandbox.uid)
            .attempt(sandbox.attempt)
            .labels(expand(&sandbox.labels))
            .annotations(expand(&sandbox.annotations));
        let (state, created_at) = (sandbox.state, sandbox.created_at);
        let summary = SandboxSummary::new(sandbox_id(id), &config, state, created_at);
        Some(SandboxStatus::new(summary, sandbox.ip.map(IpAddr::V4).into_iter().collect()))
    }

    pub(super) fn container_summary(&self, id: u64) -> Option<ContainerSummary> {
        let container = self.containers.get(&id)?;
        let config = ContainerConfig::default()
            .name(&*container.name)
            .attempt(container.attempt)
            .image(&*container.image)
            .labels(expand(&container.labels))
            .annotations(expand(&container.annotations));
        let (state, created_at) = (container.state(), container.created_at);
        let sandbox = sandbox_id(container.sandbox);
        Some(ContainerSummary::new(container_id(id), sandbox, &config, state, created_at))
    }

    pub(super) fn container_status(&self, id: u64) -> Option<ContainerStatus> {
        let container = self.containers.get(&id)?;
        let summary = self.container_summary(id)?;
        let image = summary.image.clone();
        Some(
            ContainerStatus::new(summary, image)
                .started_at(container.started.map(|at| self.clock.at(at)))
                .exit(container.exit.as_deref().cloned()),
        )
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.words.get(text) {
            return word.clone();
        }
        let word: Arc<str> = text.into();
        self.words.insert(word.clone());
        word
    }

    fn pairs(&mut self, pairs: &BTreeMap<String, String>) -> Pairs {
        pairs.iter().map(|(name, value)| (self.word(name), value.as_str().into())).collect()
    }
}

fn exit(code: i32, at: Timestamp) -> Exit {
    match code {
        signal @ 129..=192 => Exit::with_signal(signal - 128, at),
        code => Exit::with_code(code, at),
    }
}
