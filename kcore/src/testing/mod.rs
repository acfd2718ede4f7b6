//! A small API server in memory, for this crate's own tests: revisions, conflicts, watches,
//! compaction, and faults that are planted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, GetOptions, List, ListOptions, Patch,
    Path, WatchEvent, WatchOptions, WatchStream, WriteOptions,
};
use crate::name::NamespacedName;
use crate::object::{Encoded, Object};
use crate::status::Status;
use crate::{Error, Result};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

type At = (String, NamespacedName);

#[derive(Debug, Default)]
struct State {
    revision: u64,
    compacted: u64,
    uids: u64,
    objects: BTreeMap<At, Object>,
    log: Vec<(String, WatchEvent)>,
    faults: VecDeque<(Verb, Status)>,
    outage: Option<Status>,
    calls: BTreeMap<Verb, u32>,
    /// Events that watches leave out, as (resource, number of the event in the log).
    hidden: Vec<usize>,
}

/// The server. Clones are handles of one.
#[derive(Debug, Clone)]
pub(crate) struct FakeClient {
    state: Arc<Mutex<State>>,
    /// The length of the log, and how often all watches were closed.
    moved: watch::Sender<(usize, u32)>,
    link: watch::Sender<Link>,
}

/// How one client's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Calls fail at once.
    Refused,
    /// Calls get no answer until the link is up again.
    Silent,
    /// Calls reach the server, but get no answer until the link is up again.
    AnswersLost,
}

impl FakeClient {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            moved: watch::Sender::new((0, 0)),
            link: watch::Sender::new(Link::Up),
        }
    }

    /// A client of the same server with a link of its own.
    pub(crate) fn another(&self) -> Self {
        Self { link: watch::Sender::new(Link::Up), ..self.clone() }
    }

    pub(crate) fn link(&self, link: Link) {
        self.link.send_replace(link);
    }

    async fn before(&self) -> Result<()> {
        let mut link = self.link.subscribe();
        // The sender is held by self.
        let _ = link.wait_for(|link| *link != Link::Silent).await;
        match *link.borrow() {
            Link::Refused => Err(Error::Transport("planted".into())),
            _ => Ok(()),
        }
    }

    async fn after(&self) {
        let mut link = self.link.subscribe();
        let _ = link.wait_for(|link| *link != Link::AnswersLost).await;
    }

    pub(crate) fn shared(&self) -> Arc<dyn Client> {
        Arc::new(self.clone())
    }

    /// The next call of `verb` fails.
    pub(crate) fn fail_next(&self, verb: Verb, status: Status) {
        self.state.lock().faults.push_back((verb, status));
    }

    /// Every call fails, until `None`.
    pub(crate) fn outage(&self, status: Option<Status>) {
        self.state.lock().outage = status;
    }

    /// Forgets all history: watches from before get 410.
    pub(crate) fn compact(&self) {
        let mut state = self.state.lock();
        state.revision += 1;
        state.compacted = state.revision;
    }

    /// Ends all running watches.
    pub(crate) fn close_watches(&self) {
        self.moved.send_modify(|moved| moved.1 += 1);
    }

    /// Hides the next event from all watches.
    pub(crate) fn hide_next_event(&self) {
        let mut state = self.state.lock();
        let at = state.log.len();
        state.hidden.push(at);
    }

    pub(crate) fn calls(&self, verb: Verb) -> u32 {
        self.state.lock().calls.get(&verb).copied().unwrap_or_default()
    }

    fn enter(&self, verb: Verb) -> Result<()> {
        let mut state = self.state.lock();
        *state.calls.entry(verb).or_default() += 1;
        if let Some(status) = &state.outage {
            return Err(status.clone().into());
        }
        match state.faults.iter().position(|(fails, _)| *fails == verb) {
            Some(at) => Err(state.faults.remove(at).expect("it was found").1.into()),
            None => Ok(()),
        }
    }

    /// Stores a value and tells the watches.
    fn put(&self, at: At, mut value: Value, added: bool) -> Result<Object> {
        let mut state = self.state.lock();
        state.revision += 1;
        let meta = &mut value["metadata"];
        meta["namespace"] = Value::from(at.1.namespace.clone());
        if meta["uid"].as_str().is_none_or(str::is_empty) {
            state.uids += 1;
            meta["uid"] = Value::from(format!("uid-{}", state.uids));
        }
        let bytes = serde_json::to_vec(&value).expect("a value has a JSON form");
        let object = Object::from_json(&bytes, None)?.at_version(state.revision);
        let event = match added {
            true => WatchEvent::Added(object.clone()),
            false => WatchEvent::Modified(object.clone()),
        };
        state.log.push((at.0.clone(), event));
        state.objects.insert(at, object.clone());
        let length = state.log.len();
        drop(state);
        self.moved.send_modify(|moved| moved.0 = length);
        Ok(object)
    }

    fn find(&self, path: &Path<'_>) -> Result<(At, Object)> {
        let key = NamespacedName::new(path.namespace.unwrap_or_default(), path.name);
        let at = (path.resource.group_resource().into_owned(), key);
        match self.state.lock().objects.get(&at) {
            Some(object) => Ok((at, object.clone())),
            None => Err(not_found(path)),
        }
    }

    /// The events behind the first `seen` ones that a watch shows.
    fn events(&self, seen: usize, path: &Filter, after: u64) -> (usize, Vec<WatchEvent>) {
        let state = self.state.lock();
        let events = state.log.iter().enumerate().skip(seen);
        let shown = events
            .filter(|(at, _)| !state.hidden.contains(at))
            .filter(|(_, (resource, event))| {
                *resource == path.resource && event.resource_version() > after
            })
            .filter(|(_, (_, event))| event.object().is_some_and(|object| path.matches(object)))
            .map(|(_, (_, event))| event.clone());
        (state.log.len(), shown.collect())
    }
}

