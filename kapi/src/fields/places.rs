//! Where names are: looked through where they are few, looked up where they are many. A stranger
//! chooses how many there are, so no list may take its length squared.

use kcore::collections::HashMap;

/// As many names as are found sooner by looking through them.
pub(super) const FEW: usize = 32;

/// The places of names in a list.
pub(super) struct Places<'a>(Option<HashMap<&'a str, usize>>);

impl<'a> Places<'a> {
    /// Those of a list of so many names.
    pub(super) fn of(count: usize, names: impl Iterator<Item = &'a str>) -> Self {
        if count <= FEW {
            return Self(None);
        }
        let mut places = HashMap::default();
        for (at, name) in names.enumerate() {
            places.entry(name).or_insert(at);
        }
        Self(Some(places))
    }

    /// Where a name is; `scan` looks through the list.
    pub(super) fn find(&self, name: &str, scan: impl FnOnce() -> Option<usize>) -> Option<usize> {
        match &self.0 {
            Some(places) => places.get(name).copied(),
            None => scan(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_are_scanned_and_many_are_looked_up() {
        for count in [3, FEW, FEW + 1, 1000] {
            let names: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
            let places = Places::of(count, names.iter().map(String::as_str));
            let find = |name: &str| places.find(name, || names.iter().position(|n| n == name));
            assert_eq!((find("n0"), find("n2"), find("x")), (Some(0), Some(2), None), "{count}");
            assert_eq!(find(&format!("n{}", count - 1)), Some(count - 1));
            let scans = std::cell::Cell::new(0);
            let _ = places.find("n1", || {
                scans.set(scans.get() + 1);
                None
            });
            assert_eq!(scans.get(), usize::from(count <= FEW), "{count}");
        }
    }
}
