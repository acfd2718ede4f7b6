//! What a container becomes as a process: plain functions.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::options::{Options, Program};
use super::record::{CONTAINER_VARIABLE, ROOT_VARIABLE, ShimSpec};
use crate::runtime::{ContainerConfig, Mount};
use crate::{Error, Result};

/// The image that runs a command of the host; also `host:<anything>`.
pub(super) const HOST_IMAGE: &str = "host";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Host,
    Program(&'a Program),
}

/// Finds an image; `latest` need not be written.
pub(super) fn resolve_image<'a>(options: &'a Options, image: &str) -> Option<Kind<'a>> {
    let find = |name: &str| options.programs.get(name).map(Kind::Program);
    find(image)
        .or_else(|| image.strip_suffix(":latest").and_then(find))
        .or_else(|| (image.split(':').next() == Some(HOST_IMAGE)).then_some(Kind::Host))
}

/// What a container is launched with.
pub(super) struct Launch<'a> {
    pub(super) id: &'a str,
    pub(super) root: &'a Path,
    pub(super) config: &'a ContainerConfig,
    pub(super) hostname: &'a str,
    pub(super) pod_ip: Option<String>,
    pub(super) log_path: Option<PathBuf>,
    pub(super) is_root: bool,
    pub(super) own_user: u32,
}

/// What the shim is to run.
pub(super) fn compute_spec(options: &Options, launch: Launch<'_>) -> Result<ShimSpec> {
    let config = launch.config;
    let kind = resolve_image(options, &config.image)
        .ok_or_else(|| Error::NotFound { kind: "image", id: config.image.clone() })?;
    let user = config.security.run_as_user.filter(|user| *user != launch.own_user);
    if let Some(user) = user.filter(|_| !launch.is_root) {
        return Err(invalid(
            "security.run_as_user",
            format!("cannot run as user {user}: only root can, this is user {}", launch.own_user),
        ));
    }
    let (entry, default_args, image_env) = match kind {
        Kind::Host => (Vec::new(), &[][..], &[][..]),
        Kind::Program(program) => {
            let path = program.path.to_string_lossy().into_owned();
            (vec![path], &program.args[..], &program.envs[..])
        }
    };
    // As everywhere: a command replaces the image's arguments too.
    let mut argv = if config.command.is_empty() { entry } else { config.command.clone() };
    if config.args.is_empty() && config.command.is_empty() {
        argv.extend(default_args.iter().cloned());
    } else {
        argv.extend(config.args.iter().cloned());
    }
    if argv.is_empty() {
        return Err(invalid("command", "no command specified".to_owned()));
    }
    let root_text = launch.root.to_string_lossy();
    let expand = |text: &str| text.replace(&format!("$({ROOT_VARIABLE})"), &root_text);
    let mut env = BTreeMap::new();
    let path = options.path.clone().unwrap_or_else(|| DEFAULT_PATH.to_owned());
    env.insert("PATH".to_owned(), path);
    env.insert("HOSTNAME".to_owned(), launch.hostname.to_owned());
    env.extend(launch.pod_ip.map(|ip| ("POD_IP".to_owned(), ip)));
    env.insert(ROOT_VARIABLE.to_owned(), root_text.clone().into_owned());
    let given = image_env.iter().chain(&config.envs);
    env.extend(given.map(|(name, value)| (name.clone(), expand(value))));
    env.insert(CONTAINER_VARIABLE.to_owned(), launch.id.to_owned());
    Ok(ShimSpec {
        argv: argv.iter().map(|word| expand(word)).collect(),
        env: env.into_iter().collect(),
        working_dir: working_dir(launch.root, config)?,
        log_path: launch.log_path,
        rotation: options.rotation,
        user,
        group: config.security.run_as_group.filter(|_| launch.is_root),
        no_new_privs: config.security.no_new_privs,
    })
}

/// Where the process starts: the container's own directory, or what the config names. That is, in
/// this order, below a mount, a directory of the host, or a directory made in the container's own.
fn working_dir(root: &Path, config: &ContainerConfig) -> Result<PathBuf> {
    if config.working_dir.is_empty() {
        return Ok(root.to_owned());
    }
    let wanted = Path::new(&config.working_dir);
    let inside = inside("working_dir", root, wanted)?;
    if config.mounts.iter().any(|mount| wanted.starts_with(&mount.container_path)) {
        return Ok(inside);
    }
    Ok(if wanted.is_dir() { wanted.to_owned() } else { inside })
}