#[derive(Debug, Clone)]
struct Filter {
    resource: String,
    namespace: Option<String>,
    labels: crate::selector::LabelSelector,
}

impl Filter {
    fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        self.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace)
            && self.labels.matches(&meta.labels)
    }
}

fn not_found(path: &Path<'_>) -> Error {
    Status::not_found(&path.resource.group, &path.resource.plural, path.name).into()
}

fn to_value(body: Body) -> Value {
    match body {
        Body::Typed(typed) => {
            let version = typed.meta().resource_version.clone();
            let encoded = Encoded::from_typed(typed, Vec::new()).expect("it has a JSON form");
            let mut value: Value = serde_json::from_slice(encoded.bytes()).expect("it is JSON");
            value["metadata"]["resourceVersion"] = version.into();
            value
        }
        Body::Json(bytes) => serde_json::from_slice(&bytes).expect("it is JSON"),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (name, member) in members {
        match member {
            Value::Null => drop(target.as_object_mut().expect("it is one").remove(&name)),
            member => merge(&mut target[&name], member),
        }
    }
}

#[async_trait]
impl Client for FakeClient {
    async fn get(&self, path: Path<'_>, _options: &GetOptions) -> Result<Object> {
        self.before().await?;
        self.enter(Verb::Get)?;
        let found = self.find(&path).map(|(_, object)| object);
        self.after().await;
        found
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.before().await?;
        self.enter(Verb::List)?;
        assert!(options.continue_token.is_none() || options.resource_version.is_none());
        let state = self.state.lock();
        let filter = Filter {
            resource: path.resource.group_resource().into_owned(),
            namespace: path.namespace.map(str::to_owned),
            labels: options.labels.clone(),
        };
        let selected = state.objects.iter().filter(|((resource, _), object)| {
            *resource == filter.resource && filter.matches(object)
        });
        let skip: usize =
            options.continue_token.as_deref().map_or(0, |t| t.parse().expect("its own"));
        let limit =
            options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).expect("it is small"));
        let mut items: Vec<_> = selected.map(|(_, object)| object.clone()).skip(skip).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(List {
            resource_version: state.revision,
            items,
            continue_token: more.then(|| (skip + limit).to_string()),
            remaining: None,
        })
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        self.before().await?;
        self.enter(Verb::Watch)?;
        let filter = Filter {
            resource: path.resource.group_resource().into_owned(),
            namespace: path.namespace.map(str::to_owned),
            labels: options.labels.clone(),
        };
        let mut first = Vec::new();
        let after = match (options.send_initial_events, options.resource_version) {
            (false, Some(after)) => after,
            _ => {
                let state = self.state.lock();
                let objects = state.objects.iter().filter(|((resource, _), object)| {
                    *resource == filter.resource && filter.matches(object)
                });
                first.extend(objects.map(|(_, object)| WatchEvent::Added(object.clone())));
                first.push(WatchEvent::Bookmark {
                    resource_version: state.revision,
                    initial_events_end: true,
                });
                state.revision
            }
        };
        let mut moved = self.moved.subscribe();
        let opened = moved.borrow_and_update().1;
        let start = (self.clone(), moved, first, 0_usize, false);
        Ok(WatchStream::new(stream::unfold(start, move |state| {
            let filter = filter.clone();
            async move {
                let (fake, mut moved, first, mut seen, ended) = state;
                if ended {
                    return None;
                }
                if !first.is_empty() {
                    return Some((Ok(first.into()), (fake, moved, Vec::new(), seen, false)));
                }
                loop {
                    if moved.borrow_and_update().1 != opened {
                        return None;
                    }
                    if after < fake.state.lock().compacted && seen == 0 {
                        let gone = Status::expired("too old resource version");
                        return Some((Err(gone.into()), (fake, moved, Vec::new(), 0, true)));
                    }
                    let (length, events) = fake.events(seen, &filter, after);
                    seen = length.max(1);
                    if !events.is_empty() {
                        return Some((Ok(events.into()), (fake, moved, Vec::new(), seen, false)));
                    }
                    moved.changed().await.ok()?;
                }
            }
        })))
    }

    async fn create(&self, path: Path<'_>, body: Body, _options: &WriteOptions) -> Result<Object> {
        self.before().await?;
        self.enter(Verb::Create)?;
        let value = to_value(body);
        let name = value["metadata"]["name"].as_str().expect("it has a name").to_owned();
        let key = NamespacedName::new(path.namespace.unwrap_or_default(), name);
        let at = (path.resource.group_resource().into_owned(), key);
        if self.state.lock().objects.contains_key(&at) {
            let Path { resource, .. } = path;
            let name = &at.1.name;
            return Err(Status::already_exists(&resource.group, &resource.plural, name).into());
        }
        let written = self.put(at, value, true);
        self.after().await;
        written
    }

    async fn update(&self, path: Path<'_>, body: Body, _options: &WriteOptions) -> Result<Object> {
        self.before().await?;
        self.enter(Verb::Update)?;
        let mut value = to_value(body);
        let (at, old) = self.find(&path)?;
        value["metadata"]["uid"] = old.meta().uid.clone().into();
        if let Some(version) = value["metadata"]["resourceVersion"].as_str()
            && version != old.resource_version().to_string()
        {
            let Path { resource, name, .. } = path;
            let why = "the object has been modified";
            return Err(Status::conflict(&resource.group, &resource.plural, name, why).into());
        }
        let written = self.put(at, value, false);
        self.after().await;
        written
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, _: &WriteOptions) -> Result<Object> {
        self.before().await?;
        self.enter(Verb::Patch)?;
        let (Patch::Merge(bytes) | Patch::Strategic(bytes)) = patch else {
            panic!("this fake knows merge patches alone");
        };
        let (at, old) = self.find(&path)?;
        let mut value: Value = serde_json::from_slice(&old.to_json()).expect("it is JSON");
        merge(&mut value, serde_json::from_slice(&bytes).expect("it is JSON"));
        self.put(at, value, false)
    }

    async fn delete(&self, path: Path<'_>, _options: &DeleteOptions) -> Result<Deleted> {
        self.before().await?;
        self.enter(Verb::Delete)?;
        let (at, old) = self.find(&path)?;
        let mut state = self.state.lock();
        state.revision += 1;
        state.objects.remove(&at);
        let event = WatchEvent::Deleted(old.at_version(state.revision));
        state.log.push((at.0, event));
        let length = state.log.len();
        drop(state);
        self.moved.send_modify(|moved| moved.0 = length);
        Ok(Deleted::Gone(Box::new(Status::success())))
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        let gone = self.list(path, list).await?;
        for object in &gone.items {
            let meta = object.meta();
            let path = Path::object(path.resource, Some(&meta.namespace), &meta.name);
            self.delete(path, options).await?;
        }
        Ok(gone)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        Ok(Vec::new())
    }
}
