//! Messages into JSON, as client-go would have written it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::ProtobufError;
use super::messages::{Field, MessageId, Messages, Type};
use super::reader::{Content, Reader};
use crate::schema::Budget;

/// Decodes one body, within what one may take (O1).
pub(super) struct Decoder {
    messages: &'static Messages,
    budget: Budget,
}

impl Decoder {
    pub(super) fn new(messages: &'static Messages) -> Self {
        Self { messages, budget: Budget::new() }
    }

    /// Adds a message's fields to an object.
    pub(super) fn decode(
        &mut self,
        message: MessageId,
        bytes: &[u8],
        into: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let (messages, mut fields) = (self.messages, Reader::new(bytes));
        while let Some((number, content)) = fields.field()? {
            // What a later version added is passed over, as upstream does.
            let Some(field) = messages.field(message, number) else { continue };
            self.add(field, content, into).map_err(|error| match field.name {
                "" => error,
                name => error.within(name),
            })?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        field: &Field,
        content: Content<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let name = field.name;
        if !name.is_empty() && !into.contains_key(name) {
            let left = self.budget.any_member(into.len()) && self.budget.text(name);
            ProtobufError::hold(left)?;
        }
        match &field.of {
            Type::Message(id) if name.is_empty() => {
                return self.decode(*id, content.bytes()?, into);
            }
            Type::List(element) => {
                let member = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = member {
                    self.extend(list, element, content)?;
                }
            }
            Type::Map(of) => {
                let member = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(members) = member {
                    ProtobufError::hold(self.budget.any_member(members.len()))?;
                    let (key, value) = self.entry(of, content.bytes()?)?;
                    members.insert(key, value);
                }
            }
            of => {
                let value = self.value(of, content)?;
                if field.keeps_empty || !is_empty(of, &value) {
                    into.insert(name.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    /// Adds to a list what one field of it holds: an element, or numbers in a row.
    fn extend(
        &mut self,
        list: &mut Vec<Value>,
        element: &Type,
        content: Content<'_>,
    ) -> Result<(), ProtobufError> {
        if let (Type::Int | Type::Bool, Content::Bytes(packed)) = (element, content) {
            let mut numbers = Reader::new(packed);
            while !numbers.is_empty() {
                ProtobufError::hold(self.budget.any_element())?;
                list.push(self.value(element, Content::Varint(numbers.varint()?))?);
            }
        } else {
            ProtobufError::hold(self.budget.any_element())?;
            list.push(self.value(element, content)?);
        }
        Ok(())
    }

    /// A member of a map.
    fn entry(&mut self, of: &Type, bytes: &[u8]) -> Result<(String, Value), ProtobufError> {
        let (mut key, mut value) = ("", None);
        let mut fields = Reader::new(bytes);
        while let Some((number, content)) = fields.field()? {
            match number {
                1 => key = content.text()?,
                2 => value = Some(content),
                _ => {}
            }
        }
        let value = match (value, of) {
            (Some(value), of) => self.value(of, value),
            (None, Type::Int | Type::Bool) => self.value(of, Content::Varint(0)),
            (None, Type::Double) => self.value(of, Content::Fixed64(0)),
            (None, of) => self.value(of, Content::Bytes(&[])),
        };
        Ok((key.to_owned(), value.map_err(|error| error.within(key))?))
    }

    fn value(&mut self, of: &Type, content: Content<'_>) -> Result<Value, ProtobufError> {
        Ok(match of {
            Type::String => Value::from(content.text()?),
            Type::Bool => Value::from(content.unsigned()? != 0),
            Type::Int => Value::from(content.signed()?),
            Type::Double => Number::from_f64(content.double()?)
                .map(Value::Number)
                .ok_or(ProtobufError::malformed("JSON has no such number"))?,
            Type::Bytes => Value::from(STANDARD.encode(content.bytes()?)),
            Type::Time => time(content.bytes()?)?,
            Type::Quantity => match first(content.bytes()?)? {
                Some(text) => Value::from(text.text()?),
                None => Value::from("0"),
            },
            Type::IntOrString => int_or_string(content.bytes()?)?,
            Type::Raw => match first(content.bytes()?)? {
                Some(json) => self.raw(json.bytes()?)?,
                None => Value::Null,
            },
            Type::Items => {
                let (mut list, mut fields) = (Vec::new(), Reader::new(content.bytes()?));
                while let Some((number, content)) = fields.field()? {
                    if number == 1 {
                        ProtobufError::hold(self.budget.any_element())?;
                        list.push(Value::from(content.text()?));
                    }
                }
                Value::Array(list)
            }
            Type::Message(id) => {
                let mut members = Map::new();
                self.decode(*id, content.bytes()?, &mut members)?;
                Value::Object(members)
            }
            // Neither is an element or a member in any of the messages.
            Type::List(_) | Type::Map(_) => Value::Null,
        })
    }

    /// Embedded JSON, which is weighed by itself.
    fn raw(&mut self, json: &[u8]) -> Result<Value, ProtobufError> {
        let weight = self.budget.weigh(json);
        weight.map_err(|heavy| ProtobufError::TooHeavy { field: heavy.0 })?;
        serde_json::from_slice(json)
            .map_err(|_| ProtobufError::malformed("what it holds is not JSON"))
    }
}

/// Whether a value is the one that client-go leaves out of JSON. Messages never are.
fn is_empty(of: &Type, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || (*of == Type::Quantity && text == "0"),
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    }
}

/// The first field of a message.
fn first(bytes: &[u8]) -> Result<Option<Content<'_>>, ProtobufError> {
    let (mut found, mut fields) = (None, Reader::new(bytes));
    while let Some((number, content)) = fields.field()? {
        if number == 1 {
            found = Some(content);
        }
    }
    Ok(found)
}

/// Seconds since 1970, and nanoseconds: a `Time` has whole seconds, a `MicroTime` may have more.
/// The zero time is an empty message.
fn time(bytes: &[u8]) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    let mut fields = Reader::new(bytes);
    while let Some((number, content)) = fields.field()? {
        match number {
            1 => seconds = content.signed()?,
            2 => nanoseconds = content.signed()?,
            _ => {}
        }
    }
    let bad = ProtobufError::malformed("there is no such time");
    let nanoseconds = i32::try_from(nanoseconds).ok();
    let time = nanoseconds.and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok());
    let time = time.ok_or(bad)?;
    let text =
        if time.subsec_nanosecond() == 0 { format!("{time:.0}") } else { format!("{time:.6}") };
    Ok(Value::from(text))
}

/// Which of the two it is, the number, the text.
fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    let mut fields = Reader::new(bytes);
    while let Some((field, content)) = fields.field()? {
        match field {
            1 => is_text = content.unsigned()? == 1,
            2 => number = content.signed()?,
            3 => text = content.text()?,
            _ => {}
        }
    }
    Ok(if is_text { Value::from(text) } else { Value::from(number) })
}