/// Where each mount's link goes in the container's directory.
pub(super) fn plan_links(root: &Path, mounts: &[Mount]) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{index}].container_path");
        let link = inside(&field, root, &mount.container_path)?;
        if link == root {
            return Err(invalid(&field, "cannot replace the root directory".to_owned()));
        }
        let clash =
            links.iter().find(|(other, _)| link.starts_with(other) || other.starts_with(&link));
        if let Some((other, _)) = clash {
            let shown = other.strip_prefix(root).unwrap_or(other).display();
            return Err(invalid(
                &field,
                format!(
                    "{} overlaps the mount at /{shown}, which needs mount namespaces",
                    mount.container_path.display()
                ),
            ));
        }
        links.push((link, mount.host_path.clone()));
    }
    Ok(links)
}

/// A container's path as one of the host. It is absolute and never climbs (X7).
fn inside(field: &str, root: &Path, path: &Path) -> Result<PathBuf> {
    let mut found = root.to_owned();
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(invalid(field, format!("{} is not an absolute path", path.display())));
    }
    for component in components {
        match component {
            Component::Normal(name) => found.push(name),
            _ => return Err(invalid(field, format!("{} must not hold '..'", path.display()))),
        }
    }
    Ok(found)
}

pub(super) fn invalid(field: &str, reason: String) -> Error {
    Error::InvalidConfig { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(config: &ContainerConfig) -> Result<ShimSpec> {
        let web = Program::new("/bin/web").args(["--port", "80"]).envs([("MODE", "image")]);
        let options = Options::default().path("/bin".to_owned()).program("web", web);
        let launch = Launch {
            id: "c1",
            root: Path::new("/r"),
            config,
            hostname: "web-0",
            pod_ip: Some("127.64.0.1".to_owned()),
            log_path: None,
            is_root: false,
            own_user: 1000,
        };
        compute_spec(&options, launch)
    }

    #[test]
    fn commands_and_arguments_replace_the_images() {
        let check = |command: &[&str], args: &[&str], expect: &str| {
            let config = ContainerConfig::default().image("web:latest");
            let config = config.command(command.to_vec()).args(args.to_vec());
            assert_eq!(spec(&config).unwrap().argv.join(" "), expect);
        };
        check(&[], &[], "/bin/web --port 80");
        check(&[], &["x"], "/bin/web x");
        check(&["sh"], &[], "sh");
        check(&["sh"], &["-c", "cat $(KUBRICK_ROOT)/f"], "sh -c cat /r/f");
    }

    #[test]
    fn the_environment_is_what_the_config_says() {
        let config = ContainerConfig::default().image("web");
        let config = config.envs([("MODE", "pod"), ("KUBRICK_CONTAINER", "forged")]);
        let env = spec(&config).unwrap().env;
        let text: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            text.join(" "),
            "HOSTNAME=web-0 KUBRICK_CONTAINER=c1 KUBRICK_ROOT=/r MODE=pod PATH=/bin \
             POD_IP=127.64.0.1"
        );
    }

    #[test]
    fn the_host_image_needs_a_command() {
        for image in ["host", "host:1.0"] {
            let error = spec(&ContainerConfig::default().image(image)).unwrap_err();
            assert_eq!(error.to_string(), "command: no command specified");
        }
        assert!(spec(&ContainerConfig::default().image("hostile")).unwrap_err().is_not_found());
    }

    #[test]
    fn another_user_needs_root() {
        use crate::runtime::SecurityContext;
        let run_as = |user: u32| {
            let security = SecurityContext::default().run_as_user(user);
            spec(&ContainerConfig::default().image("web").security(security))
        };
        assert!(run_as(1000).is_ok());
        assert!(matches!(run_as(0), Err(Error::InvalidConfig { .. })));
    }

    #[test]
    fn working_directories_are_mounts_then_the_hosts_then_made() {
        let check = |wanted: &str, expect: &str| {
            let config = ContainerConfig::default().image("web").working_dir(wanted);
            let config = config.mounts([Mount::new("/host", "/usr")]);
            assert_eq!(spec(&config).unwrap().working_dir, Path::new(expect), "{wanted}");
        };
        check("", "/r");
        check("/usr/x", "/r/usr/x");
        check("/proc", "/proc");
        check("/nowhere/at/all", "/r/nowhere/at/all");
    }

    #[test]
    fn mounts_never_climb_nor_overlap() {
        let plan = |paths: &[&str]| {
            let mounts: Vec<_> = paths.iter().map(|path| Mount::new("/h", *path)).collect();
            plan_links(Path::new("/r"), &mounts)
        };
        assert_eq!(plan(&["/a/b"]).unwrap()[0].0, Path::new("/r/a/b"));
        assert!(plan(&["/a", "/ab"]).is_ok());
        for bad in [&["/a/../../etc"][..], &["a"], &["/"], &["/a", "/a/b"], &["/a/b", "/a"]] {
            assert!(matches!(plan(bad), Err(Error::InvalidConfig { .. })), "{bad:?}");
        }
    }
}
