//! One macro: structs whose fields are set by chaining.

/// Adds a chainable setter per named field: `into` takes anything that converts, `each` any
/// iterator of what converts.
macro_rules! chainable {
    ($name:ident { $($field:ident : $kind:ident $ty:ty),* $(,)? }) => {
        impl $name { $( $crate::runtime::chain::chainable!(@set $field, $kind, $ty); )* }
    };
    (@set $field:ident, into, $ty:ty) => {
        #[doc = concat!("Sets the field `", stringify!($field), "`.")]
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@set $field:ident, each, $ty:ty) => {
        #[doc = concat!("Sets the field `", stringify!($field), "`.")]
        #[must_use]
        pub fn $field(mut self, $field: impl IntoIterator<Item = impl Into<$ty>>) -> Self {
            self.$field = $field.into_iter().map(Into::into).collect();
            self
        }
    };
    (@set $field:ident, pairs, $ty:ty) => {
        #[doc = concat!("Sets the field `", stringify!($field), "`.")]
        #[must_use]
        pub fn $field(
            mut self,
            $field: impl IntoIterator<Item = (impl Into<String>, impl Into<$ty>)>,
        ) -> Self {
            self.$field = $field.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
            self
        }
    };
}

/// A name of its own type, so that a sandbox is never passed for a container.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<std::sync::Arc<str>>> From<T> for $name {
            fn from(id: T) -> Self {
                Self(id.into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

pub(crate) use {chainable, id};
