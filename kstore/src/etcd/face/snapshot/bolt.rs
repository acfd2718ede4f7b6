//! [bbolt](https://github.com/etcd-io/bbolt)'s file format, as far as one that is written once
//! needs it: two meta pages, an empty freelist, and a tree per bucket.

use std::ops::Range;

use prost::Message as _;

use super::super::super::proto::KeyValue;

/// The size of a page.
pub(super) const PAGE: usize = 4096;

const PAGE_HEADER: usize = 16;
const ELEMENT: usize = 16;
const BUCKET_HEADER: usize = 16;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREELIST: u16 = 0x10;

/// The flag of a leaf's element that is a bucket.
const BUCKET: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// The pages that are in every file: two meta pages and the freelist.
const FIRST: u64 = 3;

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    key: Vec<u8>,
    value: Payload,
    flags: u32,
}

#[derive(Debug, Clone)]
enum Payload {
    Bytes(Vec<u8>),
    /// Encoded when it is written, so that a large store is not in memory twice.
    KeyValue(KeyValue),
}

impl Entry {
    pub(super) fn new(key: impl AsRef<[u8]>, value: Vec<u8>) -> Self {
        Self { key: key.as_ref().to_vec(), value: Payload::Bytes(value), flags: 0 }
    }

    pub(super) fn encoded(key: Vec<u8>, value: KeyValue) -> Self {
        Self { key, value: Payload::KeyValue(value), flags: 0 }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    fn value_len(&self) -> usize {
        match &self.value {
            Payload::Bytes(bytes) => bytes.len(),
            Payload::KeyValue(kv) => kv.encoded_len(),
        }
    }

    fn len(&self) -> usize {
        ELEMENT + self.key.len() + self.value_len()
    }
}

/// A bucket with its entries, in the order of their keys.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: &'static str,
    pub(super) entries: Vec<Entry>,
}

/// A page, or several that are one.
#[derive(Debug)]
enum Sheet {
    /// Entries of one tree.
    Leaf { tree: usize, entries: Range<usize> },
    /// The first key of each child, and where the child is.
    Branch(Vec<(Vec<u8>, u64)>),
}

/// A file whose every page has its place.
#[derive(Debug)]
pub(super) struct File {
    /// The entries of each bucket, and last those of the root: the buckets.
    trees: Vec<Vec<Entry>>,
    /// The sheets, with the page they begin at and how many they have.
    sheets: Vec<(u64, u64, Sheet)>,
    root: u64,
    pages: u64,
}

fn pages_of(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE).max(1) as u64
}

/// Groups neighbors into sheets of a page; what is larger has one of its own.
fn group(sizes: impl Iterator<Item = usize>) -> Vec<(Range<usize>, usize)> {
    let mut groups = Vec::new();
    let (mut from, mut bytes, mut at) = (0, PAGE_HEADER, 0);
    for size in sizes {
        if at > from && bytes + size > PAGE {
            groups.push((from..at, bytes));
            (from, bytes) = (at, PAGE_HEADER);
        }
        bytes += size;
        at += 1;
    }
    groups.push((from..at, bytes));
    groups
}

impl File {
    /// Gives everything a place.
    pub(super) fn plan(buckets: Vec<Bucket>) -> Self {
        let mut file = Self { trees: Vec::new(), sheets: Vec::new(), root: 0, pages: FIRST };
        let mut names = Vec::new();
        for Bucket { name, entries } in buckets {
            let mut value = Vec::with_capacity(BUCKET_HEADER + PAGE_HEADER);
            if entries.is_empty() {
                // A bucket so small that it lies within its parent: no root, an empty leaf.
                value.extend_from_slice(&[0; BUCKET_HEADER]);
                value.extend_from_slice(&page_header(0, LEAF, 0, 0));
            } else {
                let root = file.tree(entries);
                value.extend_from_slice(&root.to_le_bytes());
                value.extend_from_slice(&0_u64.to_le_bytes());
            }
            names.push(Entry { flags: BUCKET, ..Entry::new(name, value) });
        }
        file.root = file.tree(names);
        file
    }

    /// Places a tree and returns its root.
    fn tree(&mut self, entries: Vec<Entry>) -> u64 {
        let tree = self.trees.len();
        let mut level = Vec::new();
        for (range, bytes) in group(entries.iter().map(Entry::len)) {
            let first = entries.get(range.start).map(|entry| entry.key.clone());
            let at = self.place(bytes, Sheet::Leaf { tree, entries: range });
            level.push((first.unwrap_or_default(), at));
        }
        self.trees.push(entries);
        while level.len() > 1 {
            let mut above = Vec::new();
            for (range, bytes) in group(level.iter().map(|(key, _)| ELEMENT + key.len())) {
                let children = level[range].to_vec();
                let first = children[0].0.clone();
                above.push((first, self.place(bytes, Sheet::Branch(children))));
            }
            level = above;
        }
        level[0].1
    }

    fn place(&mut self, bytes: usize, sheet: Sheet) -> u64 {
        let (at, pages) = (self.pages, pages_of(bytes));
        self.sheets.push((at, pages, sheet));
        self.pages += pages;
        at
    }

