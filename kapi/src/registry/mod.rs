//! The table of kinds that a server serves.
//!
//! What is generic over a Rust type is a small vtable in a [`Row`]; the pipeline, the cache and
//! the handlers are compiled once and know no type.

mod conversion;
mod row;
#[cfg(test)]
mod sketch;
mod table;

use std::sync::Arc;

use kcore::collections::HashMap;
use kcore::name::Resource;

use crate::openapi::Documents;
use crate::server::ServerOptions;

pub(crate) use conversion::Way;
pub(crate) use row::{Row, ScalePart, StatusPart, Subresource, Verbs, cast, cast_mut};

/// Every kind a server serves.
#[derive(Debug)]
pub(crate) struct Registry {
    rows: Vec<Arc<Row>>,
    /// Rows by plural; few share one, so the list behind it is short.
    by_plural: HashMap<String, Vec<usize>>,
    /// What describes them, built when somebody asks.
    pub(crate) openapi: Documents,
}

impl Registry {
    /// The built-in kinds, as a server without options has them.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        Self::new(&ServerOptions::default())
    }

    /// The built-in kinds that these options ask for.
    pub(crate) fn new(options: &ServerOptions) -> Self {
        let mut rows = table::rows(options.loopback_pod_cidr);
        if options.pod_groups {
            rows.extend(table::group_rows());
        }
        if options.tokens.is_some() {
            let accounts = rows.iter_mut().filter(|row| row.resource.kind == "ServiceAccount");
            accounts.for_each(|row| row.subresources.push(Subresource::Token));
        }
        Self::of_rows(rows)
    }

    /// A registry of these kinds.
    pub(crate) fn of_rows(rows: Vec<Row>) -> Self {
        let mut this =
            Self { rows: Vec::new(), by_plural: HashMap::default(), openapi: Documents::default() };
        for (number, mut row) in rows.into_iter().enumerate() {
            row.number = number;
            let plural = row.resource.plural.clone().into_owned();
            this.by_plural.entry(plural).or_default().push(this.rows.len());
            this.rows.push(Arc::new(row));
        }
        this
    }

    pub(crate) fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }

    /// The row of a resource, by what a path names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Row>> {
        self.by_plural
            .get(plural)?
            .iter()
            .map(|at| &self.rows[*at])
            .find(|row| row.resource.group == group && row.resource.version == version)
    }

    /// The row of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> Option<&Arc<Row>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }

    /// As [`storage_row`](Self::storage_row), of a row that is not shared.
    pub(crate) fn storage_of<'a>(&'a self, row: &'a Row) -> &'a Row {
        match &row.stored_as {
            None => row,
            Some(stored) => self
                .find(&stored.group, &stored.version, &row.resource.plural)
                .map_or(row, AsRef::as_ref),
        }
    }

    /// The row under whose version the objects of `row` are stored: its own, unless its kind is
    /// served in several groups or versions.
    pub(crate) fn storage_row<'a>(&'a self, row: &'a Arc<Row>) -> &'a Arc<Row> {
        match &row.stored_as {
            None => row,
            Some(stored) => {
                self.find(&stored.group, &stored.version, &row.resource.plural).unwrap_or(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_own_name_and_stored_once() {
        let registry = Registry::built_in();
        for row in registry.rows() {
            let found = registry.of(&row.resource).unwrap();
            assert!(Arc::ptr_eq(found, row), "{:?} is registered twice", row.resource);
            assert!(registry.storage_row(row).stored_as.is_none());
        }
    }

    #[test]
    fn kinds_without_a_strategy_are_listed_in_the_readme() {
        let readme = include_str!("../../README.md");
        let (_, list) = readme.split_once("## Kinds without a strategy").unwrap();
        let (list, _) = list.split_once("## Not served").unwrap();
        for row in Registry::built_in().rows() {
            let plain = format!("{:?}", row.strategy).contains("Plain");
            let kind = row.resource.kind.as_ref();
            let grouped = kind.contains("Webhook")
                || kind.contains("AdmissionPolicy")
                || matches!(&*row.resource.group, "resource.k8s.io" | "storagemigration.k8s.io");
            let stored = row.verbs == crate::registry::Verbs::All && row.stored_as.is_none();
            if stored && !grouped {
                let mut words = list.split(|c: char| !c.is_alphanumeric());
                assert_eq!(words.any(|word| word == kind), plain, "{kind}");
            }
        }
    }

    #[test]
    fn short_names_are_unique_within_a_group_version() {
        let registry = Registry::built_in();
        let mut seen = std::collections::BTreeSet::new();
        for row in registry.rows() {
            for short in &row.short_names {
                assert!(seen.insert((row.resource.api_version(), short.clone())), "{short}");
            }
        }
    }
}
