//! Decides what becomes of an occurrence: a new event, a higher count, or nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::time::Instant;

use super::lru::Lru;
use crate::queue::TokenBucket;
use crate::random::Random;

/// So many different messages of one sort about one object become one event.
pub const AGGREGATE_AFTER: usize = 10;
/// Messages count together if no two in a row are further apart than this.
pub const AGGREGATE_WITHIN: Duration = Duration::from_secs(600);
/// So many events about one object are let through at once.
pub const SPAM_BURST: u32 = 25;
/// Events a second about one object that are let through for ever.
pub const SPAM_RATE: f64 = 1.0 / 300.0;
/// Objects and messages that are remembered.
pub const CACHE_SIZE: usize = 4096;
/// What the message of an aggregated event begins with.
const COMBINED: &str = "(combined from similar events): ";
/// An event's name is the object's and 17 more bytes, and a name has at most 253.
const NAME_LENGTH: usize = 236;

/// Whether an event tells of the normal course of things or of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// The normal course of things.
    Normal,
    /// Trouble.
    Warning,
}

impl EventType {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Who tells of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Source {
    /// The component, such as `scheduler`.
    pub component: String,
    /// The node it is on; empty if it is on none.
    pub host: String,
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// The object.
    pub object: ObjectReference,
    /// Normal or trouble.
    pub event_type: EventType,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// What, for humans.
    pub message: String,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// A new event.
    Create(Box<Event>),
    /// An event that is there already gets a higher count: the event as it is to be. If it is not
    /// there any more it is to be created.
    Bump(Box<Event>),
    /// Nothing: there is too much about this object.
    Nothing,
}

/// Identifies what is said about an object; without the message, what is alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    object: [String; 6],
    event_type: EventType,
    reason: String,
    message: Option<String>,
}

#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Instant,
}

#[derive(Debug, Default)]
struct Told {
    name: String,
    count: i32,
    first: Option<Timestamp>,
}

/// Remembers what was said, in bounded caches, as client-go's `EventCorrelator` does.
#[derive(Debug)]
pub struct Correlator {
    source: Source,
    random: Random,
    similar: Lru<Key, Similar>,
    told: Lru<Key, Told>,
    spam: Lru<[String; 6], TokenBucket>,
}

impl Correlator {
    /// A correlator that has heard nothing. Names of events are drawn from `random`.
    #[must_use]
    pub fn new(source: Source, random: Random) -> Self {
        Self {
            source,
            random,
            similar: Lru::new(CACHE_SIZE),
            told: Lru::new(CACHE_SIZE),
            spam: Lru::new(CACHE_SIZE),
        }
    }

    /// Decides what becomes of an occurrence at `now`.
    pub fn plan(&mut self, occurrence: Occurrence, now: Instant) -> Plan {
        let object = object_key(&occurrence.object);
        let alike = Key {
            object: object.clone(),
            event_type: occurrence.event_type,
            reason: occurrence.reason.clone(),
            message: None,
        };
        let aggregated = self.is_aggregated(&alike, &occurrence.message, now);
        let (key, message) = if aggregated {
            (alike, format!("{COMBINED}{}", occurrence.message))
        } else {
            let message = occurrence.message.clone();
            (Key { message: Some(message.clone()), ..alike }, message)
        };
        let random = &self.random;
        let told = self.told.get_or(&key, Told::default);
        let known = told.count > 0;
        if !known {
            told.name = event_name(occurrence.object.name.as_deref(), random);
            told.first = Some(occurrence.at);
        }
        told.count = told.count.saturating_add(1);
        let event = event(&self.source, &occurrence, told, message);
        let bucket = self.spam.get_or(&object, || TokenBucket::new(SPAM_RATE, SPAM_BURST));
        match (bucket.try_take(now), known) {
            (false, _) => Plan::Nothing,
            (true, false) => Plan::Create(Box::new(event)),
            (true, true) => Plan::Bump(Box::new(event)),
        }
    }

    fn is_aggregated(&mut self, alike: &Key, message: &str, now: Instant) -> bool {
        let similar =
            self.similar.get_or(alike, || Similar { messages: BTreeSet::new(), last: now });
        if now.saturating_duration_since(similar.last) > AGGREGATE_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        similar.messages.insert(message.to_owned());
        if similar.messages.len() < AGGREGATE_AFTER {
            return false;
        }
        // One goes, so that the set stays bounded and the next message tips it again.
        similar.messages.pop_first();
        true
    }
}

fn object_key(object: &ObjectReference) -> [String; 6] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        text(&object.kind),
        text(&object.namespace),
        text(&object.name),
        text(&object.uid),
        text(&object.api_version),
        text(&object.field_path),
    ]
}

fn event_name(object: Option<&str>, random: &Random) -> String {
    let object = object.unwrap_or_default();
    let end = (0..=NAME_LENGTH.min(object.len())).rev().find(|at| object.is_char_boundary(*at));
    format!("{}.{:016x}", &object[..end.unwrap_or_default()], random.next_u64())
}

fn event(source: &Source, occurrence: &Occurrence, told: &Told, message: String) -> Event {
    let object = &occurrence.object;
    let namespace = object.namespace.clone().filter(|namespace| !namespace.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(told.name.clone()),
            namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: object.clone(),
        type_: Some(occurrence.event_type.as_str().to_owned()),
        reason: Some(occurrence.reason.clone()),
        message: Some(message),
        first_timestamp: told.first.map(Time),
        last_timestamp: Some(Time(occurrence.at)),
        count: Some(told.count),
        source: Some(EventSource {
            component: Some(source.component.clone()),
            host: (!source.host.is_empty()).then(|| source.host.clone()),
        }),
        reporting_component: Some(source.component.clone()),
        reporting_instance: Some(source.host.clone()),
        ..Event::default()
    }
}
