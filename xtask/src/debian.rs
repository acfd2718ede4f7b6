//! Programs out of Debian's packages, taken apart into a folder: nothing is installed, and no root
//! is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::tools::folder;

/// A program that tests drive.
struct Program {
    /// The variable that names another one, and that tells the tests of this one.
    variable: &'static str,
    name: &'static str,
    /// Where it lies within its package.
    place: &'static str,
    /// Its package, and those of the libraries that a bare machine lacks.
    packages: &'static [&'static str],
    /// Arguments that make it tell its version and end.
    version: &'static [&'static str],
}

const PROGRAMS: [Program; 3] = [
    Program {
        variable: "KUBRICK_ETCD",
        name: "etcd",
        place: "usr/bin/etcd",
        packages: &["etcd-server"],
        version: &["--version"],
    },
    Program {
        variable: "KUBRICK_ETCDCTL",
        name: "etcdctl",
        place: "usr/bin/etcdctl",
        packages: &["etcd-client"],
        version: &["version"],
    },
    Program {
        variable: "KUBRICK_HAPROXY",
        name: "haproxy",
        place: "usr/sbin/haproxy",
        packages: &["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
        version: &["-v"],
    },
];

/// The variables that name etcd, etcdctl and haproxy to the tests, with their paths: what the
/// variable says already, what is on the path, what was fetched before, or what is fetched now.
pub(crate) fn programs() -> anyhow::Result<Vec<(&'static str, String)>> {
    PROGRAMS.iter().map(|program| Ok((program.variable, program.find()?))).collect()
}

impl Program {
    fn find(&self) -> anyhow::Result<String> {
        if let Ok(named) = std::env::var(self.variable) {
            return match self.runs(Path::new(&named)) {
                true => Ok(named),
                false => bail!("{}={named} does not run", self.variable),
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.push("/usr/sbin".into());
        let installed = folders.iter().map(|folder| folder.join(self.name));
        if let Some(found) = installed.into_iter().find(|path| self.runs(path)) {
            return Ok(found.display().to_string());
        }
        let wrapper = folder()?.join(self.name);
        if !self.runs(&wrapper) {
            self.fetch(&wrapper)?;
        }
        match self.runs(&wrapper) {
            true => Ok(wrapper.display().to_string()),
            false => bail!("{} does not run; install {}", wrapper.display(), self.packages[0]),
        }
    }

    fn runs(&self, path: &Path) -> bool {
        let output = Command::new(path)
            .args(self.version)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null())
            .output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Takes the packages apart beside `wrapper`, a script that runs the program with their
    /// libraries and has its process id.
    fn fetch(&self, wrapper: &Path) -> anyhow::Result<()> {
        println!("fetching {} out of Debian's {}", self.name, self.packages.join(", "));
        let root = folder()?.join(format!("{}.root", self.name));
        std::fs::create_dir_all(&root)?;
        let missing = || format!("set {} or install {}", self.variable, self.packages[0]);
        let apt = |options: &[String], arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(["--quiet", "--quiet"]).args(options).args(arguments).current_dir(&root);
            apt.status().with_context(missing).map(|status| status.success())
        };
        let download = [&["download"], self.packages].concat();
        if !apt(&[], &download)? {
            // A machine that never asked what packages there are: asked here, for this alone.
            let lists = root.canonicalize()?.join("lists");
            std::fs::create_dir_all(lists.join("partial"))?;
            let own = ["-o".to_owned(), format!("Dir::State::Lists={}", lists.display())];
            if !(apt(&own, &["update"])? && apt(&own, &download)?) {
                bail!("{} cannot be fetched: {}", self.packages[0], missing());
            }
        }
        for entry in std::fs::read_dir(&root)? {
            let package = entry?.path();
            if package.extension().is_none_or(|extension| extension != "deb") {
                continue;
            }
            let mut unpack = Command::new("dpkg-deb");
            let status = unpack.arg("-x").arg(&package).arg(&root).status();
            if !status.with_context(missing)?.success() {
                bail!("{} cannot be unpacked", package.display());
            }
            std::fs::remove_file(package)?;
        }
        std::fs::write(wrapper, self.script(&root)?).context("a wrapper cannot be written")?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(wrapper, executable).context("a wrapper cannot be made to run")
    }

    /// What runs the program with the libraries that came with it.
    fn script(&self, root: &Path) -> anyhow::Result<String> {
        let mut libraries = vec![root.join("usr/lib")];
        if let Ok(entries) = std::fs::read_dir(&libraries[0]) {
            for entry in entries {
                libraries.push(entry?.path());
            }
        }
        let libraries: Vec<String> =
            libraries.iter().map(|path| path.display().to_string()).collect();
        Ok(format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
            libraries.join(":"),
            root.join(self.place).display()
        ))
    }
}
