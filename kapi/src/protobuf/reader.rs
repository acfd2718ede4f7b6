//! The wire format: numbered fields in bytes.
//! <https://protobuf.dev/programming-guides/encoding/>

use super::ProtobufError;

/// Reads one field after the other.
pub(super) struct Reader<'a>(&'a [u8]);

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

const CUT: &str = "the message ends in the middle of a field";
const OTHER: &str = "the field is of another type";

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next field's number and content.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Content<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(self.fixed()?),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Content::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Content::Fixed32
            }
            _ => return Err(ProtobufError::malformed("a field is of no known wire type")),
        };
        Ok(Some((key >> 3, content)))
    }

    /// A number in groups of seven bits, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(ProtobufError::malformed(CUT))?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtobufError::malformed("a number has more than ten bytes"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn fixed(&mut self) -> Result<u64, ProtobufError> {
        let bytes = self.take(8)?.try_into().map_err(|_| ProtobufError::malformed(CUT))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::malformed(CUT))?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Content<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::malformed(OTHER)),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| ProtobufError::malformed("the text is not UTF-8"))
    }

    pub(super) fn unsigned(self) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(ProtobufError::malformed(OTHER)),
        }
    }

    /// Negative numbers are written in two's complement.
    pub(super) fn signed(self) -> Result<i64, ProtobufError> {
        self.unsigned().map(u64::cast_signed)
    }

    pub(super) fn double(self) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(ProtobufError::malformed(OTHER)),
        }
    }
}
