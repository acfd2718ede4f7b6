//! The messages that kinds are written as, read off the table of facts.

use std::sync::OnceLock;

use kcore::collections::HashMap;

const PUBLISHED: &str = include_str!("messages.txt");

/// The number of a message.
pub(super) type MessageId = usize;

/// How a field is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Bool,
    Int,
    Double,
    Bytes,
    /// Seconds and nanoseconds.
    Time,
    /// A text in a message.
    Quantity,
    IntOrString,
    /// JSON in bytes.
    Raw,
    /// A message that holds a list of texts.
    Items,
    Message(MessageId),
    List(Box<Self>),
    Map(Box<Self>),
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in JSON; empty if its members stand in for it.
    pub(super) name: &'static str,
    /// Whether an empty value means something.
    pub(super) keeps_empty: bool,
    pub(super) of: Type,
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    fields: Vec<HashMap<u64, Field>>,
    by_name: HashMap<&'static str, MessageId>,
    /// By API version, then kind.
    kinds: HashMap<&'static str, HashMap<&'static str, MessageId>>,
}

impl Messages {
    /// Those of the published API.
    pub(super) fn published() -> &'static Self {
        static MESSAGES: OnceLock<Messages> = OnceLock::new();
        // An immutable table; the test below proves that it is read whole.
        MESSAGES.get_or_init(|| Self::read(PUBLISHED).unwrap_or_default())
    }

    /// Reads the table; `None` if a line is not understood.
    fn read(table: &'static str) -> Option<Self> {
        let mut this = Self::default();
        let lines = || table.lines().filter(|line| !line.starts_with('#'));
        for name in lines().filter_map(|line| line.strip_prefix("message ")) {
            this.by_name.insert(name, this.fields.len());
            this.fields.push(HashMap::default());
        }
        let mut current = None;
        for line in lines() {
            let words: Vec<&'static str> = line.split(' ').collect();
            match words[..] {
                ["kind", version, kind, message] => {
                    let message = *this.by_name.get(message)?;
                    this.kinds.entry(version).or_default().insert(kind, message);
                }
                ["message", name] => current = Some(*this.by_name.get(name)?),
                [number, name, text] => {
                    let starless = text.strip_prefix('*');
                    let field = Field {
                        name: if name == "." { "" } else { name },
                        keeps_empty: starless.is_some(),
                        of: this.type_of(starless.unwrap_or(text))?,
                    };
                    this.fields[current?].insert(number.parse().ok()?, field);
                }
                _ => return None,
            }
        }
        Some(this)
    }

    fn type_of(&self, text: &str) -> Option<Type> {
        if let Some(element) = text.strip_prefix("[]") {
            return Some(Type::List(Box::new(self.type_of(element)?)));
        }
        if let Some(value) = text.strip_prefix("{}") {
            return Some(Type::Map(Box::new(self.type_of(value)?)));
        }
        Some(match text {
            "string" => Type::String,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "time" => Type::Time,
            "quantity" => Type::Quantity,
            "intstr" => Type::IntOrString,
            "raw" => Type::Raw,
            "items" => Type::Items,
            message => Type::Message(self.named(message)?),
        })
    }

    pub(super) fn named(&self, name: &str) -> Option<MessageId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Option<MessageId> {
        self.kinds.get(api_version)?.get(kind).copied()
    }

    pub(super) fn field(&self, message: MessageId, number: u64) -> Option<&Field> {
        self.fields[message].get(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_messages_are_read_whole() {
        let messages = Messages::read(PUBLISHED).unwrap();
        let count = |start: &str| PUBLISHED.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(messages.fields.len(), count("message "));
        assert_eq!(messages.kinds.values().map(HashMap::len).sum::<usize>(), count("kind "));
        let pod = messages.of_kind("v1", "Pod").unwrap();
        let spec = messages.named("core/v1.PodSpec").unwrap();
        assert_eq!(messages.field(pod, 2).unwrap().of, Type::Message(spec));
        let containers = messages.field(spec, 2).unwrap();
        assert!(matches!(containers.of, Type::List(_)) && containers.name == "containers");
        assert!(messages.field(spec, 9_999).is_none());
    }
}
