//! Longer texts.

#[doc = include_str!("writing_a_plugin.md")]
pub mod writing_a_plugin {}

#[doc = include_str!("several_schedulers.md")]
pub mod several_schedulers {}
