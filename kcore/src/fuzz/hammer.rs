//! Many inputs for one body, from one seed: what runs where there is no fuzzer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::random::Random;

/// Inputs for each target.
const ITERATIONS: u64 = 20_000;
/// The longest input, in bytes.
const MAX_INPUT: u64 = 2048;
/// Pieces that parsers look for.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"/",
    b"%2F",
    b"%",
    b"=",
    b"!=",
    b"&",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"9223372036854775808",
    b"\\u0000",
    b"\\ud800",
    b"\xf0\x9f\x92\xa9",
    b"\xff",
    b"\x00",
    b"\n",
    b"- ",
    b"&a *a",
    b"$patch",
    b"$setElementOrder/",
    b"$retainKeys",
    b"$deleteFromPrimitiveList/",
    b"~1",
    b"~0",
];

/// A parser that meets a stranger's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which the file in `fuzz/fuzz_targets` has too.
    pub name: &'static str,
    /// Gives it some bytes; panics if what comes of them is wrong.
    pub body: fn(&[u8]),
    /// Inputs that it understands.
    pub seeds: &'static [&'static str],
}

/// Runs a target over its seeds, over changed ones and over noise, always the same.
///
/// # Panics
/// If the target does, naming the input.
pub fn hammer(target: &Target, iterations: u64) {
    let random = Random::seeded(1);
    for seed in target.seeds {
        run(target, seed.as_bytes());
    }
    for _ in 0..iterations {
        let mut input = match random.below(8) {
            0 => noise(&random),
            _ => seed(target, &random).to_vec(),
        };
        for _ in 0..=random.below(6) {
            mutate(&mut input, target, &random);
        }
        input.truncate(index(&random, MAX_INPUT) + 1);
        run(target, &input);
    }
}

/// Runs every target as [`hammer`] does.
///
/// # Panics
/// If one does, naming the input.
pub fn hammer_all(targets: &[Target]) {
    for target in targets {
        hammer(target, ITERATIONS);
    }
}

/// Holds the targets of `krate` against the files of the fuzzer, which is a package of its own:
/// each target has one that runs it, and each file that names the crate is a target's.
///
/// # Panics
/// If one is missing, naming the file.
pub fn assert_listed(targets: &[Target], krate: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let file = |target: &Target| folder.join(format!("{}.rs", target.name));
    for target in targets {
        let text = std::fs::read_to_string(file(target)).unwrap_or_default();
        let call = format!("{krate}::fuzz::run(\"{}\", data)", target.name);
        assert!(text.contains(&call), "{} does not run its target", file(target).display());
    }
    let entries = std::fs::read_dir(&folder).map_or_else(|_| Vec::new(), Iterator::collect);
    let paths = entries.into_iter().filter_map(|entry| Some(entry.ok()?.path()));
    let prefix = format!("{krate}_");
    let mut own = paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&prefix)
    });
    let stray = own.find(|path| targets.iter().all(|target| file(target) != *path));
    assert!(stray.is_none(), "{stray:?} is no target of {krate}");
}

/// Runs the target of that name.
///
/// # Panics
/// If there is none, or the target does.
pub fn run_of(targets: &[Target], name: &str, data: &[u8]) {
    let target = targets.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target is called {name}")).body)(data);
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.body)(input))) {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        panic!("{} panics over b\"{}\": {text}", target.name, input.escape_ascii());
    }
}

/// A number below `bound`, as an index.
fn index(random: &Random, bound: u64) -> usize {
    usize::try_from(random.below(bound.max(1))).unwrap_or_default()
}

fn place(input: &[u8], random: &Random) -> usize {
    index(random, input.len() as u64 + 1)
}

fn noise(random: &Random) -> Vec<u8> {
    (0..random.below(64)).map(|_| random.next_u64().to_le_bytes()[0]).collect()
}

fn seed<'a>(target: &'a Target, random: &Random) -> &'a [u8] {
    target.seeds.get(index(random, target.seeds.len() as u64)).map_or(&[], |it| it.as_bytes())
}

fn mutate(input: &mut Vec<u8>, target: &Target, random: &Random) {
    let at = place(input, random);
    let end = at + index(random, (input.len() - at) as u64 + 1);
    match random.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => drop(input.drain(at..end)),
        2 => {
            let copy = input[at..end].to_vec();
            let to = place(input, random);
            drop(input.splice(to..to, copy));
        }
        3 => {
            let piece = PIECES[index(random, PIECES.len() as u64)];
            drop(input.splice(at..at, piece.iter().copied()));
        }
        4 => {
            let other = seed(target, random);
            let from = place(other, random);
            drop(input.splice(at..end, other[from..].iter().copied()));
        }
        5 => input.insert(at, random.next_u64().to_le_bytes()[0]),
        _ => {
            // Depth, as far as the longest input goes.
            let piece = [&b"["[..], b"{\"a\":", b"(", b"a."][index(random, 4)];
            let many = piece.repeat(index(random, 200));
            drop(input.splice(at..at, many));
        }
    }
}
