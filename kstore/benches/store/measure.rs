//! What was measured, as a table and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    better: &'static str,
    pub(crate) target: f64,
    pub(crate) values: Vec<f64>,
}

impl Measure {
    pub(crate) fn new(
        name: &'static str,
        unit: &'static str,
        better: &'static str,
        target: f64,
    ) -> Self {
        Self { name, unit, better, target, values: Vec::new() }
    }

    pub(crate) fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    pub(crate) fn met(&self) -> bool {
        match self.better {
            "higher" => self.median() >= self.target,
            _ => self.median() <= self.target,
        }
    }
}

pub(crate) fn write_json(measures: &[Measure]) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let path = target.join("bench/store.json");
    let mut json = String::from("[\n");
    for (at, measure) in measures.iter().enumerate() {
        let Measure { name, unit, better, target, .. } = measure;
        let value = measure.median();
        let comma = if at + 1 < measures.len() { "," } else { "" };
        writeln!(
            json,
            "  {{\"name\": \"{name}\", \"unit\": \"{unit}\", \"value\": {value:.3}, \
             \"better\": \"{better}\", \"target\": {target}}}{comma}"
        )
        .unwrap();
    }
    json.push_str("]\n");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, json).unwrap();
    path
}