    /// How many pages the file has.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The bytes of some pages.
    pub(super) fn write(&self, pages: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = pages.start;
        while at < pages.end {
            if at < FIRST {
                bytes.extend(self.first(at));
                at += 1;
                continue;
            }
            let index = self.sheets.partition_point(|(begin, count, _)| begin + count <= at);
            let Some((begin, count, sheet)) = self.sheets.get(index) else { break };
            let whole = self.sheet(*begin, *count, sheet);
            let (from, to) = (at - begin, (pages.end - begin).min(*count));
            // A sheet has few pages: the offsets are small.
            bytes.extend_from_slice(&whole[from as usize * PAGE..to as usize * PAGE]);
            at = begin + to;
        }
        bytes
    }

    /// One of the pages that are in every file.
    fn first(&self, at: u64) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        if at == FIRST - 1 {
            page.extend_from_slice(&page_header(at, FREELIST, 0, 0));
        } else {
            page.extend_from_slice(&page_header(at, META, 0, 0));
            let mut meta = Vec::new();
            for number in [MAGIC, VERSION, PAGE as u32, 0] {
                meta.extend_from_slice(&number.to_le_bytes());
            }
            // The root and its sequence, the freelist, the end of the file, the transaction.
            for number in [self.root, 0, FIRST - 1, self.pages, at] {
                meta.extend_from_slice(&number.to_le_bytes());
            }
            let sum = fnv(&meta);
            page.extend_from_slice(&meta);
            page.extend_from_slice(&sum.to_le_bytes());
        }
        page.resize(PAGE, 0);
        page
    }

    fn sheet(&self, at: u64, pages: u64, sheet: &Sheet) -> Vec<u8> {
        let overflow = (pages - 1) as u32;
        let mut data = Vec::new();
        let mut page = match sheet {
            Sheet::Leaf { tree, entries } => {
                let entries = &self.trees[*tree][entries.clone()];
                let mut page = page_header(at, LEAF, entries.len(), overflow).to_vec();
                for (n, entry) in entries.iter().enumerate() {
                    let place = (entries.len() - n) * ELEMENT + data.len();
                    let (key, value) = (entry.key.len(), entry.value_len());
                    for number in [entry.flags, place as u32, key as u32, value as u32] {
                        page.extend_from_slice(&number.to_le_bytes());
                    }
                    data.extend_from_slice(&entry.key);
                    match &entry.value {
                        Payload::Bytes(bytes) => data.extend_from_slice(bytes),
                        Payload::KeyValue(kv) => data.extend_from_slice(&kv.encode_to_vec()),
                    }
                }
                page
            }
            Sheet::Branch(children) => {
                let mut page = page_header(at, BRANCH, children.len(), overflow).to_vec();
                for (n, (key, child)) in children.iter().enumerate() {
                    let place = (children.len() - n) * ELEMENT + data.len();
                    page.extend_from_slice(&(place as u32).to_le_bytes());
                    page.extend_from_slice(&(key.len() as u32).to_le_bytes());
                    page.extend_from_slice(&child.to_le_bytes());
                    data.extend_from_slice(key);
                }
                page
            }
        };
        page.extend_from_slice(&data);
        page.resize(pages as usize * PAGE, 0);
        page
    }
}

fn page_header(at: u64, flags: u16, count: usize, overflow: u32) -> [u8; PAGE_HEADER] {
    let mut header = [0; PAGE_HEADER];
    header[..8].copy_from_slice(&at.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    // A page of 4 KiB holds no more than 255 elements.
    header[10..12].copy_from_slice(&(count as u16).to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

/// FNV-1a of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn small_neighbors_share_a_page_and_large_ones_have_their_own() {
        let grouped = |sizes: &[usize]| -> Vec<Range<usize>> {
            group(sizes.iter().copied()).into_iter().map(|(range, _)| range).collect()
        };
        assert_eq!(grouped(&[2000, 2000, 2000]), [0..2, 2..3]);
        assert_eq!(grouped(&[10, 9000, 10]), [0..1, 1..2, 2..3]);
        assert!(grouped(&[]).iter().all(Range::is_empty), "no entries are one empty page");
    }

    #[test]
    fn pages_are_the_same_however_they_are_cut() {
        let entries = (0..500_u32).map(|n| {
            let size = if n % 50 == 0 { 9000 } else { 100 };
            Entry::new(n.to_be_bytes(), vec![n as u8; size])
        });
        let keys = Bucket { name: "key", entries: entries.collect() };
        let file = File::plan(vec![keys, Bucket { name: "lease", entries: Vec::new() }]);
        let whole = file.write(0..file.pages());
        assert_eq!(whole.len() as u64, file.pages() * PAGE as u64);
        for step in [1, 3, 7] {
            let mut pieces = Vec::new();
            let mut at = 0;
            while at < file.pages() {
                let next = file.pages().min(at + step);
                pieces.extend(file.write(at..next));
                at = next;
            }
            assert!(pieces == whole, "cut by {step}");
        }
    }
}
