//! Turning objects of a kind from one version into another.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion>

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kcore::kind::Typed;
use kcore::status::Status;

use crate::server::Result;

/// From which version to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the row's version to the one in which objects are stored.
    ToStored,
    /// From the stored version to the row's.
    FromStored,
}

/// Objects on their way through a conversion.
pub(crate) type Batch = Vec<Box<dyn Typed>>;

/// Turns objects of a kind from one version into another.
///
/// It may ask somebody else, such as a webhook, so it is asynchronous and gets a list whole.
///
/// **Contract**: as many objects come back as went in, in their order; an error is the status that
/// the client gets; dropping the future changes nothing.
#[async_trait]
pub(crate) trait Conversion: fmt::Debug + Send + Sync + 'static {
    async fn convert(&self, objects: Batch, way: Way) -> Result<Batch>;
}

/// Turns an object of one version into another version of its kind.
pub(crate) type Convert = fn(Box<dyn Typed>) -> Box<dyn Typed>;

/// A conversion that asks nobody.
#[derive(Debug, Clone, Copy)]
struct Functions {
    to_stored: Convert,
    from_stored: Convert,
}

#[async_trait]
impl Conversion for Functions {
    async fn convert(&self, objects: Batch, way: Way) -> Result<Batch> {
        let convert = match way {
            Way::ToStored => self.to_stored,
            Way::FromStored => self.from_stored,
        };
        Ok(objects.into_iter().map(convert).collect())
    }
}

/// Where a kind's objects are stored if not under its own group and version.
#[derive(Debug, Clone)]
pub(crate) struct StoredAs {
    pub(crate) group: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    conversion: Arc<dyn Conversion>,
}

impl StoredAs {
    /// Stored under another version, behind a conversion.
    pub(crate) fn new(
        group: impl Into<Cow<'static, str>>,
        version: impl Into<Cow<'static, str>>,
        conversion: impl Conversion,
    ) -> Self {
        Self { group: group.into(), version: version.into(), conversion: Arc::new(conversion) }
    }

    /// Stored under another version, converted by functions.
    pub(super) fn by(
        group: &'static str,
        version: &'static str,
        to_stored: Convert,
        from_stored: Convert,
    ) -> Self {
        Self::new(group, version, Functions { to_stored, from_stored })
    }

    /// Converts a batch.
    ///
    /// # Errors
    /// Those of the conversion, and 500 if it loses or invents objects.
    pub(crate) async fn convert(&self, objects: Batch, way: Way) -> Result<Batch> {
        let count = objects.len();
        let converted = self.conversion.convert(objects, way).await?;
        if converted.len() != count {
            return Err(Status::internal(format!(
                "conversion to {}/{} returned {} objects, expected {count}",
                self.group,
                self.version,
                converted.len()
            ))
            .into());
        }
        Ok(converted)
    }

    /// Converts one object.
    ///
    /// # Errors
    /// Those of the conversion.
    pub(crate) async fn convert_one(
        &self,
        object: Box<dyn Typed>,
        way: Way,
    ) -> Result<Box<dyn Typed>> {
        let mut converted = self.convert(vec![object], way).await?;
        // As many came back as went in.
        converted.pop().ok_or_else(|| Status::internal("conversion returned nothing").into())
    }
}
